"""The gateway as its operators run it: a process of its own with a configuration file."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import ssl
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

import yaml

from tests.support.launch import RunningProcess, free_ports, wait_until

READY_WITHIN_S = 20.0
ROOT = Path(__file__).parents[2]


class GatewayProcess:
    """``lbgateway run`` on a free port of 127.0.0.1, ready for requests on entry of the ``with``.

    `config` is the file's content; host, port and ``admin.allow_loopback`` are filled in where it does not say.
    `tls`: what to speak TLS with where the configuration asks for it. `before`: take over from that one, on its port.
    `module`: what to run in place of ``lbgateway``.
    The port stays the same over restarts. What the process wrote is in the message of every failure to start.
    """

    def __init__(
        self,
        config: dict[str, Any],
        *,
        arguments: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        before: GatewayProcess | None = None,
        module: str = "lbgateway",
    ) -> None:
        self.port = before.port if before is not None else free_ports(1)[0]
        self.tls = tls
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"
        self.module = module
        self.arguments = arguments if before is None else (*arguments, "--takeover")
        self.folder = Path(tempfile.mkdtemp(prefix="lbgateway-gateway-"))
        self.meeting: str = str(self.folder) if before is None else before.meeting
        """Where successors find it; the first one's folder."""
        self.environment = {"RUNTIME_DIRECTORY": self.meeting, **(environment or {})}
        self.file = self.folder / "gateway.yaml"
        self.write(config)
        self._running: RunningProcess | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, *, wait: bool = True) -> Self:
        """Start, and wait until ``/health/live`` answers."""
        environment = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default", **self.environment}
        command = [sys.executable, "-m", self.module, "run", "--config", str(self.file), *self.arguments]
        self._running = RunningProcess(command, environment, self.folder / "log")
        if wait:
            try:
                wait_until(self._live, READY_WITHIN_S, lambda: f"the gateway is not live after {READY_WITHIN_S:g} s:\n{self.log()}")
            except BaseException:
                self.kill()
                raise
        return self

    def write(self, config: dict[str, Any]) -> None:
        """Write the configuration file; a running gateway reads it at `reload`."""
        server = {"host": "127.0.0.1", "port": self.port, **config.get("server", {})}
        admin = {"allow_loopback": True, **config.get("admin", {})}
        own_host, _, own_port = str(admin.get("listen") or f"127.0.0.1:{self.port}").rpartition(":")
        self.own_host, self.own_port = own_host.strip("[]"), int(own_port)
        """Where its own paths are."""
        self.file.write_text(yaml.safe_dump({**config, "server": server, "admin": admin}, sort_keys=False))

    def reload(self, config: dict[str, Any] | None = None) -> None:
        """SIGHUP, after writing `config` if there is one. Returns at once."""
        if config is not None:
            self.write(config)
        self.signal(signal.SIGHUP)

    def stop(self, seconds: float = 15) -> int:
        """SIGTERM, wait until it has drained, and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float = 15) -> int:
        """Wait until it ends by itself, and return its exit code."""
        assert self._running is not None
        return self._running.process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL."""
        if self._running is not None:
            self._running.kill()
            self._running = None

    def close(self) -> None:
        """End it and remove its folder."""
        if self._running is not None:
            self._running.terminate(seconds=5)
            self._running = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def signal(self, number: signal.Signals) -> None:
        assert self._running is not None
        self._running.process.send_signal(number)

    @property
    def pid(self) -> int:
        assert self._running is not None
        return self._running.pid

    def alive(self) -> bool:
        return self._running is not None and self._running.alive()

    def rss_bytes(self) -> int:
        """Resident memory of the process, without children."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def open_files(self) -> int:
        """Descriptors of the process."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208 counted, nothing more

    def log(self) -> str:
        """All that it wrote to stdout and stderr, also when it is gone."""
        log = self.folder / "log"
        return log.read_text(errors="replace") if log.exists() else ""

    def events(self) -> list[dict[str, Any]]:
        """The events that it logged, without the access log."""
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line for line in lines if "event" in line]

    def story(self) -> str:
        """`events` and what is no JSON, for messages: the access log would bury them."""
        return "\n".join(line for line in self.log().splitlines() if '"request_id":' not in line)

    def get(self, path: str, headers: dict[str, str] | None = None, *, seconds: float = 5, port: int | None = None) -> tuple[int, bytes]:
        """One GET on a connection of its own: status and body."""
        host = "127.0.0.1" if port is None else self.own_host
        connection = http.client.HTTPConnection(host, port or self.port, timeout=seconds)
        if self.tls is not None and port in (None, self.port):
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=seconds, context=self.tls)
        try:
            connection.request("GET", path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def json(self, path: str, headers: dict[str, str] | None = None) -> Any:
        """The JSON of one GET, whatever its status."""
        return json.loads(self.get(path, headers)[1])

    def _live(self) -> bool:
        if self._running is not None and not self._running.alive():
            raise RuntimeError(f"the gateway ended at once:\n{self.log()}")
        try:
            return self.get("/health/live", seconds=2, port=self.own_port)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

"""A real Consul agent of one test's own: it may be killed, paused, emptied and started again."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

from tests.support.launch import Running, accepts, free_ports, launch, wait_until
from tests.support.real_servers import CONSUL, Binary, Image, own_server

READY_WITHIN_S = 30.0


class ConsulServer:
    """A single Consul server on free ports of 127.0.0.1, or one member of a `ConsulCluster`.

    `persistent`: keeps its registrations over a restart (a server with a data directory; about two
    seconds to a leader). Otherwise ``-dev``, which starts faster and forgets.
    `hcl`: more configuration, for instance ``limits { http_max_conns_per_client = 20 }`` or ACLs.
    `token`: sent with this object's own calls (`request`), for agents with ACLs.
    `client`: no server but an agent of the cluster that `join` leads to; it keeps what was registered with it.
    `join`: the ``serf_lan`` ports of others to find a cluster by. `expect`: so many servers elect the first leader.
    The port stays the same over restarts.
    """

    def __init__(
        self,
        *,
        persistent: bool = False,
        hcl: str = "",
        token: str | None = None,
        node: str = "test-node",
        client: bool = False,
        join: tuple[int, ...] = (),
        expect: int = 1,
    ) -> None:
        self.persistent = persistent or client
        self.hcl = hcl
        self.client = client
        self.join = join
        self.expect = expect
        self.token = token
        self.node = node
        self.where = own_server(CONSUL)
        self.port, self.dns_port, self.serf_port, self._wan_port, self.server_port = free_ports(5)
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = Path(tempfile.mkdtemp(prefix="lbgateway-consul-"))
        self.folder.chmod(0o755)
        self._running: Running | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> Self:
        """Start, and wait until a leader is known and the node itself is registered: only then do writes work."""
        self.launch()
        return self.await_ready()

    def launch(self) -> None:
        """Start without waiting: the servers of a cluster need each other."""
        self._running = launch(self.where, self._arguments(), self.folder)

    def await_ready(self) -> Self:
        """Wait for what `start` waits for."""
        try:
            wait_until(self._ready, READY_WITHIN_S, lambda: f"Consul is not ready after {READY_WITHIN_S:g} s:\n{self.log()}")
        except BaseException:
            self.kill()
            raise
        return self

    def running(self) -> bool:
        """Whether it was started, and neither killed nor terminated since."""
        return self._running is not None

    def kill(self) -> None:
        """SIGKILL."""
        if self._running is not None:
            self._running.kill()
            self._running = None

    def terminate(self) -> None:
        """SIGTERM; Consul leaves in good order."""
        if self._running is not None:
            self._running.terminate()
            self._running = None

    def restart(self, *, empty: bool = False) -> None:
        """Start again (after killing it, if it still runs), with its data or without."""
        if not (self.persistent or empty):
            raise ValueError("a -dev agent keeps nothing: ask for ConsulServer(persistent=True) or restart(empty=True)")
        self.kill()
        if empty:
            shutil.rmtree(self.folder / "data", ignore_errors=True)
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing answers."""
        assert self._running is not None
        self._running.pause()

    def resume(self) -> None:
        assert self._running is not None
        self._running.resume()

    def close(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """The end of the agent's log."""
        return self._running.log() if self._running is not None else ""

    def request(self, method: str, path: str, body: Any = None, *, seconds: float = 5) -> Any:
        """One call of the HTTP API, ``request("PUT", "/v1/agent/service/register", {...})``; the answer's JSON or None."""
        data = None if body is None else json.dumps(body).encode()
        call = urllib.request.Request(self.url + path, data=data, method=method)
        if self.token:
            call.add_header("X-Consul-Token", self.token)
        with urllib.request.urlopen(call, timeout=seconds) as answer:
            text = answer.read()
        return json.loads(text) if text.strip() else None

    def register(self, service: str, port: int, *, tags: tuple[str, ...] = ("lbgateway.enable=true",), **more: Any) -> str:
        """Register an instance at 127.0.0.1:`port` with the opt-in tag, and return its id, ``orders-9001``.

        `more` goes into the payload: ID, Check, Weights, Meta …
        """
        payload = {"Name": service, "ID": f"{service}-{port}", "Address": "127.0.0.1", "Port": port, "Tags": list(tags), **more}
        self.request("PUT", "/v1/agent/service/register", payload)
        return str(payload["ID"])

    def deregister(self, id: str) -> None:  # noqa: A002 the registry's own word
        self.request("PUT", f"/v1/agent/service/deregister/{id}")

    def _ready(self) -> bool:
        if self._running is not None and not self._running.alive():
            raise RuntimeError(f"Consul ended at once:\n{self.log()}")
        try:
            return accepts(self.port) and bool(self.request("GET", "/v1/status/leader")) and bool(self._own_node())
        except (OSError, urllib.error.URLError):
            return False

    def _own_node(self) -> Any:
        """The catalogue's entry of the agent's own node; with ACLs and no token it cannot be seen, and is not waited for."""
        if "acl" in self.hcl and self.token is None:
            return True
        return self.request("GET", f"/v1/health/node/{self.node}")

    def _arguments(self) -> list[str]:
        ports = {"http": self.port, "dns": self.dns_port, "serf_lan": self.serf_port, "serf_wan": self._wan_port}
        ports |= {"server": self.server_port, "grpc": -1}
        if version(self.where) >= (1, 14):
            ports["grpc_tls"] = -1  # a second listener on a fixed port, which older agents refuse to hear of
        inner = " ".join(f"{name} = {port}" for name, port in ports.items())
        texts = ["performance { raft_multiplier = 1 }", "disable_update_check = true", f"ports {{ {inner} }}", self.hcl]
        more = [part for text in texts if text for part in ("-hcl", text)]
        join = [f"-retry-join=127.0.0.1:{port}" for port in self.join]
        return ["agent", *self._mode(), *join, "-retry-interval=1s", "-bind=127.0.0.1", "-client=127.0.0.1", f"-node={self.node}", *more]

    def _mode(self) -> list[str]:
        if not self.persistent:
            return ["-dev"]
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        data.chmod(0o777)  # an image may bring a user of its own
        return [f"-data-dir={data}", *([] if self.client else ["-server", f"-bootstrap-expect={self.expect}"])]


@functools.cache
def version(where: Binary | Image) -> tuple[int, int]:
    """(1, 8) for Consul v1.8.7."""
    command = [where.path, "version"] if isinstance(where, Binary) else ["docker", "run", "--rm", where.name, "version"]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    found = re.search(r"v(\d+)\.(\d+)", text)
    assert found, text
    return int(found[1]), int(found[2])

"""Starts a real server, as a process or as a container, and ends exactly that one."""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from tests.support.real_servers import Binary, Image

LOG_TAIL_BYTES = 6000


def _numbers() -> Iterator[int]:
    """Below what the kernel gives to outgoing connections, and of this process of pytest-xdist alone."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 10_000 + worker % 10 * 2_000
    begin = os.getpid() % 2_000
    return itertools.cycle(first + (begin + number) % 2_000 for number in range(2_000))


_candidates = _numbers()


def free_ports(count: int) -> list[int]:
    """`count` different TCP ports of 127.0.0.1 that are free at this moment, and that nobody else is about to take."""
    found: list[int] = []
    for port in itertools.islice(_candidates, 2_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free port is left in this process's range")


def wait_until(condition: Callable[[], bool], seconds: float, what: Callable[[], str]) -> None:
    """Wait for something outside of this process; `what` tells what was awaited and what is known."""
    end_s = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end_s:
            raise TimeoutError(what())
        time.sleep(0.02)


def accepts(port: int) -> bool:
    """Whether something listens on `port` of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Running(Protocol):
    """One start of a server."""

    def alive(self) -> bool: ...

    def kill(self) -> None: ...

    def terminate(self, seconds: float = 10) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def log(self) -> str:
        """The end of what it has written, for failure reports."""


class RunningProcess:
    """A child process; its output goes to `log`."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **environment},
                start_new_session=True,  # a Ctrl-C in the terminal is for pytest, which then ends us in order
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL, and wait until the kernel has closed its sockets."""
        self.process.kill()
        self.process.wait(10)

    def terminate(self, seconds: float = 10) -> None:
        """SIGTERM, SIGKILL if that does not help."""
        if self.alive():
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def pause(self) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        return self._log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")


class RunningContainer:
    """A container in the host's network, so that addresses mean the same inside and outside."""

    def __init__(self, image: str, arguments: list[str], folder: Path) -> None:
        from testcontainers.core.config import testcontainers_config
        from testcontainers.core.container import DockerContainer

        testcontainers_config.ryuk_disabled = True  # a further image, and these containers have an owner that ends them
        self.container = DockerContainer(
            image,
            command=shlex.join(arguments),
            network_mode="host",
            volumes=[(str(folder), str(folder), "rw")],
        )
        self.container.start()

    def alive(self) -> bool:
        wrapped = self.container.get_wrapped_container()
        wrapped.reload()
        return str(wrapped.status) in ("running", "paused")

    def kill(self) -> None:
        if self.alive():
            self.container.get_wrapped_container().kill()
        self.container.stop()

    def terminate(self, seconds: float = 10) -> None:
        self.container.get_wrapped_container().stop(timeout=int(seconds))
        self.container.stop()

    def pause(self) -> None:
        self.container.get_wrapped_container().pause()

    def resume(self) -> None:
        self.container.get_wrapped_container().unpause()

    def log(self) -> str:
        return bytes(self.container.get_wrapped_container().logs())[-LOG_TAIL_BYTES:].decode(errors="replace")


def launch(where: Binary | Image, arguments: list[str], folder: Path) -> Running:
    """Start `where` with `arguments`; `folder` holds its data and its log."""
    if isinstance(where, Image):
        return RunningContainer(where.name, arguments, folder)
    return RunningProcess([where.path, *arguments], where.environment, folder / "log")

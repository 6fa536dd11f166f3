"""A real Redis of one test's own."""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path
from typing import Self

from tests.support.launch import Running, free_ports, launch, wait_until
from tests.support.real_servers import REDIS, Image, own_server

READY_WITHIN_S = 15.0


class RedisServer:
    """A single Redis on a free port of 127.0.0.1 that keeps nothing on disk. The port stays the same over restarts."""

    def __init__(self, *, options: tuple[str, ...] = ()) -> None:
        self.options = options
        self.where = own_server(REDIS)
        (self.port,) = free_ports(1)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.folder = Path(tempfile.mkdtemp(prefix="lbgateway-redis-"))
        self._running: Running | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> Self:
        """Start, and wait until it answers PING."""
        # A replica writes what it gets from its master to disk first: not where the tests run.
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "", "--appendonly", "no"]
        arguments += self.options
        if isinstance(self.where, Image):
            arguments.insert(0, "redis-server")  # not every image has it as its entry point
        self._running = launch(self.where, arguments, self.folder)
        try:
            wait_until(self._answers, READY_WITHIN_S, lambda: f"Redis is not ready after {READY_WITHIN_S:g} s:\n{self.log()}")
        except BaseException:
            self.kill()
            raise
        return self

    def kill(self) -> None:
        """SIGKILL."""
        if self._running is not None:
            self._running.kill()
            self._running = None

    def terminate(self) -> None:
        """SIGTERM."""
        if self._running is not None:
            self._running.terminate()
            self._running = None

    def restart(self) -> None:
        """Start again, empty, after killing it if it still runs."""
        self.kill()
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
        """The end of the server's log."""
        return self._running.log() if self._running is not None else ""

    def _answers(self) -> bool:
        if self._running is not None and not self._running.alive():
            raise RuntimeError(f"Redis ended at once:\n{self.log()}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=0.5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

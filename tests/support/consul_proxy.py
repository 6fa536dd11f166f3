"""What stands between a gateway and a Consul agent in real networks: a proxy that hears every read, and misbehaves when it is told to.

with ConsulProxy(consul.port) as proxy:
    proxy.patience_s = 30.0            # as load balancers have it
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qs, urlsplit

GATEWAY_TIMEOUT = b"HTTP/1.1 504 Gateway Time-out\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True)
class Asked:
    """One read, the moment it came; or its answer, the moment that began."""

    at_s: float
    target: str

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def index(self) -> str | None:
        """What it blocks on; None for a plain read."""
        return parse_qs(urlsplit(self.target).query).get("index", [None])[0]


class _Pending:
    """The read under way on one connection."""

    def __init__(self) -> None:
        self.target = ""
        self.answered = asyncio.Event()


class ConsulProxy:
    """Bytes to and from 127.0.0.1:`agent`, on a thread of its own. `asked` holds every read, `answers` every answer.

    `patience_s`: a read that is not answered for so long is ended, None for never; with `farewell`, or
    with nothing but the end of the connection. `deaf`: takes everything and passes nothing on.
    `at_most_bytes`: an answer that is longer is ended there, None for never.
    """

    def __init__(self, agent: int) -> None:
        # for life
        self.agent = agent
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        # what it does to its clients
        self.patience_s: float | None = None
        self.farewell = b""
        self.deaf = False
        self.at_most_bytes: int | None = None
        # what was seen
        self.asked: list[Asked] = []
        self.answers: list[Asked] = []
        self.cuts = 0
        # while it runs
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def reads(self, path: str, since_s: float = 0.0) -> list[Asked]:
        """The reads of one path that came at `since_s` or later."""
        return [each for each in self.asked if each.path == path and each.at_s >= since_s]

    def woke_s(self, path: str, since_s: float) -> float:
        """When the first answer to a read of that path came, at `since_s` or later."""
        return next(each.at_s for each in self.answers if each.path == path and each.at_s >= since_s)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            theirs, ours = await asyncio.open_connection("127.0.0.1", self.agent)
            with contextlib.closing(ours):
                await self._exchange(reader, writer, theirs, ours)

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, theirs: asyncio.StreamReader, ours: asyncio.StreamWriter
    ) -> None:
        """Carry both ways until one side ends, or patience does."""
        pending = _Pending()
        back = asyncio.create_task(self._back(theirs, writer, pending))
        there = asyncio.create_task(self._there(reader, writer, ours, pending))
        try:
            await asyncio.wait((back, there), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (back, there):
                task.cancel()
            await asyncio.gather(back, there, return_exceptions=True)

    async def _there(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ours: asyncio.StreamWriter, pending: _Pending
    ) -> None:
        """One read after the other."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                pending.target = head.split(b" ", 2)[1].decode()
                pending.answered.clear()
                self.asked.append(Asked(time.monotonic(), pending.target))
                if not self.deaf:
                    ours.write(head)
                try:
                    async with asyncio.timeout(self.patience_s):
                        await pending.answered.wait()
                except TimeoutError:
                    self.cuts += 1
                    writer.write(self.farewell)
                    return

    async def _back(self, theirs: asyncio.StreamReader, writer: asyncio.StreamWriter, pending: _Pending) -> None:
        while data := await theirs.read(65536):
            if not pending.answered.is_set():
                self.answers.append(Asked(time.monotonic(), pending.target))
            writer.write(data[: self.at_most_bytes])
            pending.answered.set()
            if self.at_most_bytes is not None and len(data) > self.at_most_bytes:
                return

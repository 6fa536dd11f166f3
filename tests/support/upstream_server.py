"""A small HTTP/1.1 server that does what it is told, also what no real server should do.

In the test's own loop::

    async with UpstreamServer(echo) as upstream:
        ...                                     # upstream.address, upstream.requests

or beside it, for synchronous tests and for load: ``with UpstreamThread(echo) as upstream``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Self

HEAD_LIMIT_BYTES = 1 << 20
BACKLOG = 1024
"""Connections that wait to be accepted. asyncio's 100 are few: the kernel drops what is more, which costs the other side a second."""


@dataclass(frozen=True)
class Received:
    """One request as it arrived. Header names keep their spelling; `raw_head` is the wire's bytes up to the empty line."""

    connection: int
    method: str
    target: str
    version: str
    headers: tuple[tuple[str, str], ...]
    raw_head: bytes
    body: bytes = b""
    trailers: bytes = b""

    def header(self, name: str) -> str | None:
        """The first header of that name, in any spelling."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass
class Connection:
    """One accepted connection."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    served: int = 0

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Close with RST: what is in flight is lost."""
        self.writer.transport.abort()


Handler = Callable[[Received, Connection], Awaitable[bool]]
"""Answers one request; False closes the connection."""


def answer(body: bytes, *, status: str = "200 OK", headers: tuple[str, ...] = ()) -> bytes:
    """A complete response with ``Content-Length``."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def echo(request: Received, connection: Connection) -> bool:
    """Tell in JSON what has been received; no body for HEAD."""
    told = {
        "method": request.method,
        "target": request.target,
        "headers": [list(pair) for pair in request.headers],
        "body": request.body.decode("latin-1"),
        "connection": connection.number,
    }
    response = answer(json.dumps(told).encode(), headers=("Content-Type: application/json",))
    await connection.send(response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if request.method == "HEAD" else response)
    return request.header("Connection") != "close"


def fixed(response: bytes, *, keep: bool = True) -> Handler:
    """Answer every request with the same bytes."""

    async def handle(_: Received, connection: Connection) -> bool:
        await connection.send(response)
        return keep

    return handle


def scripted(*responses: bytes | None) -> Handler:
    """Answer the n-th request of the whole server with the n-th bytes; None closes without a byte, the last one repeats."""
    remaining = list(responses)

    async def handle(_: Received, connection: Connection) -> bool:
        response = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        if response is None:
            return False
        await connection.send(response)
        return True

    return handle


def slow(seconds: float, then: Handler = echo) -> Handler:
    """Think for a while, then answer."""

    async def handle(request: Received, connection: Connection) -> bool:
        await asyncio.sleep(seconds)
        return await then(request, connection)

    return handle


def pieces(*parts: bytes, pause_s: float = 0.0) -> Handler:
    """Answer in several writes with a pause between them."""

    async def handle(_: Received, connection: Connection) -> bool:
        for part in parts:
            await connection.send(part)
            await asyncio.sleep(pause_s)
        return True

    return handle


async def hang(_: Received, connection: Connection) -> bool:
    """Never answer; ends when the other side closes."""
    await connection.reader.read()
    return False


async def close_without_answer(_: Received, __: Connection) -> bool:
    return False


async def reset_without_answer(_: Received, connection: Connection) -> bool:
    connection.reset()
    return False


@dataclass
class UpstreamServer:
    """Serves `handler` on a free port of 127.0.0.1, and remembers what came in; for hours only if it does not."""

    handler: Handler = echo
    port: int = 0
    remembers: bool = True
    requests: list[Received] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    closed_by_peer: int = 0
    """Connections that the other side ended between or within requests."""
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _accepted: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Listen; on the same port as before, if it was closed in between."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=HEAD_LIMIT_BYTES, backlog=BACKLOG)
        self.port = self._server.sockets[0].getsockname()[1]

    async def aclose(self) -> None:
        """Stop listening and cut all connections, as a killed server does."""
        if self._server is None:
            return
        self._server.close()
        self.cut()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._server = None

    def refuse(self) -> None:
        """Take no new connections; those that are here go on."""
        if self._server is not None:
            self._server.close()

    def cut(self) -> None:
        """Reset all connections, and go on listening."""
        for connection in self.connections:
            connection.reset()

    def open_connections(self) -> int:
        return sum(not connection.writer.is_closing() for connection in self.connections)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self._accepted, reader, writer)
        self._accepted += 1
        self.connections.append(connection)
        task = asyncio.create_task(self._serve(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: Connection) -> None:
        try:
            while True:
                request = await read_request(connection)
                if self.remembers:
                    self.requests.append(request)
                connection.served += 1
                if not await self.handler(request, connection):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed_by_peer += 1
        finally:
            connection.writer.close()
            if not self.remembers:
                self.connections.remove(connection)
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await connection.writer.wait_closed()


async def read_request(connection: Connection) -> Received:
    """Read one request with its body; `asyncio.IncompleteReadError` when the connection ends before."""
    reader = connection.reader
    raw_head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = raw_head[:-4].decode("latin-1").split("\r\n")
    method, target, version = first.split(" ", 2)
    headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    request = Received(connection.number, method, target, version, headers, raw_head)
    if (request.header("Expect") or "").lower() == "100-continue":
        await connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    if "chunked" in (request.header("Transfer-Encoding") or "").lower():
        body, trailers = await _read_chunks(reader)
    else:
        body, trailers = await reader.readexactly(int(request.header("Content-Length") or 0)), b""
    return Received(connection.number, method, target, version, headers, raw_head, body, trailers)


async def _read_chunks(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    body = bytearray()
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    trailers = b""
    while (line := await reader.readline()) not in (b"\r\n", b""):
        trailers += line
    return bytes(body), trailers


class UpstreamThread:
    """An `UpstreamServer` with a loop and a thread of its own."""

    def __init__(self, handler: Handler = echo, *, port: int = 0) -> None:
        self.server = UpstreamServer(handler)
        self.server.port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="upstream", daemon=True)

    def __enter__(self) -> UpstreamServer:
        self._thread.start()
        self._call(self.server.start())
        return self.server

    def __exit__(self, *_: object) -> None:
        self._call(self.server.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _call(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            await work

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

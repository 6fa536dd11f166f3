"""HTTP/1.1 as clients speak it, well or badly: kept connections, and connections of one's own whose bytes one writes oneself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

PIECE_BYTES = 1 << 14


class Broken(Exception):
    """There was no whole answer; the text says what came instead."""


class Unanswered(Broken):
    """The connection was closed instead of the first byte of an answer: a kept one may be by then."""


@dataclass(frozen=True)
class Answer:
    """`keeps`: whether the connection may be used again."""

    status: int
    body: bytes
    keeps: bool


def request(method: str, path: str, *fields: str, body: bytes = b"") -> bytes:
    """The bytes of a request."""
    length = [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: gateway.example", *fields, *length, "", ""]).encode() + body


class Connection:
    """One connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._fields: dict[str, str] = {}

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def exactly(self, count: int) -> bytes:
        return await self.reader.readexactly(count)

    async def head(self) -> int:
        """Read a head, and return its status."""
        try:
            received = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise Broken("cut within the head") if error.partial else Unanswered("closed without an answer") from None
        first, *lines = received[:-4].decode("latin-1").split("\r\n")
        self._fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split(" ")[1])

    async def answer(self, pause_s: float = 0.0) -> Answer:
        """Read a whole answer; `pause_s` after each piece of its body."""
        status, fields = await self.head(), self._fields
        keeps = fields.get("connection", "").lower() != "close"
        if "chunked" in fields.get("transfer-encoding", ""):
            body = bytearray()
            while size := int(await self.reader.readline(), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
            return Answer(status, bytes(body), keeps)
        left, pieces = int(fields.get("content-length", 0)), []
        while left:
            pieces.append(await self.reader.readexactly(min(left, PIECE_BYTES)))
            left -= len(pieces[-1])
            await asyncio.sleep(pause_s)
        return Answer(status, b"".join(pieces), keeps)

    def gone(self) -> bool:
        """Whether the other side has ended it."""
        return self.reader.at_eof() or self.writer.is_closing()

    def abort(self) -> None:
        """Close with a reset if there is something unread."""
        self.writer.transport.abort()


class HttpClient:
    """Connections to one port of 127.0.0.1; those that are kept are used again, the last one first."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._idle: list[Connection] = []

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[Connection]:
        """A connection of one's own, closed in the end. Raises `Broken`."""
        connection = await self._connect()
        try:
            yield connection
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Broken("cut") from error
        finally:
            connection.writer.close()

    async def ask(self, wire: bytes) -> Answer:
        """Send a request and read its answer. Raises `Broken`."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.gone():
                with contextlib.suppress(Unanswered):
                    return await self._ask_over(connection, wire)
        return await self._ask_over(await self._connect(), wire)

    async def _ask_over(self, connection: Connection, wire: bytes) -> Answer:
        sending = asyncio.ensure_future(connection.send(wire))  # the answer may come before all is sent
        kept = False
        try:
            answer = await connection.answer()
            kept = answer.keeps and sending.done()
        except asyncio.IncompleteReadError:
            raise Broken("cut") from None
        except OSError as error:
            raise Broken(type(error).__name__) from error
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            if not kept:
                connection.writer.close()
        if kept:
            self._idle.append(connection)
        return answer

    async def _connect(self) -> Connection:
        try:
            return Connection(*await asyncio.open_connection("127.0.0.1", self.port))
        except OSError as error:
            raise Broken(f"connecting: {error.strerror}") from error

    def close(self) -> None:
        for connection in self._idle:
            connection.writer.close()

"""A small HTTP/1.1 server on h11: persistent connections, one request at a time on each.

It knows when a client has left: the handler of its request is cancelled at once, so that a blocked
query never outlives whoever asked it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qsl, unquote

import h11

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 512 * 1024
MAX_PIPELINED_BYTES = 64 * 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is percent-decoded; `query` in the order given, "" for parameters without a value; header names in lower case."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; lengths and connection headers are added when it is sent."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class Cut(Exception):
    """A handler that raises it ends its connection without an answer, and with a reset."""


class HttpServer:
    """Serves `handler` on one address. A handler that raises anything but `Cut` is a bug, and answered with 500.

    `welcome` is asked whether one more connection may stay; one that may not is reset.
    """

    def __init__(self, handler: Callable[[Request], Awaitable[Response]], welcome: Callable[[], bool] = lambda: True) -> None:
        # for life
        self.handler = handler
        self.welcome = welcome
        # while running
        self.connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port, which the system chooses if `port` is 0.

        Raises:
            OSError: the port is taken.

        """
        self._server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), host, port)
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def listening(self) -> bool:
        """Whether new connections are welcome."""
        return self._server is not None

    async def aclose(self) -> None:
        """Stop listening, cut all connections, cancel what runs."""
        if self._server is None:
            return
        server, self._server = self._server, None
        await _finish_accepting(server)
        server.close()
        tasks = [one.task for one in self.connections if one.task is not None]
        for connection in list(self.connections):
            connection.cut()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self.connections:  # noqa: ASYNC110 one turn of the loop, in which it tells each of its end
            await asyncio.sleep(0)
        await server.wait_closed()


async def _finish_accepting(server: asyncio.Server) -> None:
    """Accept nobody else, and let those come in who were accepted in this turn of the loop.

    asyncio makes the transport of an accepted socket two turns later. If its server is closed by then,
    it gives up on the socket without closing it.
    """
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    for _ in range(3):
        await asyncio.sleep(0)


class _Connection(asyncio.Protocol):
    """One client. h11 holds the state of the protocol, so that here is only: is a handler running?"""

    def __init__(self, server: HttpServer) -> None:
        # for life
        self._server = server
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._transport: asyncio.Transport | None = None
        # per request
        self._head: h11.Request | None = None
        self._body = bytearray()
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        if not self._server.listening:  # accepted while the server was closing
            self._transport.abort()
        elif self._server.welcome():
            self._server.connections.add(self)
        else:
            self._reset()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 asyncio calls it so
        self._server.connections.discard(self)
        self._transport = None
        if self.task is not None:
            self.task.cancel()

    def cut(self) -> None:
        """End it, whatever is going on."""
        if self.task is not None:
            self.task.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _reset(self) -> None:
        """End it such that the client cannot take it for an orderly end."""
        if self._transport is not None:
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._h11.receive_data(data)
        if self.task is None:
            self._read()
        elif len(self._h11.trailing_data[0]) > MAX_PIPELINED_BYTES:
            # Reading goes on while a query is blocked, or its client's leaving would not be noticed.
            self.cut()

    def eof_received(self) -> None:
        """Let the transport close: a client that will send no more is not waited for."""

    def _read(self) -> None:
        try:
            while self.task is None:
                event = self._h11.next_event()
                if isinstance(event, h11.Request):
                    self._head = event
                    self._expect_body()
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    if len(self._body) > MAX_BODY_BYTES:
                        self._give_up(413, "Request body too large, max size: 512 KiB")
                        return
                elif isinstance(event, h11.EndOfMessage):
                    self._begin()
                else:  # more bytes needed, a pause, or the end
                    return
        except h11.RemoteProtocolError as error:
            self._give_up(error.error_status_hint, "400 Bad Request")

    def _expect_body(self) -> None:
        if self._h11.they_are_waiting_for_100_continue and self._transport is not None:
            self._transport.write(self._h11.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")

    def _begin(self) -> None:
        assert self._head is not None
        path, _, query = self._head.target.decode("latin-1").partition("?")
        request = Request(
            method=self._head.method.decode("ascii"),
            path=unquote(path),
            query=tuple(parse_qsl(query, keep_blank_values=True)),
            headers=tuple(self._head.headers),
            body=bytes(self._body),
        )
        self._body.clear()
        self.task = asyncio.get_running_loop().create_task(self._handle(request), name=f"registry {request.method} {path}")

    async def _handle(self, request: Request) -> None:
        try:
            response = await self._server.handler(request)
        except Cut:
            self.task = None
            self._reset()
            return
        except Exception:
            log.exception("registry: %s %s failed", request.method, request.path)
            response = Response(500, b"internal error", (("Content-Type", "text/plain; charset=utf-8"),))
        self.task = None
        self._send(response, with_body=request.method != "HEAD")
        if self._transport is None or self._transport.is_closing():
            return
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            self._read()
        else:
            self._transport.close()

    def _send(self, response: Response, *, with_body: bool = True) -> None:
        if self._transport is None:
            return
        always = (("Vary", "Accept-Encoding"), ("Date", formatdate(usegmt=True)), ("Content-Length", str(len(response.body))))
        headers = [*response.headers, *always]
        events: list[h11.Event] = [h11.Response(status_code=response.status, headers=headers, reason=HTTPStatus(response.status).phrase)]
        if with_body and response.body:
            events.append(h11.Data(data=response.body))
        events.append(h11.EndOfMessage())
        self._transport.write(b"".join(self._h11.send(event) or b"" for event in events))

    def _give_up(self, status: int, text: str) -> None:
        """Answer what cannot be read to its end, and close."""
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._send(Response(status, text.encode(), (("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close"))))
        if self._transport is not None:
            self._transport.close()

"""The HTTP server at the level of bytes: framing, order, limits, and clients that leave."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from discovery.embedded.http_server import MAX_BODY_BYTES, MAX_HEAD_BYTES, Cut, HttpServer, Request, Response


class Handler:
    """Remembers requests; ``/slow`` waits until it is let go, ``/bug`` is one."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.cancelled = 0
        self.let_go = asyncio.Event()

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        if request.path == "/bug":
            raise RuntimeError("a bug")
        if request.path == "/cut":
            raise Cut
        if request.path == "/slow":
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return Response(200, request.path.encode(), (("X-Test", "1"),))


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
async def server(handler: Handler) -> AsyncIterator[tuple[HttpServer, int]]:
    """The server and its port."""
    it = HttpServer(handler)
    port = await it.start("127.0.0.1", 0)
    yield it, port
    await it.aclose()


@contextlib.asynccontextmanager
async def client(server: tuple[HttpServer, int]) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server[1])
    try:
        yield reader, writer
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def answer(reader: asyncio.StreamReader, *, body: bool = True) -> tuple[bytes, bytes]:
    """The head and the body of the next answer."""
    async with asyncio.timeout(2):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return head, await reader.readexactly(length) if body else b""


def get(path: bytes, more: bytes = b"") -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + more + b"\r\n"


async def test_a_request_is_taken_apart(server: tuple[HttpServer, int], handler: Handler) -> None:
    """Path decoded, query in order with empty values, body whole however it arrives."""
    async with client(server) as (reader, writer):
        writer.write(b"PUT /a%20b%2Fc?x=1&y&x=%C3%A4+2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await asyncio.sleep(0.01)
        writer.write(b"2\r\nde\r\n0\r\n\r\n")
        head, _ = await answer(reader)
    request = handler.requests[0]
    assert (request.method, request.path, request.body) == ("PUT", "/a b/c", b"abcde")
    assert request.query == (("x", "1"), ("y", ""), ("x", "ä 2"))
    assert (b"host", b"h") in request.headers
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"x-test: 1" in head.lower()


async def test_a_connection_serves_many_requests_in_order(server: tuple[HttpServer, int], handler: Handler) -> None:
    """Even when all of them are sent at once and the first one takes its time."""
    async with client(server) as (reader, writer):
        writer.write(get(b"/slow") + get(b"/two") + get(b"/three"))
        await asyncio.sleep(0.02)
        assert len(handler.requests) == 1
        handler.let_go.set()
        assert [(await answer(reader))[1] for _ in range(3)] == [b"/slow", b"/two", b"/three"]


@pytest.mark.parametrize("more", [b"Connection: close\r\n", None])
async def test_a_connection_ends_when_its_client_wants_it_to(server: tuple[HttpServer, int], more: bytes | None) -> None:
    """By header, or by speaking HTTP/1.0."""
    async with client(server) as (reader, writer):
        writer.write(get(b"/", more) if more else b"GET / HTTP/1.0\r\n\r\n")
        await answer(reader)
        assert await asyncio.wait_for(reader.read(), 1) == b""


async def test_head_is_answered_without_a_body(server: tuple[HttpServer, int]) -> None:
    """The connection stays usable."""
    async with client(server) as (reader, writer):
        writer.write(b"HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n" + get(b"/next"))
        await answer(reader, body=False)
        assert (await answer(reader))[1] == b"/next"


async def test_a_client_that_waits_for_a_go_ahead_gets_it(server: tuple[HttpServer, int], handler: Handler) -> None:
    """curl does so for bodies of a megabyte, others for any."""
    async with client(server) as (reader, writer):
        writer.write(b"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(b"ok")
        await answer(reader)
    assert handler.requests[0].body == b"ok"


async def test_a_client_that_leaves_cancels_its_request(server: tuple[HttpServer, int], handler: Handler) -> None:
    """A blocked query must not outlive whoever asked it."""
    async with client(server) as (_, writer):
        writer.write(get(b"/slow"))
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.02)
    assert handler.cancelled == 1
    assert server[0].connections == set()


async def test_closing_cuts_everybody_off_at_once(server: tuple[HttpServer, int], handler: Handler) -> None:
    """Idle connections and blocked queries; a second closing does nothing."""
    async with client(server) as (idle, _), client(server) as (blocked, writer):
        writer.write(get(b"/slow"))
        await asyncio.sleep(0.02)
        async with asyncio.timeout(1):
            await server[0].aclose()
            await server[0].aclose()
            for reader in (idle, blocked):
                with pytest.raises((EOFError, ConnectionError)):
                    await reader.readexactly(1)
    assert handler.cancelled == 1


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"GET /" + b"x" * (MAX_HEAD_BYTES + 10), b"431"),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 600000\r\n\r\n" + b"x" * (MAX_BODY_BYTES + 1), b"413"),
    ],
)
async def test_what_cannot_be_served_is_refused_and_ends_the_connection(
    server: tuple[HttpServer, int], handler: Handler, sent: bytes, status: bytes
) -> None:
    """Malformed, ambiguous, too large."""
    async with client(server) as (reader, writer):
        writer.write(sent)
        head, _ = await answer(reader)
        assert head.split()[1] == status
    assert handler.requests == []


async def test_a_bug_is_500_and_logged(server: tuple[HttpServer, int], caplog: pytest.LogCaptureFixture) -> None:
    """With its trace in the log, without it in the answer; the connection goes on."""
    async with client(server) as (reader, writer):
        writer.write(get(b"/bug") + get(b"/next"))
        head, body = await answer(reader)
        assert (head.split()[1], body) == (b"500", b"internal error")
        assert (await answer(reader))[1] == b"/next"
    assert [(record.levelno, record.exc_info is not None) for record in caplog.records] == [(logging.ERROR, True)]


async def test_a_handler_may_cut_its_client_off(server: tuple[HttpServer, int]) -> None:
    """As a process does that is killed: with a reset, and no other client notices."""
    async with client(server) as (reader, writer), client(server) as (other_reader, other_writer):
        writer.write(get(b"/cut"))
        with pytest.raises(ConnectionResetError):
            await reader.read()
        other_writer.write(get(b"/next"))
        assert (await answer(other_reader))[1] == b"/next"


async def test_nobody_stays_who_is_not_welcome(server: tuple[HttpServer, int]) -> None:
    """A connection too many is reset, whether or not it asked already; those that are there stay."""
    it = server[0]
    it.welcome = lambda: len(it.connections) < 1
    async with client(server) as (reader, writer):
        writer.write(get(b"/first"))
        assert (await answer(reader))[1] == b"/first"
        async with client(server) as (unwelcome, _):
            with pytest.raises(ConnectionResetError):
                await unwelcome.read()
        writer.write(get(b"/second"))
        assert (await answer(reader))[1] == b"/second"


async def test_a_client_that_floods_a_blocked_connection_is_cut(server: tuple[HttpServer, int], handler: Handler) -> None:
    """What it sends meanwhile is kept, but not without bound."""
    async with client(server) as (reader, writer):
        writer.write(get(b"/slow"))
        await asyncio.sleep(0.02)
        writer.write(get(b"/x") * 5000)
        with pytest.raises((EOFError, ConnectionError)):
            await asyncio.wait_for(reader.readexactly(1), 2)
    assert handler.cancelled == 1


async def test_a_taken_port_is_an_error_of_the_caller(server: tuple[HttpServer, int], handler: Handler) -> None:
    """Who then tries the next."""
    with pytest.raises(OSError, match="in use"):
        await HttpServer(handler).start("127.0.0.1", server[1])


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_close_while_clients_come_in_leaves_no_socket_open(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Those whom the kernel has accepted, those of whom the loop knows, and those who are being served."""

    async def close_after(turns: int) -> None:
        server = HttpServer(Handler())
        port = await server.start("127.0.0.1", 0)
        with contextlib.ExitStack() as clients:
            for _ in range(3):
                clients.enter_context(socket.create_connection(("127.0.0.1", port))).sendall(get(b"/slow"))
            for _ in range(turns):
                await asyncio.sleep(0)
            await server.aclose()
        assert server.connections == set()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        for turns in range(6):
            runner.run(close_after(turns))
    gc.collect()  # an open socket would now warn, which is an error

"""The pool of connections that httpx makes: like any other, but that it has to look whether an idle one has ended."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from lbgateway.dataplane.exchange_state import Connection
from lbgateway.dataplane.httpx_pool import HttpxPool
from lbgateway.dataplane.reach import HttpxReach
from lbgateway.errors import ConnectFailed, GatewayError
from tests.support.upstream_server import UpstreamServer, echo

HEAD = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"


class Sink:
    """Asks for a connection, sends one request over it, and gives it back."""

    def first_bytes(self) -> bytes:
        return HEAD

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.error: GatewayError | None = None
        self.status = 0
        self.body = b""
        self.done = asyncio.Event()

    def on_connected(self, connection: Connection) -> None:
        self.connection = connection
        connection.exchange = self  # type: ignore[assignment]  # as much of an exchange as a plain answer needs
        connection.write(HEAD)

    def on_connect_failed(self, error: GatewayError) -> None:
        self.error = error
        self.done.set()

    def on_response_head(self, head) -> None:
        self.status = head.status

    def on_response_body(self, pieces: list[bytes]) -> None:
        self.body += b"".join(pieces)

    def on_response_end(self, pieces: list[bytes], trailers: object) -> None:
        assert self.connection is not None
        self.body += b"".join(pieces)
        self.connection.pool.release(self.connection, monotonic(), reusable=True)
        self.done.set()

    def on_upstream_error(self, error: GatewayError) -> None:
        self.error = error
        assert self.connection is not None
        self.connection.pool.release(self.connection, monotonic(), reusable=False)
        self.done.set()


def pool_to(port: int) -> HttpxPool:
    return HttpxPool("127.0.0.1", port, 4.0, asyncio.get_running_loop(), HttpxReach())


async def asked(pool: HttpxPool) -> Sink:
    """One request over the pool."""
    sink = Sink()
    connection = pool.lease(monotonic())
    if connection is None:
        pool.connect(sink, 1.0)
    else:
        sink.on_connected(connection)
    await asyncio.wait_for(sink.done.wait(), 5)
    return sink


async def gone(pool: HttpxPool) -> None:
    """Let what was closed be closed."""
    pool.retire()
    while pool._tasks:
        await asyncio.gather(*pool._tasks, return_exceptions=True)


async def test_a_lease_ends_in_the_pool_and_the_next_one_gets_it() -> None:
    """One connection for one request after the other."""
    async with UpstreamServer(echo) as upstream:
        pool = pool_to(upstream.port)
        first, second = await asked(pool), await asked(pool)

        assert (first.status, first.connection is second.connection, len(pool.idle), pool.active) == (200, True, 1, 0)
        assert len({request.connection for request in upstream.requests}) == 1
        await gone(pool)


async def test_an_idle_connection_that_has_ended_is_not_leased() -> None:
    """Nor is it kept: the sweep finds it, too."""
    async with UpstreamServer(echo) as upstream:
        pool = pool_to(upstream.port)
        await asked(pool)
    await asyncio.sleep(0.01)
    [connection] = pool.idle
    assert connection.is_closing()
    pool.sweep(monotonic())
    assert pool.idle == []
    assert pool.lease(monotonic()) is None
    await gone(pool)


async def test_a_connect_that_is_refused_is_told() -> None:
    """Nothing is leased."""
    async with UpstreamServer(echo) as upstream:
        port = upstream.port
    pool = pool_to(port)
    sink = await asked(pool)

    assert (type(sink.error), pool.active, pool.idle) == (ConnectFailed, 0, [])
    await gone(pool)


async def test_a_cancelled_connect_tells_nothing() -> None:
    """And leaves nothing behind."""
    async with UpstreamServer(echo) as upstream:
        pool, sink = pool_to(upstream.port), Sink()
        task = pool.connect(sink, 1.0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone(pool)

        assert (sink.connection, sink.error, pool.active) == (None, None, 0)


async def test_a_retired_pool_keeps_nothing() -> None:
    """A connection that ends its lease there is closed."""
    async with UpstreamServer(echo) as upstream:
        pool = pool_to(upstream.port)
        pool.retire()
        sink = await asked(pool)

        assert (sink.status, pool.idle, pool.active) == (200, [], 0)
        await gone(pool)

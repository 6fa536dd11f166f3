"""The stack of idle connections without a network; how connections come to be with a real loop and a local server."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lbgateway.dataplane.connection import UpstreamConnection
from lbgateway.dataplane.pool import FRESH_S, Pool, connect_error
from lbgateway.errors import ConnectFailed, ConnectTimeout, GatewayError, Overloaded
from tests.support.playbook import HandLoop
from tests.support.transports import FakeTransport, Later

IDLE_TIMEOUT_S = 4.0


def quiet() -> Pool:
    """A pool that is never asked to connect."""
    return Pool("10.0.0.1", 9001, IDLE_TIMEOUT_S, HandLoop())  # type: ignore[arg-type]  # a loop is for connects only


def leased(pool: Pool) -> UpstreamConnection:
    """A connection as after its answer: leased, and willing to be kept alive."""
    connection = UpstreamConnection(pool)
    FakeTransport(Later()).start(connection)
    connection.keep_alive = True
    pool.active += 1
    return connection


def idle(pool: Pool, *since_s: float) -> list[UpstreamConnection]:
    """One idle connection for each moment at which it was released."""
    connections = [leased(pool) for _ in since_s]
    for connection, now_s in zip(connections, since_s, strict=True):
        pool.release(connection, now_s, reusable=True)
    return connections


# -- leases ----------------------------------------------------------------------------------------


def test_the_connection_that_came_back_last_is_leased_first():
    """So that what nobody needs grows old at the bottom."""
    pool = quiet()
    first, second = idle(pool, 1.0, 2.0)
    assert [pool.lease(2.5), pool.lease(2.5), pool.lease(2.5)] == [second, first, None]
    assert (pool.active, pool.idle) == (2, [])


def test_an_empty_pool_leases_nothing():
    """And counts nothing."""
    pool = quiet()
    assert (pool.lease(0.0), pool.active) == (None, 0)


@pytest.mark.parametrize(
    ("age_s", "fresh", "given", "kept"),
    [
        (0.0, False, True, 0),
        (FRESH_S, False, True, 0),
        (IDLE_TIMEOUT_S - 0.1, False, True, 0),
        (IDLE_TIMEOUT_S, False, False, 0),
        (FRESH_S - 0.1, True, True, 0),
        (FRESH_S, True, False, 1),
        (IDLE_TIMEOUT_S, True, False, 0),
    ],
)
def test_how_old_a_connection_may_be(age_s: float, fresh: bool, given: bool, kept: int):
    """A request that may not be replayed asks for more; what is too old for it stays for others, what is too old for all is closed."""
    pool = quiet()
    [connection] = idle(pool, 10.0)
    assert (pool.lease(10.0 + age_s, fresh=fresh) is connection) is given
    assert len(pool.idle) == kept
    assert connection.transport.is_closing() is (not given and not kept)


def test_when_the_youngest_is_too_old_all_are_closed():
    """The others are older still."""
    pool = quiet()
    connections = idle(pool, 0.0, 1.0, 2.0)
    assert pool.lease(2.0 + IDLE_TIMEOUT_S) is None
    assert [each.transport.is_closing() for each in connections] == [True, True, True]
    assert (pool.idle, pool.active) == ([], 0)


def test_a_connection_that_is_closing_is_passed_over():
    """Its end may not have been told yet."""
    pool = quiet()
    good, bad = idle(pool, 1.0, 2.0)
    bad.transport.close()
    assert (pool.lease(2.0), pool.active, pool.idle) == (good, 1, [])


# -- releases --------------------------------------------------------------------------------------


def test_a_released_connection_belongs_to_nobody():
    """Its age begins, its use is counted, the exchange is let go."""
    pool = quiet()
    connection = leased(pool)
    connection.exchange = object()  # type: ignore[assignment]  # any exchange
    pool.release(connection, 7.0, reusable=True)
    assert (connection.exchange, connection.uses, connection.idle_at_s) == (None, 1, 7.0)
    assert (pool.active, pool.idle, connection.transport.is_closing()) == (0, [connection], False)


@pytest.mark.parametrize("reason", ["not reusable", "not kept alive", "retired", "closing"])
def test_what_cannot_carry_another_request_is_closed(reason: str):
    """Whoever says so: the exchange, the upstream, the registry, the transport."""
    pool = quiet()
    connection = leased(pool)
    connection.keep_alive = reason != "not kept alive"
    if reason == "retired":
        pool.retire()
    if reason == "closing":
        connection.transport.close()
    pool.release(connection, 7.0, reusable=reason != "not reusable")
    assert (pool.active, pool.idle, connection.transport.is_closing()) == (0, [], True)


def test_a_retired_pool_keeps_nothing_until_it_is_revived():
    """Idle connections go at once, each other one with its lease."""
    pool = quiet()
    [waiting] = idle(pool, 1.0)
    running = leased(pool)
    pool.retire()
    assert (waiting.transport.is_closing(), running.transport.is_closing()) == (True, False)
    pool.revive()
    pool.release(running, 2.0, reusable=True)
    assert pool.idle == [running]


# -- the other side, and time ----------------------------------------------------------------------


def test_an_idle_connection_that_the_other_side_closes_is_forgotten():
    """It tells its pool itself."""
    pool = quiet()
    gone, other = idle(pool, 1.0, 2.0)
    gone.connection_lost(None)
    assert pool.idle == [other]


def test_a_leased_connection_is_nothing_to_forget():
    """Only its lease ends it."""
    pool = quiet()
    connection = leased(pool)
    connection.exchange = object()  # type: ignore[assignment]  # any exchange
    [other] = idle(pool, 1.0)
    pool.forget(connection)
    assert (pool.active, pool.idle) == (1, [other])


def test_the_sweep_closes_what_nobody_needed():
    """Exactly those whose time is up."""
    pool = quiet()
    old, due, young = idle(pool, 0.0, 1.0, 1.5)
    pool.sweep(1.0 + IDLE_TIMEOUT_S)
    assert pool.idle == [young]
    assert [each.transport.is_closing() for each in (old, due, young)] == [True, True, False]


def test_a_pool_can_be_told_from_its_repr():
    """For logs and for whoever looks at what is left over."""
    pool = quiet()
    idle(pool, 1.0)
    leased(pool)
    assert repr(pool) == "<Pool 10.0.0.1:9001 active=1 idle=1>"


# -- connects, on a real loop ----------------------------------------------------------------------


class Waiter:
    """Whoever asked for a connection, with what it was told."""

    def __init__(self) -> None:
        self.connections: list[UpstreamConnection] = []
        self.errors: list[GatewayError] = []

    def on_connected(self, connection: UpstreamConnection) -> None:
        self.connections.append(connection)

    def on_connect_failed(self, error: GatewayError) -> None:
        self.errors.append(error)


class Server(asyncio.Protocol):
    """Says nothing; knows which of its connections are open."""

    open: set[Server]
    port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open.discard(self)


@pytest.fixture
async def server() -> AsyncIterator[type[Server]]:
    """A listener of one test's own."""

    class Own(Server):
        open: set[Server] = set()  # noqa: RUF012  # one class for each test

    listening = await asyncio.get_running_loop().create_server(Own, "127.0.0.1", 0)
    Own.port = listening.sockets[0].getsockname()[1]
    yield Own
    listening.close()
    await until(lambda: not Own.open)


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 what a real loop does tells nobody
            await asyncio.sleep(0.001)


def live(port: int) -> Pool:
    return Pool("127.0.0.1", port, IDLE_TIMEOUT_S, asyncio.get_running_loop())


async def test_a_new_connection_is_leased_to_whoever_asked(server: type[Server]):
    """It counts as active before it is told, and it is open on both sides."""
    pool, waiter = live(server.port), Waiter()
    await pool.connect(waiter, 5.0)
    [connection] = waiter.connections
    assert (pool.active, waiter.errors, connection.pool) == (1, [], pool)
    await until(lambda: len(server.open) == 1)
    pool.release(connection, 0.0, reusable=False)
    await until(lambda: not server.open)
    assert pool.active == 0


async def test_nobody_listens():
    """The waiter is told why, and nothing counts as leased."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        pool, waiter = live(taken.getsockname()[1]), Waiter()
        await pool.connect(waiter, 5.0)
    [error] = waiter.errors
    assert isinstance(error, ConnectFailed)
    assert error.cause
    assert (pool.active, waiter.connections) == (0, [])


def wrapped(error: OSError) -> Exception:
    """As a library tells it."""
    told = ConnectionError("all attempts failed")
    told.__cause__ = error
    return told


@pytest.mark.parametrize(
    ("error", "ours", "cause"),
    [
        (OSError(errno.ECONNREFUSED, "Connection refused"), ConnectFailed, "[Errno 111] Connection refused"),
        (OSError(errno.EMFILE, "Too many open files"), Overloaded, "the gateway can open no connection: Too many open files"),
        (OSError(errno.EADDRNOTAVAIL, "no port"), Overloaded, "the gateway can open no connection: no port"),
        (wrapped(OSError(errno.ENFILE, "Too many")), Overloaded, "the gateway can open no connection: Too many"),
        (wrapped(OSError(errno.ECONNREFUSED, "refused")), ConnectFailed, "all attempts failed"),
        (OSError(), ConnectFailed, "OSError"),
    ],
)
def test_whose_fault_it_is_that_there_is_no_connection(error: Exception, ours: type[GatewayError], cause: str):
    """The service's, or our own: we have no more files, or no more ports."""
    told = connect_error(error)
    assert (type(told), told.cause) == (ours, cause)


class SlowLoop:
    """A loop whose connects are made, and then take their time to be told."""

    def __init__(self) -> None:
        self.real = asyncio.get_running_loop()
        self.made = asyncio.Event()

    def create_task(self, coroutine: Any) -> asyncio.Task[None]:
        return self.real.create_task(coroutine)

    async def create_connection(self, factory: Any, host: str, port: int) -> Any:
        await self.real.create_connection(factory, host, port)
        self.made.set()
        await self.real.create_future()


async def test_a_connect_that_takes_too_long_leaves_nothing_open(server: type[Server]):
    """Not even when the connection was made in the moment in which it was given up."""
    pool, waiter = live(server.port), Waiter()
    pool.loop = SlowLoop()  # type: ignore[assignment]  # the part of a loop that a pool needs
    await pool.connect(waiter, 0.05)
    [error] = waiter.errors
    assert isinstance(error, ConnectTimeout)
    assert error.cause == "no connection within 0.05 s"
    assert (pool.active, waiter.connections) == (0, [])
    await until(lambda: not server.open)


async def test_a_cancelled_connect_tells_nothing_and_leaves_nothing_open(server: type[Server]):
    """The exchange that wanted it is gone."""
    pool, waiter, loop = live(server.port), Waiter(), SlowLoop()
    pool.loop = loop  # type: ignore[assignment]  # the part of a loop that a pool needs
    task = pool.connect(waiter, 5.0)
    await loop.made.wait()
    await until(lambda: server.open)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not server.open)
    assert (waiter.connections, waiter.errors, pool.active) == ([], [], 0)


async def test_a_connect_in_flight_is_held(server: type[Server]):
    """A loop holds tasks weakly; the pool lets go of each when it is done."""
    pool, waiter = live(server.port), Waiter()
    task = pool.connect(waiter, 5.0)
    assert pool._connecting == {task}
    await task
    await until(lambda: not pool._connecting)
    waiter.connections[0].close()


async def test_idle_connections_make_room_for_a_new_one(server: type[Server]):
    """Which somebody wants who does not trust them; there are never more than `max_connections`."""
    pool, waiter = live(server.port), Waiter()
    pool.max_connections = 2
    for _ in range(2):
        await pool.connect(waiter, 5.0)
    for connection in waiter.connections:
        connection.keep_alive = True
        pool.release(connection, 1.0, reusable=True)
    first, second = waiter.connections
    await pool.connect(waiter, 5.0)
    assert (pool.idle, pool.active, first.is_closing(), second.is_closing()) == ([second], 1, True, False)
    for connection in waiter.connections:
        connection.close()

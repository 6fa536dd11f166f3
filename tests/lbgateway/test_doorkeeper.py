"""Who accepts: everybody, as long as there are files; who comes later waits, and nobody is closed without a word."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop
from structlog.testing import capture_logs

from lbgateway.doorkeeper import AGAIN_S, Doorkeeper


class Door:
    """A listener, those who stand before it, and those who have been taken in."""

    def __init__(self, clients: int, spare: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.clients = [socket.socket() for _ in range(clients)]
        self.taken: list[socket.socket] = []
        self.keeper = Doorkeeper(self.listener, self.take, spare=spare)

    async def take(self, connection: socket.socket) -> None:
        self.taken.append(connection)

    async def knock(self) -> None:
        """All of them, and time enough for those who can be accepted."""
        for client in self.clients:
            client.setblocking(True)
            client.connect(self.listener.getsockname())
            client.setblocking(False)
        await asyncio.sleep(2 * AGAIN_S)

    async def until(self, taken: int) -> None:
        async with asyncio.timeout(5):
            while len(self.taken) < taken:  # noqa: ASYNC110 the kernel hands them over
                await asyncio.sleep(0.01)

    def waiting(self) -> int:
        """Clients that have not been closed."""
        return sum(still_open(client) for client in self.clients)

    def close(self) -> None:
        self.keeper.close()
        for each in (self.listener, *self.clients, *self.taken):
            each.close()


def still_open(client: socket.socket) -> bool:
    try:
        return client.recv(1) != b""
    except BlockingIOError:
        return True


def files_left(count: int) -> None:
    """Let this process open so many more files, and no more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + count, hard))


@asynccontextmanager
async def door(clients: int, *, spare: int = 0) -> AsyncIterator[Door]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    built = Door(clients, spare)
    try:
        yield built
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        built.close()


def on_both_loops(test: Callable[[], object]) -> Callable[[Callable[[], asyncio.AbstractEventLoop]], None]:
    """Run it on asyncio's own loop, and on the one that the gateway uses."""

    @pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
    def run(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(test())  # type: ignore[arg-type]  # an async function

    run.__doc__ = test.__doc__
    return run


@on_both_loops
async def test_it_lets_in_until_it_is_closed() -> None:
    """Those who came before are let in."""
    async with door(3) as built:
        await built.knock()
        built.keeper.close()
        await built.keeper.wait_closed()
        with socket.create_connection(built.listener.getsockname()):
            await asyncio.sleep(AGAIN_S)
        assert len(built.taken) == 3


@on_both_loops
async def test_who_finds_no_file_waits() -> None:
    """Nobody is closed; whoever waits is taken in, in the order in which they came, when there is room; both is told, once."""
    async with door(5) as built:
        files_left(3)
        with capture_logs() as logs:
            await built.knock()
            assert (len(built.taken), built.waiting()) == (3, 5)
            built.taken[0].close()
            await built.until(4)
            assert built.taken[3].getpeername() == built.clients[3].getsockname()
            files_left(9)
            await built.until(5)
        assert built.waiting() == 4
        assert [(each["log_level"], each["event"]) for each in logs] == [
            ("warning", "no more connections are accepted for now, who comes waits"),
            ("info", "connections are accepted again"),
        ]


@on_both_loops
async def test_the_last_files_are_for_others() -> None:
    """For the ways to instances of those who have been accepted; operators may have them, too."""
    async with door(3, spare=2) as built:
        files_left(4)
        await built.knock()
        assert (len(built.taken), built.waiting()) == (2, 3)
        os.close(os.dup(0))
        operators = Doorkeeper(built.listener, built.take)
        await built.until(3)
        operators.close()


@on_both_loops
async def test_who_is_gone_already_is_no_bug() -> None:
    """Anything else is told to the loop."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context["exception"]))
    errors = [ConnectionResetError("gone"), ValueError("a bug")]

    async def fail(connection: socket.socket) -> None:
        connection.close()
        raise errors[0] if not told_all else errors[1]

    async with door(2) as built:
        built.keeper.close()
        for told_all in (False, True):
            keeper = Doorkeeper(built.listener, fail)
            built.clients[told_all].connect(built.listener.getsockname())
            await asyncio.sleep(AGAIN_S)
            keeper.close()
    assert told == [errors[1]]


async def test_nobody_is_let_in_after_the_end() -> None:
    """Not even by a look for files that was due later."""
    async with door(1) as built:
        files_left(0)
        await built.knock()
        built.keeper.close()
        files_left(5)
        await asyncio.sleep(2 * AGAIN_S)
        assert built.taken == []

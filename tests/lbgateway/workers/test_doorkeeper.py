"""Whose turn it is at a port that several workers share."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lbgateway.doorkeeper import AGAIN_S
from lbgateway.workers.board import Board
from lbgateway.workers.doorkeeper import IN_VAIN, FairDoorkeeper, Turns


def turns_of(board: Board, count: int) -> list[tuple[Turns, list[int]]]:
    """For each worker its turns and its connections, all at the door."""
    found = []
    for worker in range(count):
        connections: list[int] = []
        turns = Turns(board, worker, connections)
        turns.open()
        found.append((turns, connections))
    return found


def test_connections_are_dealt_out_evenly():
    """There is always one whose turn it is, and in the end each has as many."""
    workers = turns_of(Board.create(3), 3)
    for number in range(30):
        willing = [each for each in workers if each[0].mine()]
        assert willing
        turns, connections = willing[0]
        connections.append(number)
        turns.accepted(waited=False)
    assert [len(connections) for _, connections in workers] == [10, 10, 10]


def test_who_has_fewer_is_next():
    """Whatever it has accepted before: what counts is what there is."""
    (one, ones), (other, others) = turns_of(Board.create(2), 2)
    ones += [1, 2]
    others += [1]
    for turns in (one, other):
        turns.accepted(waited=False)
    assert (one.mine(), other.mine()) == (False, True)
    ones.clear()
    one.write()
    assert (one.mine(), other.mine()) == (True, False)


def test_a_newcomer_does_not_get_everything():
    """It begins as if it had accepted as many as the others."""
    board = Board.create(2)
    (one, _), *_ = turns_of(board, 1)
    for _ in range(100):
        one.accepted(waited=False)
    newcomer = Turns(board, 1, [])
    newcomer.open()
    assert newcomer.mine()
    newcomer.accepted(waited=False)
    assert one.mine()


def test_who_hangs_is_given_up_until_it_does_something():
    """After ten connections that it did not take nobody waits for it; then it is as before."""
    (one, ones), (hanging, _) = turns_of(Board.create(2), 2)
    for number in range(IN_VAIN):
        ones.append(number)
        one.write()
        assert not one.mine()
        one.accepted(waited=True)
    assert one.mine()
    hanging.accepted(waited=False)
    assert not one.mine()


def test_who_does_not_serve_is_not_waited_for():
    """Its row says so, from the start and after its end."""
    board = Board.create(2)
    (one, ones), *_ = turns_of(board, 1)
    ones.append(1)
    one.write()
    assert one.mine()


class Door:
    """Two doorkeepers of one listening socket, and who of them has taken whom in."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.again = listener.dup()
        self.taken: list[int] = []
        self.came = asyncio.Condition()
        self.held: list[socket.socket] = []
        self.workers = turns_of(Board.create(2), 2)
        self.keepers = [
            FairDoorkeeper(turns, self.again if worker else listener, lambda connection, worker=worker: self.take(worker, connection))
            for worker, (turns, _) in enumerate(self.workers)
        ]

    async def take(self, worker: int, connection: socket.socket) -> None:
        self.held.append(connection)
        self.workers[worker][1].append(connection.fileno())
        self.workers[worker][0].write()
        async with self.came:
            self.taken.append(worker)
            self.came.notify_all()

    async def comes(self) -> None:
        count = len(self.taken)
        self.held.append(socket.create_connection(self.listener.getsockname()))
        async with asyncio.timeout(5), self.came:
            await self.came.wait_for(lambda: len(self.taken) > count)


@asynccontextmanager
async def open_door() -> AsyncIterator[Door]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        door = Door(listener)
        yield door
        for keeper in door.keepers:
            keeper.close()
        for each in (*door.held, door.again):
            each.close()


async def test_at_a_real_port_each_takes_every_second_one():
    """The kernel wakes both; who is not next leaves it to the other."""
    async with open_door() as door:
        for _ in range(10):
            await door.comes()
        assert sorted(door.taken) == [0] * 5 + [1] * 5


async def test_at_a_real_port_nobody_waits_long_for_one_that_hangs():
    """The other takes all, also those that were not its turn."""
    async with open_door() as door:
        door.keepers[1].close()
        for _ in range(8):
            await door.comes()
        assert door.taken == [0] * 8


async def test_who_finds_no_file_waits_for_both():
    """Neither of the workers closes it, and the first that has room takes it in."""
    async with open_door() as door:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        client = socket.socket()
        free = os.dup(0)
        os.close(free)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
            client.connect(door.listener.getsockname())
            client.setblocking(False)
            await asyncio.sleep(3 * AGAIN_S)
            assert door.taken == []
            with pytest.raises(BlockingIOError):
                client.recv(1)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        door.held.append(client)
        async with asyncio.timeout(5), door.came:
            await door.came.wait_for(lambda: len(door.taken) == 1)

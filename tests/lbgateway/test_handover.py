"""Both halves of a takeover in one process: who offers, who asks, and what happens when one of them goes."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from lbgateway.handover import Handover, Successor, meet_at
from lbgateway.listeners import bind
from lbgateway.takeover import Predecessor, TakeoverFailed


class Serving:
    """A gateway as far as a handover sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.listener = bind("127.0.0.1", 0)
        self.address: tuple[str, int] = self.listener.getsockname()
        self.path = folder / f"127.0.0.1:{self.address[1]}.sock"
        self.retired: list[Successor] = []
        self.admin: list[socket.socket] = []
        self.handover = Handover([folder], lambda: [self.listener], self.retire, lambda: self.admin)

    def retire(self, successor: Successor) -> None:
        self.retired.append(successor)
        self.handover.close()

    async def find(self) -> Predecessor | None:
        """As a successor would: it waits, and has no loop yet."""
        return await asyncio.to_thread(Predecessor.find, self.address, [self.folder])


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    folder = Path(tempfile.mkdtemp(prefix="lbgateway-handover-"))  # short: it is part of addresses
    it = Serving(folder)
    it.handover.open()
    yield it
    it.handover.close()
    it.listener.close()
    await asyncio.sleep(0)
    shutil.rmtree(folder)


async def test_a_successor_gets_the_socket_and_the_gateway_leaves_when_it_is_ready(serving: Serving):
    """Not before; and afterwards there is nothing to be found."""
    predecessor = await serving.find()
    assert predecessor is not None
    assert (predecessor.pid, serving.retired) == (os.getpid(), [])
    [socket_] = predecessor.sockets
    assert socket_.getsockname() == serving.address
    assert not socket_.get_inheritable()
    with capture_logs() as logs:
        await predecessor.retire("lbgateway-1")
    assert serving.retired == [Successor(os.getpid(), "lbgateway-1")]
    assert [event["log_level"] for event in logs] == ["info"]
    assert not serving.path.exists()
    assert await serving.find() is None
    predecessor.close()


async def test_the_port_of_the_gateways_own_paths_goes_along(serving: Serving):
    """Apart from the public one: a successor may have another address for it."""
    with bind("127.0.0.1", 0) as admin:
        serving.admin = [admin]
        predecessor = await serving.find()
        assert predecessor is not None
        assert [each.getsockname() for each in predecessor.sockets] == [serving.address]
        assert [each.getsockname() for each in predecessor.admin] == [admin.getsockname()]
        predecessor.close()
        assert [each.fileno() for each in predecessor.admin] == [-1]


async def test_a_second_successor_is_refused_while_the_first_one_starts(serving: Serving):
    """Two of them would serve side by side; once the first has given up, the way is free."""
    first = await serving.find()
    assert first is not None
    with pytest.raises(TakeoverFailed, match=f"hands nothing over: process {os.getpid()} is about to take over already"):
        await serving.find()
    with capture_logs() as logs:
        first.close()
        await asyncio.sleep(0.05)
    assert [event["event"] for event in logs] == ["the successor ended before it was ready, this process serves on"]
    third = await serving.find()
    assert third is not None
    third.close()
    assert serving.retired == []


async def test_a_successor_that_fails_in_our_place_is_replaced_by_us(serving: Serving):
    """It had begun to offer the socket itself, and was killed before it could say so."""
    predecessor = await serving.find()
    assert predecessor is not None
    meet_at(serving.folder, serving.path.name).close()
    predecessor.close()
    await asyncio.sleep(0.05)
    again = await serving.find()
    assert again is not None
    again.close()


async def test_what_a_successor_has_put_there_is_not_taken_away(serving: Serving):
    """Whoever leaves removes what is its own, and no more."""
    with meet_at(serving.folder, serving.path.name):
        serving.handover.close()
        assert serving.path.exists()


async def test_who_asks_for_nothing_gets_nothing(serving: Serving):
    """Garbage, silence, and ends at any point are nobody's business."""
    for said in (b"", b"hello", b'{"want": "money"}'):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
            stranger.setblocking(False)
            stranger.connect(str(serving.path))
            if said:
                stranger.send(said)
                async with asyncio.timeout(5):
                    assert await asyncio.get_running_loop().sock_recv(stranger, 100) == b""
    assert serving.retired == []


async def test_only_the_owner_can_come_near(serving: Serving):
    """By the rights of the file."""
    assert serving.path.stat().st_mode & 0o777 == 0o600
    assert repr(serving.handover) == f"<Handover {serving.path} successor=None>"


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder that everybody can write to."""
    tmp_path.chmod(0o777)
    return tmp_path


async def test_a_place_that_is_not_ours_alone_is_not_used(shared: Path):
    """It is said, and the gateway serves without."""
    with bind("127.0.0.1", 0) as listener, capture_logs() as logs:
        handover = Handover([shared, shared / "absent" / "folder"], lambda: [listener], list)  # type: ignore[arg-type]  # nobody retires
        handover.open()
        handover.close()
    [event] = logs
    assert event["log_level"] == "warning"
    assert event["reason"] == f"{shared} is not a folder that this user alone can write to"

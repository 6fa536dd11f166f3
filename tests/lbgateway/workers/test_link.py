"""The socket pair between two processes of a gateway, with both ends in this one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from lbgateway.workers.frames import Frame
from lbgateway.workers.link import Link


class End:
    """One end, and what it has heard."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[Frame] = asyncio.Queue()
        self.ended = asyncio.Event()
        self.link = Link(self.hear, self.ended.set)

    def hear(self, frame: Frame) -> None:
        if frame.facts["kind"] == "bug":
            raise ZeroDivisionError
        self.frames.put_nowait(frame)

    async def next(self) -> Any:
        return (await asyncio.wait_for(self.frames.get(), 5)).facts


@pytest.fixture
async def ends() -> AsyncIterator[tuple[End, End]]:
    one, other = End(), End()
    for end, pair in zip((one, other), socket.socketpair(), strict=True):
        await end.link.over(pair)
    yield one, other
    for end in (one, other):
        end.link.close()


async def test_what_one_sends_the_other_hears(ends):
    """In order, both ways."""
    one, other = ends
    one.link.send("first", b"payload", number=1)
    one.link.tell("second")
    other.link.send("back")

    first = await asyncio.wait_for(other.frames.get(), 5)
    assert (first.facts, first.payload) == ({"kind": "first", "number": 1}, b"payload")
    assert await other.next() == {"kind": "second"}
    assert await one.next() == {"kind": "back"}


async def test_the_end_of_one_is_the_end_of_the_other(ends):
    """Each hears it once, and what is sent afterwards goes nowhere."""
    one, other = ends
    one.link.close()
    await asyncio.wait_for(other.ended.wait(), 5)

    assert (other.link.ended, repr(other.link)) == (True, "<Link ended>")
    other.link.send("late")


async def test_a_bug_over_one_frame_costs_that_frame(ends):
    """It is logged, and the next one is heard."""
    one, other = ends
    with capture_logs() as logs:
        one.link.send("bug")
        one.link.send("next")
        assert await other.next() == {"kind": "next"}

    assert [(each["event"], each["kind"]) for each in logs] == [("a bug in what processes of the gateway tell each other", "bug")]


async def test_nonsense_ends_a_link():
    """Nothing that follows it could be understood."""
    end, (ours, theirs) = End(), socket.socketpair()
    await end.link.over(ours)
    with theirs, capture_logs():
        theirs.sendall(b"no frame at all" * 10)
        await asyncio.wait_for(end.ended.wait(), 5)


async def test_a_link_knows_whether_the_other_end_reads():
    """What can wait waits until it does again."""
    end, (ours, theirs) = End(), socket.socketpair()
    await end.link.over(ours)
    assert end.link.keeps_up
    while end.link.keeps_up:
        end.link.send("more", bytes(10_000))
    theirs.setblocking(False)
    while not end.link.keeps_up:
        await asyncio.get_running_loop().sock_recv(theirs, 1 << 20)

    end.link.close()
    theirs.close()


async def test_before_it_speaks_nothing_is_sent():
    """Whoever begins hears everything by itself then."""
    end = End()
    end.link.send("early")
    other, (ours, theirs) = End(), socket.socketpair()
    await end.link.over(ours)
    await other.link.over(theirs)
    end.link.send("late")

    assert await other.next() == {"kind": "late"}
    for each in (end, other):
        each.link.close()

"""A waiting line that several workers have together: two of them, over one board."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from lbgateway.workers.board import SLOTS, Board
from lbgateway.workers.shared_endpoint import Places
from lbgateway.workers.shared_line import SharedLine
from tests.lbgateway.dataplane.test_waiting_line import Waiter, joined
from tests.support.worker_gateways import until

SLOT = 5


class Lines:
    """The line of each worker, and how often each has looked for room."""

    def __init__(self, slot: int = SLOT) -> None:
        board, self.looked = Board.create(2), [0, 0]
        self.places = [Places(board, worker) for worker in range(2)]
        self.lines = [
            SharedLine(places, "orders", Random(1), lambda _now_s, worker=worker: self.look(worker))
            for worker, places in enumerate(self.places)
        ]
        for places in self.places:
            places.slots["orders"] = slot

    def look(self, worker: int) -> None:
        self.looked[worker] += 1

    def join(self, worker: int, waiter: Waiter | None = None, **more: Any) -> Any:
        return joined(self.lines[worker], waiter or Waiter(), **more)


async def test_the_places_are_those_of_all():
    """Four who wait are four, wherever they do; who leaves makes room for somebody in the other worker."""
    lines, first = Lines(), Waiter()
    lines.join(0, first, places=4)
    for worker in (0, 0, 1):
        assert lines.join(worker, places=4) is None
    assert lines.join(1, places=4) is not None
    assert lines.join(0, places=4) is not None
    lines.lines[0].leave(first)  # type: ignore[arg-type]  # as in test_waiting_line
    assert lines.join(1, places=4) is None


async def test_who_waits_here_waits_for_a_part_of_what_leaves():
    """Three wait in the other worker: of four who leave in a second one comes from here, and the answer says so."""
    lines = Lines()
    for _ in range(3):
        lines.join(1)
    assert lines.join(0, Waiter(until_s=2.5), per_second=4.0) is None
    assert lines.join(0, Waiter(until_s=1.5), per_second=4.0) is not None


async def test_a_line_looks_for_room_for_as_long_as_somebody_waits():
    """Nobody tells it of room that the other worker has made."""
    lines, waiter = Lines(), Waiter()
    lines.join(0, waiter)
    await until(lambda: lines.looked[0] >= 3)
    lines.lines[0].leave(waiter)  # type: ignore[arg-type]  # as above
    await asyncio.sleep(0.01)
    before = lines.looked[0]
    await asyncio.sleep(0.02)
    assert lines.looked == [before, 0]


@pytest.mark.parametrize(("here", "elsewhere", "share"), [(1, 0, 1.0), (5, 5, 0.5), (1, 9, 0.2)])
async def test_room_is_left_to_others_as_often_as_they_have_more_who_wait(here, elsewhere, share):
    """By lot; where nobody waits elsewhere, never."""
    lines = Lines()
    for worker, count in ((0, here), (1, elsewhere)):
        for _ in range(count):
            lines.join(worker, places=99)
    sent = 0
    for _ in range(1000):
        waiting = dict(lines.lines[0].waiting)
        lines.lines[0].advance(iter(("a", "")).__next__, 2.0)  # type: ignore[arg-type]  # letters for endpoints
        sent += len(waiting) - len(lines.lines[0])
        lines.lines[0].waiting.clear()
        lines.lines[0].waiting.update(waiting)
    assert sent / 1000 == pytest.approx(share, abs=0.06)


async def test_without_a_place_on_the_board_each_counts_its_own():
    """The registry has not told of the service yet, or there are too many."""
    lines = Lines(SLOTS + 7)
    assert lines.join(0, places=1) is None
    assert lines.join(1, places=1) is None
    assert lines.join(1, places=1) is not None

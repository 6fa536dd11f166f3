"""The ring and those who follow it."""

from __future__ import annotations

import asyncio

import pytest

from lbgateway.telemetry.events import Events, Reader


def events_with(count: int, keep: int = 5) -> Events:
    events = Events(keep=keep, wall=lambda: 1.0)
    for number in range(1, count + 1):
        events.tell("registry", number=number)
    return events


async def got(reader: Reader) -> tuple[list[int], int] | None:
    batch = await reader.next(0.0)
    return None if batch is None else ([event.number for event in batch.events], batch.missed)


@pytest.mark.parametrize(
    ("after", "replay", "numbers", "missed"),
    [
        (None, 0, [], 0),
        (None, 2, [7, 8], 0),
        (None, 99, [4, 5, 6, 7, 8], 0),
        ("3e8-6", 0, [7, 8], 0),
        ("3e8-8", 99, [], 0),
        ("3e8-99", 99, [], 0),
        ("3e8-1", 0, [4, 5, 6, 7, 8], 2),
        ("3e7-6", 1, [8], 0),
        ("3e8-x", 1, [8], 0),
        ("nonsense", 1, [8], 0),
    ],
)
async def test_a_reader_begins_where_it_left_off(after, replay, numbers, missed):
    """Who missed some is told how many; ids of another process mean nothing here."""
    assert await got(events_with(8).read(after, replay=replay)) == (numbers, missed)


async def test_readers_have_their_own_pace():
    """One that is slow loses the oldest, and costs the others nothing."""
    events = events_with(0)
    slow, quick = events.read(None, replay=0), events.read(None, replay=0)
    for number in range(7):
        events.tell("registry", number=number)
        assert await got(quick) == ([number + 1], 0)
    assert await got(slow) == ([3, 4, 5, 6, 7], 2)


async def test_a_reader_waits_for_what_comes():
    """And is awake at once."""
    events = events_with(0)
    reader = events.read(None, replay=0)
    waiting = asyncio.create_task(reader.next(60.0))
    await asyncio.sleep(0)
    events.tell("breaker", state="open")
    batch = await waiting
    assert batch is not None
    assert [(event.kind, event.facts) for event in batch.events] == [("breaker", {"state": "open"})]
    assert await got(reader) == ([], 0)


async def test_the_end_comes_after_the_last_event():
    """Whoever waits is let go, and what had been told before is not lost."""
    events = events_with(0)
    early, late = events.read(None, replay=0), events.read(None, replay=0)
    waiting = asyncio.create_task(early.next(60.0))
    await asyncio.sleep(0)
    events.close()
    assert await waiting is None
    events.tell("registry")
    assert (await got(late), await got(late)) == (([1], 0), None)


async def test_who_left_is_not_woken():
    """A closed reader is nobody's."""
    events = events_with(0)
    reader = events.read(None, replay=0)
    reader.close()
    reader.close()
    assert events.readers == set()

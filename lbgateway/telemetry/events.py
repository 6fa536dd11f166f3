"""What has happened of late, for those who watch: a bounded ring that any number of readers follow at their own pace.

A reader holds nothing but its place in the ring. Who is too slow loses the oldest, and is told how many;
who comes back says the last event that it has seen, and gets those since.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

KEEP = 1000
"""So many events are kept. A deploy of a large service is a few hundred."""


class Event(NamedTuple):
    """`number` grows by one with each; `at_s` is wall-clock time; `facts` can be written as JSON."""

    number: int
    at_s: float
    kind: str
    facts: dict[str, Any]


class Batch(NamedTuple):
    """What a reader gets: events in their order, and how many before them it has missed."""

    events: list[Event]
    missed: int


class Events:
    """The ring. Telling costs an append, whoever listens.

    `boot` tells the numbers of one process from those of the next: ``<boot>-<number>`` is an event's id.
    """

    def __init__(self, *, keep: int = KEEP, wall: Callable[[], float] = time.time) -> None:
        self.boot = f"{int(wall() * 1000):x}"
        self.readers: set[Reader] = set()
        self.closed = False
        self._wall = wall
        self._ring: deque[Event] = deque(maxlen=keep)
        self._last = 0

    def __repr__(self) -> str:
        return f"<Events {len(self._ring)} of {self._last} readers={len(self.readers)}>"

    def tell(self, kind: str, /, **facts: Any) -> None:
        """Add one, and wake whoever waits for it."""
        self._last += 1
        self._ring.append(Event(self._last, self._wall(), kind, facts))
        for reader in self.readers:
            reader.woken.set()

    def close(self) -> None:
        """Nothing more will be told: readers come to their end."""
        self.closed = True
        for reader in self.readers:
            reader.woken.set()

    def read(self, after: str | None, *, replay: int) -> Reader:
        """Follow from behind the event with the id `after`; without one, or with one of another process, from `replay` events ago."""
        boot, _, number = (after or "").rpartition("-")
        if boot == self.boot and number.isascii() and number.isdigit():
            return Reader(self, min(int(number[:18]), self._last))
        return Reader(self, max(self._last - min(replay, len(self._ring)), 0))

    def since(self, number: int) -> Batch:
        """All that are kept of those after `number`."""
        kept = min(self._last - number, len(self._ring))
        return Batch(list(islice(self._ring, len(self._ring) - kept, None)), self._last - number - kept)

    def id_of(self, event: Event) -> str:
        return f"{self.boot}-{event.number}"


class Reader:
    """One who follows. To be closed, or the ring goes on waking it."""

    def __init__(self, events: Events, place: int) -> None:
        self.woken = asyncio.Event()
        self._events = events
        self._place = place
        events.readers.add(self)

    async def next(self, within_s: float) -> Batch | None:
        """What is new, if need be after a wait; an empty batch if nothing has come `within_s` seconds, None at the end."""
        batch = self._take()
        if not batch.events and not self._events.closed:
            try:
                await asyncio.wait_for(self.woken.wait(), within_s)
            except TimeoutError:
                return batch
            batch = self._take()
        return batch if batch.events else None

    def close(self) -> None:
        self._events.readers.discard(self)

    def _take(self) -> Batch:
        self.woken.clear()
        batch = self._events.since(self._place)
        if batch.events:
            self._place = batch.events[-1].number
        return batch

"""How many blocking reads an agent still has room for.

An agent takes a limited number of connections from one address (200 unless configured otherwise), and
counts a blocked read that its client has given up until the read's own wait is over (measured on
1.8.7). So whoever restarts its reads needs twice their number, and an account of open sockets says
less than the agent knows. This one counts as the agent does: a read that was answered gives its slot
back, one that was cancelled or cut keeps it for as long as it would have waited.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

SOCKETS: Final = 90
"""Connections to one agent, of all kinds: a restart may need twice as many, and others share its 200."""
PLAIN: Final = 8
"""Those of them that are kept for reads that do not block."""
LEAST: Final = 2
"""Slots that a squeezed budget still has: enough for a sweep."""


class SlotBudget:
    """The slots for blocking reads at one agent. `clock` is monotonic, in seconds.

    Every `take` is followed by exactly one of `give_back` and `linger`.
    """

    def __init__(self, slots: int = SOCKETS - PLAIN, *, clock: Callable[[], float]) -> None:
        # for life
        self.slots = slots
        self._clock = clock
        # as the agent counts
        self._active = 0
        self._lingering: list[float] = []
        """A heap of the moments at which abandoned reads end."""
        self._squeezed = slots
        self._squeezed_until_s = float("-inf")
        # who waits
        self._waiters: deque[asyncio.Future[None]] = deque()

    def __repr__(self) -> str:
        return f"<SlotBudget {self.in_use()} of {self.slots}>"

    def now_s(self) -> float:
        return self._clock()

    def in_use(self) -> int:
        """Slots taken, those included that only the agent still counts."""
        return self._active + self.lingering()

    def lingering(self) -> int:
        """Slots of reads that were given up, but that the agent still holds."""
        while self._lingering and self._lingering[0] <= self._clock():
            heapq.heappop(self._lingering)
        return len(self._lingering)

    def room(self) -> int:
        """How many blocking reads of ours should be under way at a time, as things stand."""
        most = self._squeezed if self._clock() < self._squeezed_until_s else self.slots
        return max(0, min(most, self.slots - self.lingering()))

    async def take(self) -> None:
        """Take a slot, or wait until there is one."""
        while self.in_use() >= self.slots:
            await self._wait()
        self._active += 1

    def give_back(self) -> None:
        """The read was answered, or never reached the agent."""
        self._active -= 1
        self._wake()

    def linger(self, until_s: float) -> None:
        """The read was given up or cut: the agent may hold it until its wait is over."""
        self._active -= 1
        heapq.heappush(self._lingering, until_s)
        if not self._active:
            self._squeezed_until_s = float("-inf")  # all were cut: the agent went, it was not full

    def clear(self) -> None:
        """Nothing listens any more: an agent that has ended holds nothing, either."""
        self._lingering.clear()
        self._squeezed_until_s = float("-inf")
        self._wake()

    def squeeze(self, until_s: float) -> None:
        """The agent cut a read while others go on: others have the rest of its connections. Until then `room` is what there is."""
        if self._active:
            self._squeezed = max(LEAST, min(self.room(), self._active))
            self._squeezed_until_s = until_s

    async def _wait(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self._next_end_s()):
                await waiter
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._wake()  # it was called and cannot come: the next one
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _next_end_s(self) -> float | None:
        return max(0.001, self._lingering[0] - self._clock()) if self._lingering else None

    def _wake(self) -> None:
        if self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)


class Budgets:
    """One account per agent, whoever asks it and whenever: a second source does not get slots of its own."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_agent: dict[str, SlotBudget] = {}

    def of(self, url: str) -> SlotBudget:
        if url not in self._by_agent:
            self._by_agent[url] = SlotBudget(clock=self._clock)
        return self._by_agent[url]

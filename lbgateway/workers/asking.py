"""A question to all workers at once, whose answers also say that everything before it has been heard."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ANSWER_S = 0.5
"""So long a worker is waited for; one that hangs must not take the view of the others along."""


class Asking:
    """`ask` sends a numbered question, and returns who will answer. `answered` is to be called with each answer.

    There is never more than one question under way: who asks meanwhile is answered by the next one, all together.
    """

    def __init__(self, ask: Callable[[int], Iterable[int]]) -> None:
        self._ask = ask
        self._numbers = count()
        self._number = -1
        self._awaited: set[int] = set()
        self._all_there = asyncio.Event()
        self._running: asyncio.Future[None] | None = None
        self._next: asyncio.Future[None] | None = None

    async def all(self) -> None:
        """Ask, and wait for all answers, for at most `ANSWER_S` (twice that, if somebody has asked just before)."""
        if self._running is None:
            await self._begin()
            return
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._after(self._running))
        await asyncio.shield(self._next)

    def answered(self, number: int | None, who: int) -> None:
        if number == self._number:
            self._awaited.discard(who)
            if not self._awaited:
                self._all_there.set()

    def left(self, who: int) -> None:
        """It will not answer any more."""
        self.answered(self._number, who)

    async def _after(self, running: asyncio.Future[None]) -> None:
        await asyncio.wait([running])
        self._next = None
        await self._begin()

    async def _begin(self) -> None:
        self._running = asyncio.get_running_loop().create_task(self._once())
        await asyncio.shield(self._running)

    async def _once(self) -> None:
        self._number = next(self._numbers)
        self._all_there.clear()
        self._awaited = set(self._ask(self._number))
        try:
            if self._awaited:
                async with asyncio.timeout(ANSWER_S):
                    await self._all_there.wait()
        except TimeoutError:
            pass
        finally:
            self._running = None

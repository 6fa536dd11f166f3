"""Blocked queries: who waits for which scope to move past which index."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from discovery.embedded.catalog import Scope


class Watches:
    """Wakes blocked queries when what they wait for moves on; `index_of` tells how far a scope is.

    An index that is ahead of the registry is waited for like any other, to the end: a server cannot
    know whether it is nonsense or lies in the future. That is what Consul does, and what a client has
    to be careful about.
    """

    def __init__(self, index_of: Callable[[Scope], int]) -> None:
        self.index_of = index_of
        self._blocked: dict[Scope, dict[asyncio.Future[None], int]] = {}

    def __len__(self) -> int:
        """How many queries are blocked now."""
        return sum(map(len, self._blocked.values()))

    async def past(self, scope: Scope, index: int, timeout_s: float) -> None:
        """Return as soon as `scope` has moved past `index`, after `timeout_s` at the latest."""
        if self.index_of(scope) > index:
            return
        moved = asyncio.get_running_loop().create_future()
        self._blocked.setdefault(scope, {})[moved] = index
        try:
            async with asyncio.timeout(timeout_s):
                await moved
        except TimeoutError:
            pass  # nothing happened, and that is an answer, too
        finally:
            self._forget(scope, moved)

    def wake(self) -> None:
        """Release those whose scope has moved on. To be called after each change."""
        for scope, blocked in self._blocked.items():
            current = self.index_of(scope)
            for moved, index in blocked.items():
                if current > index and not moved.done():
                    moved.set_result(None)

    def _forget(self, scope: Scope, moved: asyncio.Future[None]) -> None:
        blocked = self._blocked[scope]
        del blocked[moved]
        if not blocked:
            del self._blocked[scope]

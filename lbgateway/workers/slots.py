"""Which number on the board belongs to whom. Pure; the parent gives them out, so that all workers mean the same."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from lbgateway.workers.board import SLOTS

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

REST_S = 60.0
"""So long nobody gets a slot that has been given back: a worker that has not heard of it may still write there."""


class Slots:
    """`is_blank` tells whether all workers have written 0 there: requests may outlive the instance's registration."""

    def __init__(self, is_blank: Callable[[int], bool]) -> None:
        self._is_blank = is_blank
        self._taken: dict[Hashable, int] = {}
        self._owners: dict[int, Hashable] = {}
        self._resting: deque[tuple[float, int]] = deque()
        self._next = 0

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, owner: Hashable, now_s: float) -> int:
        """The owner's slot, from now on if it had none; one of `SLOTS` and more is not on the board."""
        slot = self._taken.get(owner)
        if slot is None:
            slot = self._taken[owner] = self._free(now_s)
            self._owners[slot] = owner
        return slot

    def owner(self, slot: int) -> Hashable | None:
        """Whose it is, or was last."""
        return self._owners.get(slot)

    def give_back(self, owner: Hashable, now_s: float) -> None:
        """The owner is gone; unknown ones are ignored."""
        slot = self._taken.pop(owner, None)
        if slot is not None:
            self._resting.append((now_s, slot))

    def _free(self, now_s: float) -> int:
        for _ in range(len(self._resting)):
            since_s, slot = self._resting[0]
            if now_s - since_s < REST_S:
                break
            self._resting.popleft()
            if slot >= SLOTS or self._is_blank(slot):
                return slot
            self._resting.append((now_s, slot))
        self._next += 1
        return self._next - 1

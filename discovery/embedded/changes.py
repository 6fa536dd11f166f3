"""The counter that numbers every change, as the index of Consul's log does. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Changes:
    """One for the whole registry, so that any two changes have an order.

    `first_index` >= 1. A registry that forgets everything at a restart should start at a number that
    is higher than any it gave out before, such as the wall clock in milliseconds; one that starts low
    leaves its watchers waiting for an index that lies in the past.
    """

    __slots__ = ("index", "on_change")

    def __init__(self, first_index: int) -> None:
        self.index = first_index
        self.on_change: Callable[[], None] = _nobody

    def end(self, number: int) -> None:
        """Close the change with this number, which is one higher than the last, and tell who listens."""
        self.index = number
        self.on_change()


def _nobody() -> None:
    """Nobody listens yet."""

"""An event loop whose clock jumps: hours of back-off run in milliseconds, in the order they would really have."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    """Where the real one would sleep, this one moves the clock."""

    jumped_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everything waits, and nothing will ever happen")
        if not ready and timeout is not None and timeout > 0:
            self.jumped_s += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Starts at 1000 s, so that nobody mistakes 0 for "never"."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return 1000.0 + self._jumping.jumped_s

    def spend(self, seconds: float) -> None:
        """What runs now takes so long."""
        self._jumping.jumped_s += seconds


def run_virtual(story: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time. No threads and no network inside."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(story)

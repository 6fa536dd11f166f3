"""A server that is told to stop closes its port at once; whoever is registered must leave the registry first."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Postponement:
    """The first stop signal calls `leave`, and reaches the server's own handler `delay_s` later; the next one at once."""

    def __init__(self, leave: Callable[[], None], delay_s: float, loop: asyncio.AbstractEventLoop) -> None:
        self._leave = leave
        self._delay_s = delay_s
        self._loop = loop
        self._handlers: dict[int, Callable[[int, FrameType | None], object]] = {}
        self._leaving = False

    def install(self) -> None:
        """Take the place of the handlers that are there. Signals without one keep their meaning."""
        for number in STOP_SIGNALS:
            before = signal.getsignal(number)
            if callable(before):
                self._handlers[number] = before
                signal.signal(number, self.on_signal)

    def remove(self) -> None:
        """Put the handlers back, where nobody else has taken the place meanwhile."""
        for number, before in self._handlers.items():
            if signal.getsignal(number) == self.on_signal:
                signal.signal(number, before)

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._leaving:
            self._handlers[number](number, frame)
            return
        self._leaving = True
        self._leave()
        self._loop.call_soon_threadsafe(self._loop.call_later, self._delay_s, self._handlers[number], number, None)


@contextlib.contextmanager
def stop_postponed(leave: Callable[[], None], delay_s: float) -> Iterator[None]:
    """Within the block, stop signals are handled as `Postponement` tells; on other threads than the main one nothing changes.

    For servers that use `signal.signal`, as uvicorn does. A loop's own signal handlers are called by the loop
    itself, at once: then leaving and stopping merely happen at the same time.
    """
    if not delay_s or threading.current_thread() is not threading.main_thread():
        yield
        return
    postponement = Postponement(leave, delay_s, asyncio.get_running_loop())
    postponement.install()
    try:
        yield
    finally:
        postponement.remove()

"""Between the word to stop and the closing of the port: probes hear that no more clients should come, and who comes is still served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lbgateway.dataplane.exchange_state import TUNNEL

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from lbgateway.dataplane.plane import DataPlane

LOOK_S: Final = 0.05
PART_OF_DRAIN: Final = 0.5
"""Of `server.drain_timeout`: the longest that the port stays open for what runs. The rest is for those who came in the meantime."""


class Leaving:
    """Calls `stop` once: `pause_s` seconds after it began, and not before what ran then has been answered, tunnels aside.

    Whoever hangs is waited for no longer than a part of `drain_timeout_s`. `over` from the start where nothing is to be waited for.
    """

    def __init__(self, plane: DataPlane, pause_s: float, drain_timeout_s: float, stop: Callable[[], None]) -> None:
        self._plane = plane
        self._stop = stop
        self._running = [exchange for exchange in plane.active if exchange.phase is not TUNNEL]
        self._open_until_s = plane.loop.time() + pause_s
        self._closed_by_s = self._open_until_s + drain_timeout_s * PART_OF_DRAIN
        self._timer: asyncio.TimerHandle | None = None
        self.over = not (pause_s or self._running)

    def __repr__(self) -> str:
        return f"<Leaving {'over' if self.over else f'{len(self._running)} running'}>"

    def facts(self) -> dict[str, float]:
        """What the log says of it: what is waited for, and for how many seconds at most."""
        now_s = self._plane.loop.time()
        longest_s = (self._closed_by_s if self._running else self._open_until_s) - now_s
        return {"requests_active": len(self._running), "at_most_seconds": round(longest_s, 1)}

    @property
    def late_s(self) -> float:
        """For how long the port has been open beyond the pause: that is time of the drain."""
        return max(0.0, self._plane.loop.time() - self._open_until_s)

    def look(self) -> None:
        """Is it time? Called again and again until it is."""
        now_s = self._plane.loop.time()
        self._running = [exchange for exchange in self._running if exchange in self._plane.active]
        if now_s >= self._open_until_s and (not self._running or now_s >= self._closed_by_s):
            self.cancel()
            self._stop()
        else:
            self._timer = self._plane.loop.call_later(LOOK_S, self.look)

    def cancel(self) -> None:
        """Wait for nothing any more."""
        self.over = True
        if self._timer is not None:
            self._timer.cancel()

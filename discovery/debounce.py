"""Good news may wait for more of it: a deploy of many instances is one change of a service, not fifty.

An instance that is new or better is told after 25 ms without another change, 250 ms at most. What takes
traffic away is never held back: an instance that is gone, critical, in maintenance, suspect or of no
weight, one that has moved, and a change of the snapshot's own state.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from discovery.last_good import tell
from discovery.protection import USABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from discovery.instance import Instance, Snapshot
    from discovery.source import SnapshotListener

QUIET_S: Final = 0.025
LONGEST_S: Final = 0.25


def is_urgent(told: Snapshot | None, new: Snapshot) -> bool:
    """Whether `new` must be told at once, after `told`; the first snapshot must."""
    if told is None or told.state is not new.state:
        return True
    after = {instance.key: instance for instance in new.instances}
    return any(_lost(instance, after.get(instance.key)) for instance in told.instances)


def _lost(old: Instance, new: Instance | None) -> bool:
    """Whether traffic for `old` must end, or may get there only as the last choice."""
    if new is None or (old.address, old.port) != (new.address, new.port):
        return True
    return _worth(new) < _worth(old)


def _worth(instance: Instance) -> int:
    """0: no traffic, 1: the last choice, 2: its share."""
    if instance.state not in USABLE or not instance.weight:
        return 0
    return 1 if instance.state == "suspect" else 2


class Debouncer:
    """Passes the snapshots of one service on to `listener`. `clock`: monotonic seconds."""

    __slots__ = ("_clock", "_listener", "_newest", "_since_s", "_timer", "_told")

    def __init__(self, listener: SnapshotListener, clock: Callable[[], float]) -> None:
        # for life
        self._listener = listener
        self._clock = clock
        # since the last telling
        self._told: Snapshot | None = None
        self._newest: Snapshot | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._since_s = float("-inf")

    def offer(self, snapshot: Snapshot) -> None:
        """Something is new: tell it, now or soon."""
        self._newest = snapshot
        if is_urgent(self._told, snapshot):
            self._flush()
            return
        now_s = self._clock()
        if self._timer is None:
            self._since_s = now_s
        else:
            self._timer.cancel()
        wait_s = min(QUIET_S, max(0.0, self._since_s + LONGEST_S - now_s))
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._flush)

    def replace(self, listener: SnapshotListener) -> None:
        """Tell another one from now on, and at once what is known."""
        self._listener = listener
        if self._newest is not None:
            self._flush()

    def stop(self) -> None:
        """Tell nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _flush(self) -> None:
        self.stop()
        assert self._newest is not None
        self._told = self._newest
        tell(self._listener, self._newest)

"""A registry that comes back reads its own past before it is up to date, and answers meanwhile. Pure.

A Consul server that was killed applies its log anew when it starts. Reads that any server may answer (``?stale``) then see the
catalog as it was at each step of it: instances that left long ago, on ports that nobody listens on any more. Nothing in such an
answer says so, a leader is known and the contact with it recent (measured on 1.8.7: six states within 40 ms); only its index is
lower than one that was seen before the outage. The same is true of a registry that has lost its data, or was restored from a backup:
there the low index stays. So what is behind is not taken over at first, and believed if it is still behind after `REPLAY_S`.
"""

from __future__ import annotations

from typing import Final

from discovery.consul_wire import Consistency
from discovery.protection import Recheck

REPLAY_S: Final = 2.0
"""So long a registry may be behind what is known (seconds). Whoever is new in one without its data is seen so much later."""


class Replay:
    """Tells answers out of the past by their index. `recheck`: when to read again, whatever the index says; None if none is held."""

    __slots__ = ("_until_s", "recheck")

    def __init__(self) -> None:
        self._until_s: float | None = None
        self.recheck: Recheck | None = None

    def is_past(self, index: int, known: int, now_s: float, *, recovering: bool) -> bool:
        """Whether an answer of `index` is not to be taken over now, `known` being that of the last one that was.

        `recovering`: the registry was away a moment ago. Without an outage a lower index is taken as it is: nothing was replayed.
        """
        if index >= known or (self._until_s is None and not recovering) or (self._until_s is not None and now_s >= self._until_s):
            self._until_s = self.recheck = None
            return False
        if self._until_s is None:
            self._until_s = now_s + REPLAY_S
            self.recheck = Recheck(self._until_s, Consistency.STALE)
        return True


def told_of(index: int, known: int) -> str:
    """What is said of the kept snapshot meanwhile."""
    return f"the registry is behind what it had told before (index {index} after {known})"

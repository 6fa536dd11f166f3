"""A registry that comes back reads its own past before it is up to date, and answers meanwhile. Pure.

A Consul server that was killed applies its log anew when it starts. Reads that any server may answer (``?stale``), and those of
a leader that was just elected, then see the catalog as it was at some step of it: instances that left long ago, on ports that
nobody listens on any more. Nothing in such an answer says so, a leader is known and the contact with it recent (measured on
1.8.7: six states within 40 ms); only its index is lower than one that was seen before the outage. The same is true of a registry
that has lost its data, or was restored from a backup: there the low index stays.

A verified leader (``?consistent``) knows which of them it is: it answers such reads only once it has applied all of its log
(Consul's ``consistentRead`` waits for the barrier of a new leader). So what is behind is not taken over, however long that lasts,
until such a read has said the same.
"""

from __future__ import annotations

from typing import Final

from discovery.consul_wire import Consistency
from discovery.protection import Recheck

REPLAY_S: Final = 0.2
"""So long after the first answer that is behind, a verified leader is asked (seconds)."""


class Replay:
    """Tells answers out of the past by their index. `recheck`: when to ask a verified leader; None while nothing is held."""

    __slots__ = ("recheck",)

    def __init__(self) -> None:
        self.recheck: Recheck | None = None

    def is_past(self, index: int, known: int, now_s: float, mode: Consistency, *, recovering: bool) -> bool:
        """Whether an answer of `index`, asked for in `mode`, is not to be taken over; `known` is the index of the last one that was.

        `recovering`: the registry was away a moment ago. Without an outage a lower index is taken as it is: nothing was replayed.
        """
        if index >= known or mode is Consistency.CONSISTENT or not (recovering or self.recheck):
            self.recheck = None
            return False
        if self.recheck is None:
            self.recheck = Recheck(now_s + REPLAY_S, Consistency.CONSISTENT)
        return True


def told_of(index: int, known: int) -> str:
    """What is said of the kept snapshot meanwhile."""
    return f"the registry is behind what it had told before (index {index} after {known})"

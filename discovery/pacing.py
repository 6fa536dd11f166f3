"""When to ask next, and how: the life of one watch as a state machine. Pure.

A watch begins with a plain read (SYNC), which brings an index, and goes on with reads that block
until the index moves (BLOCK), or, where too many are watched for that, waits until `sweep` tells it of
a change (SWEPT) and reads plainly again. A blocked read on an index that the registry has lost stays silent for
its whole wait and misses every change meanwhile, so after *any* failure the index is dropped and the
next read is plain again.

Failures are paced by exponential back-off with full jitter (Brooker, "Exponential Backoff And
Jitter", AWS 2015). The caps differ: a connection that is refused costs nobody anything, so the
return of a restarted registry is noticed within two seconds, while one that hangs is left alone for
up to thirty. Many watches of one registry share the work: each waits longer, and whichever gets
through first nudges the others.

Reads of a healthy registry pass a token bucket: ten at once, then one per 50 ms with some dither.
Twice as quick as consul-template, because a new instance is to be reached within 100 ms even in the
middle of a deploy, and our reads are per service.
Against a registry that answers blocking reads at once without moving its index, each such answer
doubles the pause.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from discovery.consul_wire import Consistency, Read, next_index
from discovery.errors import (
    Busy,
    ConnectionLost,
    Denied,
    DiscoveryError,
    MalformedAnswer,
    Misconfigured,
    ReadTimedOut,
    ServerFailed,
    Unreachable,
)
from discovery.longest_wait import LongestWait

if TYPE_CHECKING:
    from random import Random

    from discovery.protection import Recheck

BURST: Final = 10
INTERVAL_S: Final = 0.05
DITHER_S: Final = 0.01
NUDGE_S: Final = 0.25
FRUITLESS_CAP_S: Final = 5.0
REGRESS_INTERVAL_S: Final = 1.0
RESYNC_S: Final = 300.0
SHORTEST_WAIT_S: Final = 0.1
RETRY_AFTER_CAP_S: Final = 300.0
OUTAGE_CAP_S: Final = 30.0
RECHECK_CAP_S: Final = 5.0  # a leader that is found again is asked soon: until then nobody new is seen where an answer is doubted
PER_WATCH_S: Final = 0.2
"""In an outage all watches together try about ten times a second, however many they are."""


class WatchState(enum.StrEnum):
    """INIT: not asked yet. SYNC: plain read. BLOCK: blocking read. SWEPT: waits to be told of a change.

    The next three wait after a failure.
    """

    INIT = "init"
    SYNC = "sync"
    BLOCK = "block"
    SWEPT = "swept"
    BACKOFF = "backoff"
    DENIED = "denied"
    MISCONFIGURED = "misconfigured"
    STOPPED = "stopped"


_FAILED: Final = frozenset((WatchState.BACKOFF, WatchState.DENIED, WatchState.MISCONFIGURED))
_ASKING: Final = frozenset((WatchState.SYNC, WatchState.BLOCK))
_SWEPT: Final = frozenset((WatchState.SWEPT,))
_STOP: Final = frozenset((WatchState.STOPPED,))
TRANSITIONS: Final = {
    WatchState.INIT: frozenset((WatchState.SYNC,)) | _STOP,
    WatchState.SYNC: _ASKING | _SWEPT | _FAILED | _STOP,
    WatchState.BLOCK: _ASKING | _SWEPT | _FAILED | _STOP,
    WatchState.SWEPT: _ASKING | _STOP,
    WatchState.BACKOFF: frozenset((WatchState.SYNC,)) | _STOP,
    WatchState.DENIED: frozenset((WatchState.SYNC,)) | _STOP,
    WatchState.MISCONFIGURED: frozenset((WatchState.SYNC,)) | _STOP,
    WatchState.STOPPED: _STOP,
}


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pause after the n-th failure in a row: uniform(`floor_s`, min(`cap_s`, `first_s` * 2^n)).

    ``outage``: the registry itself is away, so its return for one watch is news for all.
    """

    first_s: float = 0.25
    cap_s: float = 30.0
    floor_s: float = 0.0
    state: WatchState = WatchState.BACKOFF
    outage: bool = False


BACKOFFS: Final[dict[type[DiscoveryError], Backoff]] = {
    Unreachable: Backoff(cap_s=2.0, outage=True),
    ConnectionLost: Backoff(cap_s=5.0, outage=True),
    ServerFailed: Backoff(cap_s=3.0, outage=True),
    ReadTimedOut: Backoff(outage=True),
    MalformedAnswer: Backoff(),
    Busy: Backoff(first_s=1.0),
    Denied: Backoff(first_s=5.0, cap_s=60.0, floor_s=5.0, state=WatchState.DENIED),
    Misconfigured: Backoff(first_s=60.0, cap_s=60.0, floor_s=60.0, state=WatchState.MISCONFIGURED),
}
OTHER: Final = Backoff()


def is_outage(error: DiscoveryError) -> bool:
    """Whether `error` means that the registry is away, rather than that it says no."""
    return BACKOFFS.get(type(error), OTHER).outage


class Pacer:
    """Decides for one watch. `random` dithers; all moments are seconds of one monotonic clock."""

    def __init__(self, *, wait_s: float, consistency: Consistency, random: Random, interval_s: float = INTERVAL_S) -> None:
        # for life
        self.wait = LongestWait(wait_s)
        self.consistency = consistency
        self.crowd = 1
        """How many watches there are of the same registry."""
        self.direct = True
        """False: never block, wait to be told."""
        self._interval_s = interval_s
        self._random = random
        # where the watch stands
        self.state = WatchState.INIT
        self.index = 0
        self.due_at_s = float("-inf")
        """The next read must not begin earlier."""
        self._resync_at_s = float("inf")
        # what it was told since the last read began
        self._told = False
        # since the last read
        self.asked_at_s = float("-inf")
        self._verify = False
        self._rechecking = False
        # since the last second look that worked
        self._rechecks_failed = 0
        self._recheck_after_s = float("-inf")
        # since the last good answer
        self.failures = 0
        self._backoff = OTHER
        # against hot loops
        self._tokens = float(BURST)
        self._fruitless = 0
        self._regressed_at_s = float("-inf")
        # until the first good answer
        self._try_cache = True
        self._cache_next = False

    def __repr__(self) -> str:
        return f"<Pacer {self.state.value} index={self.index} failures={self.failures}>"

    @property
    def quiet(self) -> bool:
        """It waits to be told of a change, and was told of none."""
        return self.state is WatchState.SWEPT and not self._told

    @property
    def away(self) -> bool:
        """Since its last good answer the registry was out of reach."""
        return self._backoff.outage

    def tell(self) -> None:
        """Something changed: read as soon as may be. What is told during a plain read asks for another one."""
        self._told = self._told or self.state is not WatchState.BLOCK

    def begins_at_s(self, recheck: Recheck | None = None) -> float:
        """When the next read is to begin."""
        if self.state is not WatchState.SWEPT or self.direct or self._told:
            return self.due_at_s
        return max(self.due_at_s, min(self._resync_at_s, self._recheck_at_s(recheck)))

    def _recheck_at_s(self, recheck: Recheck | None) -> float:
        return float("inf") if recheck is None else max(recheck.at_s, self._recheck_after_s)

    def next_read(self, now_s: float, recheck: Recheck | None = None) -> Read:
        """What to ask now; `recheck` is what a doubted loss wishes for."""
        recheck_at_s = self._recheck_at_s(recheck)
        # After a failure the ordinary mode comes first: a leader that is away must not hide what others still tell.
        self._rechecking = now_s >= recheck_at_s and self.state not in _FAILED and not self._verify
        if recheck is not None and self._rechecking:
            read = Read(consistency=self._at_least(recheck.consistency))
        else:
            read = self._choose(now_s, recheck_at_s)
        self._enter(WatchState.BLOCK if read.index else WatchState.SYNC)
        self._tokens = min(BURST, self._tokens + (now_s - self.asked_at_s) / self._interval_s) - 1.0
        self.asked_at_s = now_s
        self._verify = self._cache_next = self._told = False
        return read

    def _choose(self, now_s: float, recheck_at_s: float) -> Read:
        if self._cache_next:
            return Read(cached=True)
        if self._verify:
            return Read(consistency=self._at_least(Consistency.DEFAULT))
        if self.index and now_s >= self._resync_at_s and not self._told:
            return Read(consistency=self.consistency, resync=True)
        if not self.index or not self.direct:
            return Read(consistency=self.consistency)
        return Read(self.index, min(self.wait.seconds, max(recheck_at_s - now_s, SHORTEST_WAIT_S)), self.consistency)

    def _at_least(self, wanted: Consistency) -> Consistency:
        return max(wanted, self.consistency, key=lambda mode: mode.strength)

    def answered(self, now_s: float, index: str | None, read: Read) -> bool:
        """Note a good answer and its index header; True if the index went backwards."""
        self.failures, self._backoff, self._try_cache = 0, OTHER, False
        if self._rechecking:
            self._rechecks_failed, self._recheck_after_s = 0, float("-inf")
        if not read.index:
            self._resync_at_s = now_s + RESYNC_S * self._random.uniform(0.8, 1.2)
        self.index = next_index(index, read.index)
        self._count_fruitless(now_s, read)
        regressed = self.index == 0
        if regressed:
            self.due_at_s = max(now_s, self._regressed_at_s + REGRESS_INTERVAL_S)
            self._regressed_at_s = self.due_at_s
        else:
            self.due_at_s = now_s + self._limit_s(now_s)
            if not self.direct:
                self._enter(WatchState.SWEPT)
        return regressed

    def _count_fruitless(self, now_s: float, read: Read) -> None:
        early = now_s - self.asked_at_s < read.wait_s / 2
        if read.index and self.index == read.index and early:
            self._fruitless += 1
        elif read.index:
            self._fruitless = 0

    def _limit_s(self, now_s: float) -> float:
        if self._fruitless:
            return min(FRUITLESS_CAP_S, self._interval_s * 2.0 ** min(self._fruitless, 10))
        tokens = self._tokens + (now_s - self.asked_at_s) / self._interval_s
        return 0.0 if tokens >= 1 else (1 - tokens) * self._interval_s + self._random.uniform(0, DITHER_S)

    def doubted(self, now_s: float) -> None:
        """Note an answer that may be out of date: ask the leader next, blocking on nothing."""
        self.index = 0
        self._verify = True
        self._try_cache = False
        self.due_at_s = now_s + 1.0 + self._random.uniform(0, min(4.0, 0.25 * 2.0 ** min(self.failures, 10)))
        self.failures += 1

    def failed(self, now_s: float, error: DiscoveryError) -> None:
        """Note a failure: drop the index, choose the pause."""
        if self._rechecking:
            self._recheck_after_s = now_s + min(RECHECK_CAP_S, 2.0 ** min(self._rechecks_failed, 10))
            self._rechecks_failed += 1
        if self.state is WatchState.BLOCK and isinstance(error, (ConnectionLost, ReadTimedOut)):
            self.wait.cut(now_s - self.asked_at_s)
        backoff = BACKOFFS.get(type(error), OTHER)
        if backoff is not self._backoff:
            # Another kind of failure is progress (refused, then "no leader"), but no licence to hurry.
            self.failures = min(self.failures, 2)
        self._backoff = backoff
        self._enter(backoff.state)
        self.index = 0
        self.due_at_s = now_s + self._pause_s(backoff, error)
        self.failures += 1
        if isinstance(error, ServerFailed) and self._try_cache:
            self._try_cache, self._cache_next, self.due_at_s = False, True, now_s

    def _pause_s(self, backoff: Backoff, error: DiscoveryError) -> float:
        if isinstance(error, Busy) and error.retry_after_s is not None:
            return min(error.retry_after_s, RETRY_AFTER_CAP_S) + self._random.uniform(0, NUDGE_S)
        cap_s = backoff.cap_s
        if backoff.outage:
            cap_s = min(OUTAGE_CAP_S, max(cap_s, PER_WATCH_S * self.crowd))
        longest_s = max(backoff.floor_s, min(cap_s, backoff.first_s * 2.0 ** min(self.failures, 10)))
        return self._random.uniform(backoff.floor_s, longest_s)

    def nudged(self, now_s: float) -> None:
        """Another watch has its registry back, or a token that is good: do not sleep through it."""
        if (self.state is WatchState.BACKOFF and self.away) or self.state is WatchState.DENIED:
            self.due_at_s = min(self.due_at_s, now_s + self._random.uniform(0, NUDGE_S))

    def stopped(self) -> None:
        self._enter(WatchState.STOPPED)

    def _enter(self, state: WatchState) -> None:
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"{self.state} does not lead to {state}")
        self.state = state

"""The counters of all limits in memory that several processes share: one limit over all workers, exactly.

What is kept of a client is what `policies.gcra` keeps, a moment; beside it stands a fingerprint of who it is. It has 64 bits
under a secret key: that two clients share a counter is less likely than one in a billion, and nobody can look for it. A fingerprint
leads to a bucket of a few entries. There an entry whose moment has passed says nothing and is anybody's; where none has, the one that
is nearest to it goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class LimitTable:
    """`keys` and `moments` lie side by side in shared memory; a power of two of buckets with `ways` entries each.

    `lock` and `unlock` take the number of a bucket. `secret` is the same in all processes.
    """

    def __init__(
        self,
        keys: memoryview,
        moments: Any,
        ways: int,
        *,
        lock: Callable[[int], None],
        unlock: Callable[[int], None],
        secret: bytes,
    ) -> None:
        self.secret = secret
        self._keys = keys
        self._moments = moments
        self._ways = ways
        self._mask = len(keys) // ways - 1
        self._lock = lock
        self._unlock = unlock

    def take(self, fingerprint: int, now_s: float, emission_s: float, tolerance_s: float) -> float:
        """How far ahead (seconds) the client is with one more request, which is counted unless that is more than `tolerance_s`."""
        keys, moments = self._keys, self._moments
        bucket = fingerprint & self._mask
        first = bucket * self._ways
        self._lock(bucket)
        try:
            entry, full_at_s = -1, now_s
            for index in range(first, first + self._ways):
                if keys[index] == fingerprint:
                    entry, full_at_s = index, moments[index]
                    break
            ahead_s = emission_s + (full_at_s - now_s if full_at_s > now_s else 0.0)
            if ahead_s <= tolerance_s:
                if entry < 0:
                    entry = min(range(first, first + self._ways), key=moments.__getitem__)
                    keys[entry] = fingerprint
                moments[entry] = now_s + ahead_s
            return ahead_s
        finally:
            self._unlock(bucket)

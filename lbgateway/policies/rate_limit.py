"""How often who may call: the policy, counted in this process.

What a request is told stands on every answer of a limited route: ``RateLimit-Policy`` and ``RateLimit``, and on a 429 also
``Retry-After``. A request that is refused does not count: who keeps knocking is let in as soon as who waits. Preflights
that the gateway answers itself are answered before.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, Protocol

from lbgateway.errors import GatewayError, RateLimited
from lbgateway.policies.buckets import Buckets
from lbgateway.policies.limit_key import key_reader

if TYPE_CHECKING:
    from lbgateway.policies.answer import Answer
    from lbgateway.policies.gcra import Limit
    from lbgateway.policies.wait import Wait

CEIL = 0.999999
"""Added before a fraction is cut off: seconds are told rounded up, or a client would come a moment too early."""


class LimitPolicy(Protocol):
    """A limit in force, wherever it is counted."""

    limit: Limit

    def admit(self, exchange: Any) -> GatewayError | Answer | Wait | None: ...

    def sweep(self, now_s: float) -> None:
        """Forget a part of those who have been idle; called every `plane.SWEEP_S`."""


class RateLimit:
    """One limit, and all whom it counts. A warm request costs two calls: this one and that of its key."""

    __slots__ = ("_emission_s", "_head", "_key_of", "_left", "_line", "_tolerance_s", "_wait_s", "buckets", "limit")

    def __init__(self, limit: Limit, buckets: Buckets[float] | None = None) -> None:
        self.limit = limit
        self.buckets = buckets if buckets is not None else Buckets(_itself)
        """Key -> the moment at which it has its whole burst again."""
        self._key_of = key_reader(limit.key)
        self._emission_s, self._tolerance_s = limit.emission_s, limit.tolerance_s
        self._head = limit.head()
        # what the one before was told: most clients are equally far from their limits
        self._left = self._wait_s = -1
        self._line = b""

    def __repr__(self) -> str:
        return f"<RateLimit {self.limit.requests}/{self.limit.per_s:g}s by {self.limit.key} {len(self.buckets)} clients>"

    def admit(self, exchange: Any) -> GatewayError | None:
        """A policy: lets pass who has not come too often."""
        key, now_s = self._key_of(exchange), exchange.started_s
        buckets = self.buckets
        shard = buckets.shards[hash(key) & buckets.mask]
        full_at_s = shard.get(key, now_s)
        ahead_s = self._emission_s + (full_at_s - now_s if full_at_s > now_s else 0.0)
        if ahead_s > self._tolerance_s:
            return limited(exchange, self._head, ahead_s - self._tolerance_s)
        if len(shard) >= buckets.most and key not in shard:
            buckets.make_room(shard, now_s)
        shard[key] = now_s + ahead_s
        left, wait_s = int((self._tolerance_s - ahead_s) / self._emission_s), int(ahead_s + CEIL)
        if left != self._left or wait_s != self._wait_s:
            self._left, self._wait_s = left, wait_s
            self._line = b"%b%d;t=%d\r\n" % (self._head, left, wait_s)
        exchange.answer_lines += self._line
        return None

    def sweep(self, now_s: float) -> None:
        self.buckets.sweep(now_s)


def _itself(full_at_s: float) -> float:
    return full_at_s


def limited(exchange: Any, head: bytes, wait_s: float) -> RateLimited:
    """The refusal of an exchange that comes `wait_s` too early; tells and counts it."""
    seconds = max(1, ceil(wait_s))
    exchange.answer_lines += b"%b0;t=%d\r\n" % (head, seconds)
    exchange.plane.metrics.rate_limited[exchange.route.label] += 1
    return RateLimited(headers=b"Retry-After: %d\r\n" % seconds)

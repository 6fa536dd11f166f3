"""How often who may call, counted by all gateways together: the policy over a `RedisStore`.

A warm request waits for nothing: it is let pass on what the last answer allows (`share`). One that comes when that is used
up waits for the next answer, for `redis_store.PATIENCE_S` at most; after that, and while the store is down or slow, the
gateway decides by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lbgateway.errors import GatewayError, Overloaded
from lbgateway.policies.buckets import Buckets
from lbgateway.policies.limit_key import key_reader
from lbgateway.policies.rate_limit import CEIL, limited
from lbgateway.policies.wait import Flight, Wait
from lbgateway.ratelimit.share import Share, name_in_store, pace_of, says_nothing_from

if TYPE_CHECKING:
    from lbgateway.policies.gcra import Limit
    from lbgateway.ratelimit.redis_store import RedisStore

MOST = 2048
"""In each shard: 131,072 clients of one limit at most; a share is larger than a number."""
AT_LAST_S = 5.0
"""Longer than any question takes; only a bug lets somebody wait for it."""


class SharedLimit:
    """One limit, and what this gateway knows of all whom it counts."""

    __slots__ = ("_head", "_key_of", "_pace", "_store", "limit", "shares")

    def __init__(self, limit: Limit, store: RedisStore) -> None:
        self.limit = limit
        self.shares: Buckets[Share] = Buckets(says_nothing_from, most=MOST)
        self._store = store
        self._key_of = key_reader(limit.key)
        self._pace = pace_of(limit)
        self._head = limit.head()

    def __repr__(self) -> str:
        return f"<SharedLimit {self.limit.requests}/{self.limit.per_s:g}s by {self.limit.key} {len(self.shares)} clients>"

    def admit(self, exchange: Any) -> GatewayError | Wait | None:
        """A policy: lets pass who has not come too often, here and elsewhere."""
        key, store, now_s = self._key_of(exchange), self._store, exchange.started_s
        shard = self.shares.shards[hash(key) & self.shares.mask]
        share = shard.get(key) or self._first(shard, key, now_s)
        if store.down:
            return self._alone(exchange, share)
        if share.epoch != store.epoch:
            share.begin_anew(store.epoch)
        if share.granted:
            share.granted -= 1
            self._tell(exchange, max(0.0, share.full_at_s - now_s))
            return None
        emission_s, tolerance_s, _, refresh_s = self._pace
        ahead_s = emission_s + (share.full_at_s - now_s if share.full_at_s > now_s else 0.0)
        if ahead_s > tolerance_s:
            return limited(exchange, self._head, ahead_s - tolerance_s)
        if share.spent >= share.allowance and not store.late:
            return self._wait(share)
        share.full_at_s = now_s + ahead_s
        share.spent += 1
        if not share.asked and (share.spent >= share.due_at or now_s - share.heard_at_s > refresh_s):
            store.ask(share)
        left = (tolerance_s - ahead_s) / emission_s
        exchange.answer_lines += b"%b%d;t=%d\r\n" % (self._head, left, ahead_s + CEIL)
        return None

    def sweep(self, now_s: float) -> None:
        self.shares.sweep(now_s)

    def _first(self, shard: dict[bytes, Share], key: bytes, now_s: float) -> Share:
        if len(shard) >= self.shares.most:
            self.shares.make_room(shard, now_s)
        share = shard[key] = Share(name_in_store(self.limit, key), self._pace, now_s, self._store.epoch)
        return share

    def _tell(self, exchange: Any, ahead_s: float) -> None:
        left = max(0.0, self._pace.tolerance_s - ahead_s) / self._pace.emission_s
        exchange.answer_lines += b"%b%d;t=%d\r\n" % (self._head, left, ahead_s + CEIL)

    # -- the allowance is used up --------------------------------------------------------------

    def _wait(self, share: Share) -> Wait:
        if share.flight is None:
            share.flight = Flight()
        if share.asked:
            self._store.hurry()
        else:
            self._store.ask(share)
        return Wait(share.flight, self._decide, AT_LAST_S, Overloaded(cause="the limit's store did not answer"))

    def _decide(self, exchange: Any) -> GatewayError | Wait | None:
        """The answer is there, or late: the store has granted the request, or has not."""
        key = self._key_of(exchange)
        share = self.shares.shard(key).get(key)
        if share is None or share.granted or self._store.late or self._store.down:
            return self.admit(exchange)
        ahead_s = self._pace.emission_s + share.full_at_s - share.heard_at_s
        return limited(exchange, self._head, max(0.0, ahead_s - self._pace.tolerance_s))

    # -- there is no store ---------------------------------------------------------------------

    def _alone(self, exchange: Any, share: Share) -> GatewayError | None:
        """As ``on_store_failure`` says: by this gateway's part of the limit, not at all, or nobody."""
        mode, now_s = self._store.on_failure, exchange.started_s
        if mode == "open":
            return None
        if mode == "closed":
            return Overloaded("Nobody can tell at the moment how often you have called", cause="rate_limit.store is down")
        emission_s = self._pace.emission_s * self._store.gateways()
        tolerance_s = max(self._pace.tolerance_s, emission_s)
        ahead_s = emission_s + max(0.0, share.full_at_s - now_s)
        if ahead_s > tolerance_s:
            return limited(exchange, self._head, ahead_s - tolerance_s)
        share.full_at_s = now_s + ahead_s
        self._tell(exchange, ahead_s)
        return None

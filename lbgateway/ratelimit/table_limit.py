"""How often who may call, counted by all workers of one gateway together: the policy over a `LimitTable`."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from lbgateway.policies.limit_key import key_reader
from lbgateway.policies.rate_limit import CEIL, limited

if TYPE_CHECKING:
    from lbgateway.errors import GatewayError
    from lbgateway.policies.gcra import Limit
    from lbgateway.ratelimit.table import LimitTable


class TableLimit:
    """One limit. Nothing is waited for; a request costs three microseconds more than one that a single process counts."""

    __slots__ = ("_emission_s", "_hash", "_head", "_key_of", "_table", "_tolerance_s", "limit")

    def __init__(self, limit: Limit, table: LimitTable) -> None:
        self.limit = limit
        self._table = table
        self._key_of = key_reader(limit.key)
        self._emission_s, self._tolerance_s = limit.emission_s, limit.tolerance_s
        self._head = limit.head()
        self._hash = blake2b(digest_size=8, key=table.secret, person=_name(limit))

    def __repr__(self) -> str:
        return f"<TableLimit {self.limit.requests}/{self.limit.per_s:g}s by {self.limit.key}>"

    def admit(self, exchange: Any) -> GatewayError | None:
        """A policy: lets pass who has not come too often, to this worker or another."""
        known = self._hash.copy()
        known.update(self._key_of(exchange))
        ahead_s = self._table.take(int.from_bytes(known.digest(), "little") or 1, exchange.started_s, self._emission_s, self._tolerance_s)
        if ahead_s > self._tolerance_s:
            return limited(exchange, self._head, ahead_s - self._tolerance_s)
        left = (self._tolerance_s - ahead_s) / self._emission_s
        exchange.answer_lines += b"%b%d;t=%d\r\n" % (self._head, left, ahead_s + CEIL)
        return None

    def sweep(self, now_s: float) -> None:
        """What has passed is overwritten when its place is needed."""


def _name(limit: Limit) -> bytes:
    """Another for each limit that is not alike in everything: a reload that changes one begins it anew."""
    return blake2b(f"{limit.scope} {limit.key} {limit.requests} {limit.per_s} {limit.burst}".encode(), digest_size=16).digest()

"""Whether a request that waits gets a second attempt beside its first one, and when. Pure.

The rule in prose. Most of what is slow is slow by chance: the same request, asked of another instance, would
have been answered by now. So once an attempt has brought no response head for longer than nearly all others
need, the request goes to one more instance, and whoever answers first wins. What it costs is bounded twice: by
a share of the service's requests, and by the budget that pays for retries. Nothing is hedged whose second run
could do harm or is not at hand, and nothing where more load is the last thing needed: in panic, while the
breaker is not closed, or where requests wait for room. Source: Dean and Barroso, "The Tail at Scale", 2013.
"""

from __future__ import annotations

from collections import deque
from math import ceil, inf
from typing import NamedTuple

from lbgateway.policies.retry import IDEMPOTENT

RECENT = 1000
"""So many latencies are remembered: 50 of them lie beyond the 95th percentile."""

LEAST_KNOWN = 100
"""With fewer a percentile is guessing, and nothing is hedged."""

LEAST_AFTER_S = 0.001
"""A timer of asyncio's is no finer; below, the second attempt would cost more than it could save."""


class HedgeRules(NamedTuple):
    """``services.*.hedge``: a second attempt `after_s` seconds, or, where that is 0.0, after the `quantile` of recent latencies."""

    at_most: float
    """Second attempts as a share of the requests, 0..1."""
    after_s: float = 0.0
    quantile: float = 0.0


class Patience:
    """How long a first attempt may be silent. ``after_s``: in seconds; infinite until enough is known."""

    __slots__ = ("_quantile", "_recent", "after_s")

    def __init__(self, rules: HedgeRules) -> None:
        self.after_s = rules.after_s or inf
        self._quantile = rules.quantile
        self._recent: deque[float] = deque(maxlen=RECENT)

    def __repr__(self) -> str:
        return f"<Patience {self.after_s * 1000:.1f}ms, {len(self._recent)} latencies>"

    def learn(self, latency_s: float) -> None:
        """A request has had its response head after so many seconds."""
        self._recent.append(latency_s)

    def refresh(self) -> None:
        """Work the percentile out again; about once a second is enough."""
        if self._quantile and len(self._recent) >= LEAST_KNOWN:
            ranked = sorted(self._recent)
            self.after_s = max(ranked[ceil(self._quantile * len(ranked)) - 1], LEAST_AFTER_S)


class HedgeShare:
    """Keeps second attempts below a share of the requests, over the last `RECENT` or so of them, at any rate."""

    __slots__ = ("_counted", "_hedges", "_requests", "at_most")

    def __init__(self, at_most: float, requests: int) -> None:
        """`requests`: how many the service has had so far; they do not count."""
        self.at_most = at_most
        self._counted = requests
        self._requests = self._hedges = 0.0

    def __repr__(self) -> str:
        return f"<HedgeShare {self._hedges:.1f} of {self._requests:.0f}>"

    def available(self, requests: int) -> bool:
        """Whether one more is within the share, now that the service has had `requests`, those under way included."""
        self._requests += max(0, requests - self._counted)
        self._counted = max(requests, self._counted)
        while self._requests > RECENT:
            self._requests /= 2
            self._hedges /= 2
        return self._hedges + 1 <= self.at_most * self._requests

    def withdraw(self) -> None:
        """There is one more."""
        self._hedges += 1


class HedgeFacts(NamedTuple):
    """What is known of a request that waits, and of its service; the defaults are those of a GET with everything in its favour."""

    method: bytes = b"GET"
    attempts_left: int = 2
    """Tries that the configuration still allows: a second attempt is one of them."""
    first: bool = True
    """There has been no second attempt in this exchange."""
    complete: bool = True
    """All of the request has come, and is at hand for another attempt."""
    plain: bool = True
    """It asks for no other protocol (a tunnel has two ends, not three)."""
    client_reads: bool = True
    """The client takes what is written; else it is the client that keeps the answer from coming."""
    time_left: bool = True
    calm: bool = True
    """Neither panic, nor a breaker that is not closed, nor requests that wait for room."""
    share_left: bool = True
    budget_left: bool = True


def may_hedge(facts: HedgeFacts) -> bool:
    """Whether a second attempt may begin; that there is an instance for it is asked afterwards."""
    return facts.method in IDEMPOTENT and facts.attempts_left > 0 and all(facts[2:])

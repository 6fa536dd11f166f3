"""Limits of a service's instances that follow their latency (``limits.adaptive``): from what is counted anyway, with each sweep.

A request pays nothing for it: the totals of attempts and of their seconds are there already, and that an endpoint may have no
more than so many at once is a number that is compared in any case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from balancers.endpoint import EndpointState, Outcome
from lbgateway.policies.adaptive_limit import FIRST, LEAST, AdaptiveLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from random import Random

    from lbgateway.dataplane.gateway_endpoint import GatewayEndpoint


SERVING = (EndpointState.READY, EndpointState.WARMING)


class Watched:
    """One endpoint: its limit, and what had been counted at the last sweep."""

    __slots__ = ("_attempts", "_failed", "_seconds", "endpoint", "limit")

    def __init__(self, endpoint: GatewayEndpoint, limit: AdaptiveLimit) -> None:
        self.endpoint = endpoint
        self.limit = limit
        self._attempts, self._seconds, self._failed = totals(endpoint)

    def idle(self) -> bool:
        """Nothing has come since, and nothing runs."""
        endpoint = self.endpoint
        return not endpoint.active and endpoint.series.total == self._attempts and not self.limit.measuring

    def learn(self, now_s: float) -> None:
        """Take in what has come since the last time."""
        endpoint, limit = self.endpoint, self.limit
        attempts, seconds, failed = totals(endpoint)
        answered = attempts - self._attempts
        limit.sample(answered, seconds - self._seconds, failed - self._failed, endpoint.active, now_s)
        if not answered and endpoint.active >= limit.now and not endpoint.oldest_at_s:
            limit.ease()
        self._attempts, self._seconds, self._failed = attempts, seconds, failed


def totals(endpoint: GatewayEndpoint) -> tuple[int, float, int]:
    """Of one endpoint, ever: attempts, their seconds to the head or the failure, and those that ran out of time or found nobody."""
    series = endpoint.series
    return series.total, series.seconds_sum, series.outcomes.get(Outcome.FAILED_LOCAL, 0)


class Adapting:
    """Of one service. `most` gives the configured bound of each instance."""

    def __init__(self, most: Callable[[], float], random: Random) -> None:
        self._most = most
        self._random = random
        self._watched: dict[GatewayEndpoint, Watched] = {}
        self._measured: AdaptiveLimit | None = None

    def limit_of(self, endpoint: GatewayEndpoint) -> AdaptiveLimit | None:
        """None before the first sweep has met it."""
        watched = self._watched.get(endpoint)
        return watched.limit if watched is not None else None

    def bound(self, endpoint: GatewayEndpoint) -> float:
        """How many requests at once it may have now."""
        limit = self.limit_of(endpoint)
        return min(FIRST if limit is None else limit.now, self._most())

    def sweep(self, endpoints: Collection[GatewayEndpoint], now_s: float, *, ready: int) -> None:
        """Learn what has come since the last time, and set the limits of `endpoints`; so many of them are `ready`. Others are forgotten."""
        if len(self._watched) > len(endpoints):
            self._watched = {endpoint: self._watched[endpoint] for endpoint in endpoints if endpoint in self._watched}
        due = None
        for endpoint in endpoints:
            watched = self._watched.get(endpoint) or self._watch(endpoint, now_s)
            if watched.idle():
                continue
            watched.limit.most = max(self._most(), LEAST)
            watched.learn(now_s)
            if due is None and watched.limit.due(now_s) and endpoint.state in SERVING:
                due = watched.limit
            endpoint.most_active = self.bound(endpoint)
        # Others take what it does not, so there must be some.
        if due is not None and ready > 1 and (self._measured is None or not self._measured.measuring):
            self._measured = due
            due.measure(now_s)

    def _watch(self, endpoint: GatewayEndpoint, now_s: float) -> Watched:
        limit = AdaptiveLimit(self._most(), now_s, self._random.random)
        watched = self._watched[endpoint] = Watched(endpoint, limit)
        endpoint.most_active = self.bound(endpoint)
        return watched

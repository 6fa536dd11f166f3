"""What a worker tells the parent of its numbers: how much each has grown since it told last, and what comes and goes as it is now.

Growth can be added up by somebody who does not know who else counts, and when a worker dies nothing that it has told is lost: so
counters never go backwards. What the parent makes of it is `merging`.
"""

from __future__ import annotations

from itertools import chain
from math import isfinite
from operator import sub
from typing import TYPE_CHECKING, Any, TypeVar

from lbgateway.workers.shared_endpoint import SharedEndpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from lbgateway.dataplane.gateway_endpoint import GatewayEndpoint
    from lbgateway.dataplane.history import Pick
    from lbgateway.dataplane.plane import DataPlane
    from lbgateway.dataplane.upstream import Upstream
    from lbgateway.telemetry.metrics import EndpointSeries, RouteSeries

K = TypeVar("K")

COUNTERS = ("errors", "auth_failures", "retries", "hedges", "rate_limited", "spans")
"""Of `telemetry.metrics.Metrics`: those of a worker; what discovery counts is the parent's own."""


class Told:
    """What has been told of one thing that counts: a row of numbers, and maybe counters by key."""

    def __init__(self) -> None:
        self.numbers: list[float] = []
        self.counters: dict[Any, int] = {}
        self.more: dict[Any, int] = {}
        self.window: list[int] = []
        self.counts: list[int] = []
        self.words: tuple[Any, ...] = ()
        self.picked_s = 0.0


class Tally:
    """Of one worker. `tokens_of`: what is left of a service's retry budget."""

    def __init__(self, plane: DataPlane, tokens_of: Callable[[Upstream], float]) -> None:
        self._plane = plane
        self._tokens_of = tokens_of
        self._metrics: dict[str, dict[Any, int]] = {name: {} for name in COUNTERS}
        self._accepted = 0
        self._told: dict[Any, Told] = {}

    def report(self, *, whole: bool = True) -> dict[str, Any]:
        """What has grown since the last one; if it is not `whole`, services without requests are left out."""
        plane, before = self._plane, self._told
        self._told = {}
        metrics = plane.metrics
        accepted, self._accepted = metrics.connections_accepted - self._accepted, metrics.connections_accepted
        routes = (self._route(each, before) for each in metrics.routes.values())
        services = (self._service(each, before, whole=whole) for each in plane.upstreams.values())
        return {
            "counters": {name: _pairs(grown(getattr(metrics, name), self._metrics[name])) for name in COUNTERS},
            "accepted": accepted,
            "routes": [each for each in routes if each is not None],
            "services": [each for each in services if each is not None],
            "requests": len(plane.active),
            "lag_s": metrics.loop_lag_s,
        }

    def _knows(self, thing: object, before: MutableMapping[Any, Told]) -> Told:
        """What was told of it; what is not asked for again is forgotten."""
        told = self._told[thing] = before.pop(thing) if thing in before else Told()
        return told

    def _route(self, series: RouteSeries, before: MutableMapping[Any, Told]) -> list[Any] | None:
        told = self._knows(series, before)
        requests = grown(series.requests, told.counters)
        (seconds,) = _risen([series.duration.sum_s], told)
        return [series.route, series.service, _pairs(requests), _steps(series.duration.counts, told), seconds] if requests else None

    def _service(self, upstream: Upstream, before: MutableMapping[Any, Told], *, whole: bool) -> list[Any] | None:
        told = self._knows(upstream, before)
        seconds = upstream.duration.sum_s
        changed = _risen([upstream.requests_total, upstream.tried_total, upstream.failures_total, seconds], told)
        everybody = chain(upstream.endpoints.endpoints.values(), upstream.endpoints.leaving.values())
        if not whole and not any(changed):
            for endpoint in everybody:
                if endpoint in before:
                    self._told[endpoint] = before.pop(endpoint)
            return None
        *counts, grown_s = changed
        endpoints = [each for each in (self._endpoint(endpoint, before) for endpoint in everybody) if each is not None]
        if not endpoints and not any(changed) and not whole:
            return None
        extras = {"tokens": self._tokens_of(upstream), "patience_s": _patience_s(upstream)}
        return [upstream.name, counts, _steps(upstream.duration.counts, told), grown_s, endpoints, extras]

    def _endpoint(self, endpoint: GatewayEndpoint, before: MutableMapping[Any, Told]) -> dict[str, Any] | None:
        assert isinstance(endpoint, SharedEndpoint)
        told, series = self._knows(endpoint, before), endpoint.series
        words = (endpoint.connections(), series.last_error, endpoint.latency_s, endpoint.latency_at_s, sum(series.ejections.values()))
        picks = _new_picks(endpoint, told)
        if told.words == words and not picks and told.numbers[:1] == [series.total]:
            return None
        told.words = words
        return {
            "slot": endpoint.number,
            "growth": _risen([series.total, series.failures, series.seconds_sum], told)[1:],  # the outcomes say how many there were
            "outcomes": grown(series.outcomes, told.counters),
            "ejections": grown(series.ejections, told.more),
            "buckets": _latencies(series, told),
            "connections": words[0],
            "last_error": series.last_error,
            "latency": [endpoint.latency_s, endpoint.latency_at_s],
            "picks": picks,
        }


def grown(now: Mapping[K, int], told: dict[K, int]) -> dict[K, int]:
    """By how much each has grown since it was `told`, which is brought up to date; what is smaller has begun anew."""
    growth = {}
    for key, count in now.items():
        before = told.get(key, 0)
        if count != before:
            growth[key] = count - before if count > before else count
            told[key] = count
    return growth


def _risen(now: list[float], told: Told) -> list[float]:
    before, told.numbers = told.numbers or [0.0] * len(now), now
    return list(map(sub, now, before))


def _steps(counts: list[int], told: Told) -> list[list[int]]:
    """The buckets of a histogram that have grown: index and by how much."""
    before, told.counts = told.counts or [0] * len(counts), counts.copy()
    return [[index, count - old] for index, (count, old) in enumerate(zip(counts, before, strict=True)) if count != old]


def _latencies(series: EndpointSeries, told: Told) -> list[list[int]]:
    """The same of a window that is thrown away every half minute; what had come before that is in what was the window."""
    if told.window is not series.recent:
        older, told.window = told.window, series.recent
        late = _steps(older, told) if older else []
        told.counts = [0] * len(series.recent)
        return late + _steps(series.recent, told)
    return _steps(series.recent, told)


def _new_picks(endpoint: GatewayEndpoint, told: Told) -> list[list[Any]]:
    history = endpoint.history
    if history is None or not history.picks or history.picks[-1].at_s <= told.picked_s:
        return []
    new = [pick for pick in history.picks if pick.at_s > told.picked_s]
    told.picked_s = new[-1].at_s
    return [_pick_facts(pick) for pick in new]


def _pick_facts(pick: Pick) -> list[Any]:
    return [pick.at_s, pick.reason, pick.of, pick.candidates]


def _pairs(counts: Mapping[Any, int]) -> list[list[Any]]:
    """JSON has no keys but strings."""
    return [[key, count] for key, count in counts.items()]


def _patience_s(upstream: Upstream) -> float | None:
    after_s = upstream.hedging.patience.after_s if upstream.hedging is not None else None
    return after_s if after_s is not None and isfinite(after_s) else None

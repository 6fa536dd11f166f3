"""Plain numbers, written by the data plane and read at scrape time.

No library is called on the request path: a prometheus child's ``inc()`` costs half a microsecond,
an integer in a dict a tenth. `telemetry.exposition` turns these into text.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from operator import add
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histograms' buckets, in seconds; one more bucket holds the rest."""

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"))
"""Methods that may become a label value; all others are counted as ``other``, or a client could make up series."""

METHOD_LABELS = {method.encode(): method for method in METHODS}


UNROUTED = ""
"""The route of requests that have none: an empty label is to Prometheus one that is not there."""


BY_ORDER = "operator"
"""The reason of an ejection that nobody's failures have brought."""


class Histogram:
    """Counts per bucket of `BOUNDS_S` (not cumulative) and the sum, in seconds."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile(self, q: float) -> float | None:
        """The value below which a share `q` (0..1) lies, in seconds, interpolated; None without samples."""
        return quantile(self.counts, q)


def quantile(counts: list[int], q: float) -> float | None:
    """Interpolate quantile `q` (0..1) from bucket counts; None if all are 0."""
    total = sum(counts)
    if not total:
        return None
    rank, seen = q * total, 0
    for index, n in enumerate(counts):
        if n and seen + n >= rank:
            low = BOUNDS_S[index - 1] if index else 0.0
            high = BOUNDS_S[index] if index < len(BOUNDS_S) else BOUNDS_S[-1]
            return low + (high - low) * max(0.0, rank - seen) / n
        seen += n
    return BOUNDS_S[-1]


class RouteSeries:
    """What one route has answered. ``requests``: (method, status) -> count."""

    __slots__ = ("duration", "requests", "route", "service")

    def __init__(self, route: str, service: str) -> None:
        self.route = route
        self.service = service
        self.requests: defaultdict[tuple[str, int], int] = defaultdict(int)
        self.duration = Histogram()

    def record(self, method: str, status: int, seconds: float) -> None:
        """Count one finished exchange. `method` must be bounded: one of `METHODS` or ``other``."""
        key = (method, status)
        self.requests[key] += 1
        duration = self.duration
        duration.counts[bisect_left(BOUNDS_S, seconds)] += 1
        duration.sum_s += seconds


class EndpointSeries:
    """What one endpoint has done. Dropped with the endpoint, so that its series disappear."""

    __slots__ = ("failures", "outcomes", "recent", "seconds_sum", "total", "_older", "last_error", "ejections")

    def __init__(self) -> None:
        self.total = 0
        self.failures = 0
        self.ejections: dict[str, int] = {}
        """By reason."""
        self.outcomes: defaultdict[str, int] = defaultdict(int)
        self.seconds_sum = 0.0
        self.recent = [0] * (len(BOUNDS_S) + 1)
        self._older = [0] * (len(BOUNDS_S) + 1)
        self.last_error: str | None = None

    def record(self, outcome: str, seconds: float) -> None:
        """Count one attempt; `seconds` from sending to the response head or the failure."""
        self.total += 1
        self.outcomes[outcome] += 1
        self.seconds_sum += seconds
        self.recent[bisect_left(BOUNDS_S, seconds)] += 1

    def rotate(self) -> None:
        """Forget the older half of the latency window; called about every 30 s."""
        self._older, self.recent = self.recent, [0] * (len(BOUNDS_S) + 1)

    def quantile(self, q: float) -> float | None:
        """Quantile over the last 30 to 60 seconds, in seconds."""
        return quantile(self.window(), q)

    def window(self) -> list[int]:
        """Bucket counts of the last 30 to 60 seconds."""
        return list(map(add, self.recent, self._older))


class Metrics:
    """The numbers of one gateway process that belong to no route or endpoint."""

    def __init__(self) -> None:
        self.errors: defaultdict[str, int] = defaultdict(int)
        self.auth_failures: defaultdict[str, int] = defaultdict(int)
        self.retries: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.hedges: defaultdict[str, int] = defaultdict(int)
        """Second attempts beside a slow first one, by service."""
        self.rate_limited: defaultdict[str, int] = defaultdict(int)
        """By route."""
        self.rate_limit_store_state = "up"
        """``down`` while limits are counted by each gateway alone, or not at all."""
        self.discovery_updates: defaultdict[str, int] = defaultdict(int)
        self.discovery_errors: defaultdict[str, int] = defaultdict(int)
        self.routes: dict[tuple[str, str], RouteSeries] = {}
        self.upstream_duration: dict[str, Histogram] = {}
        self.route_counts: Counter[tuple[str, str]] = Counter()
        """(source, ``active`` or ``disabled``) -> how many routes."""
        self.config_key_state: str | None = None
        """None where no key of the registry's store is watched."""
        self.discovery_slots: int | None = None
        """Blocking reads as Consul's agents count them; None without Consul."""
        self.discovery_swept = False
        self.spans: dict[str, int] = {}
        """By what has become of them (`span_export.OUTCOMES`); empty where nothing is traced."""
        self.pids: Sequence[int | str] = ("self",)
        """The processes of the gateway."""
        self.requests_active = 0
        self.connections_accepted = 0
        self.loop_lag_s = 0.0

    def route(self, route: str, service: str) -> RouteSeries:
        """The series of a route; made once, kept for as long as there is the route."""
        series = self.routes.get((route, service))
        if series is None:
            series = self.routes[route, service] = RouteSeries(route, service)
        return series

    def keep_routes(self, labels: Collection[str]) -> None:
        """Forget the series of all other routes."""
        self.routes = {name: series for name, series in self.routes.items() if name[0] in labels}
        for label in self.rate_limited.keys() - set(labels):
            del self.rate_limited[label]

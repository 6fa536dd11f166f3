"""Plain numbers, written by the data plane and read at scrape time.

No library is called on the request path: a prometheus child's ``inc()`` costs half a microsecond. And nothing is
worked out there: samples are put on a list, and whoever looks counts them first, many at once, as does the sweep when
nobody looks. `telemetry.exposition` turns these numbers into text.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from operator import add
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histograms' buckets, in seconds; one more bucket holds the rest."""

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"))
"""Methods that may become a label value; all others are counted as ``other``, or a client could make up series."""

METHOD_LABELS = {method.encode(): method for method in METHODS}


UNROUTED = ""
"""The route of requests that have none: an empty label is to Prometheus one that is not there."""

ANSWERED = "ok"
"""The outcome of nearly all attempts, `balancers.endpoint.Outcome.OK`."""

FEW = 16
"""Up to so many samples are counted one by one; more are sorted, and each bound is looked for among them."""


def count_into(counts: list[int], samples: list[float]) -> float:
    """Add `samples` (seconds, in any order; sorted afterwards) to bucket counts; returns their sum."""
    if len(samples) <= FEW:
        for seconds in samples:
            counts[bisect_left(BOUNDS_S, seconds)] += 1
    else:
        samples.sort()
        start = 0
        for index, bound in enumerate(BOUNDS_S):
            end = bisect_right(samples, bound, start)
            counts[index] += end - start
            start = end
        counts[-1] += len(samples) - start
    return sum(samples)


BY_ORDER = "operator"
"""The reason of an ejection that nobody's failures have brought."""


class Histogram:
    """Counts per bucket of `BOUNDS_S` (not cumulative) and the sum, in seconds."""

    __slots__ = ("_counts", "_sum_s", "fresh")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum_s = 0.0
        self.fresh: list[float] = []
        """Samples that are not counted yet: ``fresh.append`` is all that the request path does."""

    def settle(self) -> None:
        """Count what is fresh."""
        if self.fresh:
            self._sum_s += count_into(self._counts, self.fresh)
            self.fresh.clear()

    @property
    def counts(self) -> list[int]:
        self.settle()
        return self._counts

    @property
    def sum_s(self) -> float:
        self.settle()
        return self._sum_s

    def add(self, steps: Iterable[Sequence[int]], seconds: float) -> None:
        """Add what others have counted: pairs of a bucket's index and how many are in it, and the sum of their seconds."""
        for index, count in steps:
            self._counts[index] += count
        self._sum_s += seconds

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
    """What one route has answered, for one service."""

    __slots__ = ("_requests", "duration", "fresh", "route", "service")

    def __init__(self, route: str, service: str) -> None:
        self.route = route
        self.service = service
        self._requests: Counter[tuple[str, int]] = Counter()
        self.fresh: list[tuple[str, int]] = []
        """(method, status) of exchanges that are not counted yet. Methods must be bounded: those of `METHODS`, or ``other``."""
        self.duration = Histogram()

    def settle(self) -> None:
        """Count what is fresh."""
        if self.fresh:
            self._requests.update(self.fresh)
            self.fresh.clear()
        self.duration.settle()

    @property
    def requests(self) -> Counter[tuple[str, int]]:
        """(method, status) -> count."""
        self.settle()
        return self._requests


class EndpointSeries:
    """What one endpoint has done. Dropped with the endpoint, so that its series disappear."""

    __slots__ = ("_older", "_outcomes", "_recent", "_seconds_sum", "answered", "ejections", "failures", "last_error")

    def __init__(self) -> None:
        self.failures = 0
        self.ejections: dict[str, int] = {}
        """By reason."""
        self.answered: list[float] = []
        """Attempts with the outcome `ANSWERED` that are not counted yet: seconds from sending to the response head."""
        self._outcomes: defaultdict[str, int] = defaultdict(int)
        self._seconds_sum = 0.0
        self._recent = [0] * (len(BOUNDS_S) + 1)
        self._older = [0] * (len(BOUNDS_S) + 1)
        self.last_error: str | None = None

    def record(self, outcome: str, seconds: float) -> None:
        """Count one attempt; `seconds` from sending to the response head or the failure."""
        self._outcomes[outcome] += 1
        self._seconds_sum += seconds
        self._recent[bisect_left(BOUNDS_S, seconds)] += 1

    def settle(self) -> None:
        """Count those that were answered."""
        if self.answered:
            self._outcomes[ANSWERED] += len(self.answered)
            self._seconds_sum += count_into(self._recent, self.answered)
            self.answered.clear()

    def add(self, outcomes: Mapping[str, int], steps: Iterable[Sequence[int]], seconds: float) -> None:
        """Add what others have counted; `steps` as for `Histogram.add`."""
        for outcome, count in outcomes.items():
            self._outcomes[outcome] += count
        for index, count in steps:
            self._recent[index] += count
        self._seconds_sum += seconds

    @property
    def outcomes(self) -> Mapping[str, int]:
        self.settle()
        return self._outcomes

    @property
    def total(self) -> int:
        """All attempts that have ended."""
        return sum(self.outcomes.values())

    @property
    def seconds_sum(self) -> float:
        self.settle()
        return self._seconds_sum

    @property
    def recent(self) -> list[int]:
        """Bucket counts of the newer half of the latency window."""
        self.settle()
        return self._recent

    def rotate(self) -> None:
        """Forget the older half of the latency window; called about every 30 s."""
        self._older, self._recent = self.recent, [0] * (len(BOUNDS_S) + 1)

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

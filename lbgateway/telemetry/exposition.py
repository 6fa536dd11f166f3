"""Plain numbers to Prometheus text, at scrape time.

Text comes in slices: 20,000 endpoints make 120,000 lines, close to a second of work, and the event
loop that calls this also forwards requests. Between two slices it may do so.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from balancers.endpoint import EndpointState
from discovery.errors import KINDS
from discovery.instance import SnapshotState
from lbgateway.telemetry.metrics import BOUNDS_S, EndpointSeries, Histogram, Metrics
from lbgateway.telemetry.process_numbers import process_families

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

SLICE_ENDPOINTS = 250
"""Endpoints per slice: 2 to 4 ms of work."""

INSTANCE_STATES = tuple(state.value for state in EndpointState if state is not EndpointState.GONE)
"""All of them are shown, zeros too: an alert on ``ready == 0`` needs the series to exist."""

CONFIG_KEY_STATES = ("unknown", "absent", "applied", "refused", "kept")

DISCOVERY_STATES = tuple(state.value for state in SnapshotState)

BREAKER_STATES = ("closed", "open", "half_open")

_LE = (*(f"{bound:g}" for bound in BOUNDS_S), "+Inf")


@dataclass(frozen=True, slots=True)
class EndpointNumbers:
    """One endpoint now. ``unique_id`` (such as ``node:id``) is the label where two nodes own the same ``id``."""

    id: str
    unique_id: str
    active: int
    idle_connections: int
    active_connections: int
    series: EndpointSeries


@dataclass(frozen=True, slots=True)
class ServiceNumbers:
    """One service now. ``states`` maps `EndpointState` values to counts; a missing state is 0."""

    name: str
    endpoints: Sequence[EndpointNumbers]
    states: Mapping[str, int]
    duration: Histogram
    """From sending an attempt to its response head."""
    breaker: str
    """One of `BREAKER_STATES`."""
    discovery_state: str | None
    discovery_age_s: float | None


class MetricsView(Protocol):
    """Where the numbers come from. Neither read may wait."""

    @property
    def version(self) -> str: ...

    @property
    def metrics(self) -> Metrics: ...

    def services(self) -> Sequence[ServiceNumbers]:
        """A copy: services come and go between two slices."""


def render(view: MetricsView) -> bytes:
    """The whole text at once, for small gateways and tests."""
    return b"".join(slices(view))


def slices(view: MetricsView) -> Iterator[bytes]:
    """The text in pieces of a few milliseconds each; their concatenation is the scrape's answer."""
    previous = ""
    for family in families(view):
        text = generate_latest(_One(family))
        if family.name == previous:
            _help, _type, text = text.split(b"\n", 2)
        previous = family.name
        yield text


class _One(Collector):
    """A registry of one family; a family may also be one part of a bigger one."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)


def families(view: MetricsView) -> Iterator[Metric]:
    """All metrics of the gateway. A family with a series per endpoint comes in parts, one after the other."""
    services = view.services()
    yield from _process(view)
    yield from _routes(view.metrics)
    yield from _services(view.metrics, services)
    known = [(service, _ambiguous(service.endpoints)) for service in services]
    for name, text, kind, labels, samples_of in _ENDPOINT_FAMILIES:
        yield from _by_endpoint(kind(name, text, labels=labels), _labelled(known), samples_of)


def _process(view: MetricsView) -> Iterator[Metric]:
    build, metrics = GaugeMetricFamily("lbgateway_build_info", "Always 1; the version is the label.", labels=["version"]), view.metrics
    build.add_metric([view.version], 1)
    yield build
    yield GaugeMetricFamily("lbgateway_requests_active", "Exchanges that have begun and not ended.", value=metrics.requests_active)
    yield GaugeMetricFamily("lbgateway_loop_lag_seconds", "How late the event loop's last timer ran.", value=metrics.loop_lag_s)
    yield CounterMetricFamily("lbgateway_connections_accepted", "Client connections accepted.", value=metrics.connections_accepted)
    yield from process_families(metrics.pids)
    yield from _configuration(metrics)
    yield _counts("lbgateway_errors", "Answers made by the gateway itself, by slug.", "reason", metrics.errors)
    yield _counts("lbgateway_auth_failures", "Requests refused for their credentials.", "reason", metrics.auth_failures)
    yield _counts("lbgateway_rate_limited", "Requests refused because their client had made too many.", "route", metrics.rate_limited)
    yield _counts("lbgateway_spans", "Spans of recorded traces, by what has become of them.", "outcome", metrics.spans)
    text = "1 for whether the store of limits answers; in memory it always does."
    yield _one_of("lbgateway_rate_limit_store_state", text, ("up", "down"), metrics.rate_limit_store_state)
    errors = {**dict.fromkeys(KINDS, 0), **metrics.discovery_errors}
    if metrics.discovery_slots is not None:
        slots = "Blocking reads as Consul's agents count them: those that were given up, too, until their wait is over."
        yield GaugeMetricFamily("lbgateway_discovery_slots_in_use", slots, value=metrics.discovery_slots)
        swept = "1 while there are more services than blocking reads, and all of them are swept."
        yield GaugeMetricFamily("lbgateway_discovery_swept", swept, value=metrics.discovery_swept)
    yield _counts("lbgateway_discovery_errors", "Failures of discovery; what is known stays known.", "kind", errors)


def _configuration(metrics: Metrics) -> Iterator[Metric]:
    routes = GaugeMetricFamily("lbgateway_routes", "Routes by where they come from.", labels=["source", "state"])
    for labels, count in sorted(metrics.route_counts.items()):
        routes.add_metric(labels, count)
    yield routes
    if metrics.config_key_state is not None:
        text = "1 for what became of the key of the registry's store."
        yield _one_of("lbgateway_config_key_state", text, CONFIG_KEY_STATES, metrics.config_key_state)


def _one_of(name: str, text: str, states: Iterable[str], now: str) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["state"])
    for state in states:
        family.add_metric([state], state == now)
    return family


def _counts(name: str, text: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def _routes(metrics: Metrics) -> Iterator[Metric]:
    text = "Requests by how they were answered; the route of those that none takes is empty."
    requests = CounterMetricFamily("lbgateway_requests", text, labels=["route", "service", "method", "status"])
    duration = HistogramMetricFamily(
        "lbgateway_request_duration_seconds", "From the request's head to the end of the exchange.", labels=["route", "service"]
    )
    for series in metrics.routes.values():
        labels = [series.route, series.service]
        for (method, status), count in sorted(series.requests.items()):
            requests.add_metric([*labels, method, str(status)], count)
        _add_histogram(duration, labels, series.duration)
    yield requests
    yield duration


def _add_histogram(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    cumulative, buckets = 0, []
    for bound, count in zip(_LE, histogram.counts, strict=True):
        cumulative += count
        buckets.append((bound, float(cumulative)))
    family.add_metric(labels, buckets, histogram.sum_s)


def _services(metrics: Metrics, services: Sequence[ServiceNumbers]) -> Iterator[Metric]:
    retries = CounterMetricFamily("lbgateway_retries", "Attempts after the first of an exchange.", labels=["service", "reason"])
    for labels, count in sorted(metrics.retries.items()):
        retries.add_metric(labels, count)
    yield retries
    hedged = {service.name: metrics.hedges.get(service.name, 0) for service in services}
    yield _counts("lbgateway_hedges", "Second attempts beside a slow first one.", "service", hedged)
    duration = HistogramMetricFamily("lbgateway_upstream_duration_seconds", "Attempts, to their response head.", labels=["service"])
    instances = GaugeMetricFamily("lbgateway_instances", "Instances by what the gateway thinks of them.", labels=["service", "state"])
    state = GaugeMetricFamily("lbgateway_discovery_state", "1 for what the last snapshot is worth.", labels=["service", "state"])
    breaker = GaugeMetricFamily("lbgateway_breaker_state", "1 for the state of the service's circuit breaker.", labels=["service", "state"])
    age = GaugeMetricFamily("lbgateway_discovery_age_seconds", "Since the last good answer of the registry.", labels=["service"])
    for service in services:
        _add_histogram(duration, [service.name], service.duration)
        for name in INSTANCE_STATES:
            instances.add_metric([service.name, name], service.states.get(name, 0))
        for name in DISCOVERY_STATES:
            state.add_metric([service.name, name], name == service.discovery_state)
        for name in BREAKER_STATES:
            breaker.add_metric([service.name, name], name == service.breaker)
        if service.discovery_age_s is not None:
            age.add_metric([service.name], service.discovery_age_s)
    yield from (duration, instances, breaker, state, age)
    updates = {service.name: metrics.discovery_updates.get(service.name, 0) for service in services}
    yield _counts("lbgateway_discovery_updates", "Snapshots that changed something.", "service", updates)


def _ambiguous(endpoints: Sequence[EndpointNumbers]) -> frozenset[str]:
    """The ids that name more than one endpoint. Prometheus refuses a whole scrape for two series with the same labels."""
    ids = [endpoint.id for endpoint in endpoints]
    if len(set(ids)) == len(ids):
        return frozenset()
    return frozenset(each for each, count in Counter(ids).items() if count > 1)


def _labelled(services: Iterable[tuple[ServiceNumbers, frozenset[str]]]) -> Iterator[tuple[str, str, EndpointNumbers]]:
    for service, ambiguous in services:
        for endpoint in service.endpoints:
            yield service.name, endpoint.unique_id if endpoint.id in ambiguous else endpoint.id, endpoint


def _by_endpoint(
    family: CounterMetricFamily | GaugeMetricFamily,
    endpoints: Iterator[tuple[str, str, EndpointNumbers]],
    samples_of: Callable[[EndpointNumbers], Iterable[tuple[tuple[str, ...], float]]],
) -> Iterator[Metric]:
    """The family in parts of `SLICE_ENDPOINTS` endpoints; at least one part, for its HELP and TYPE."""
    part = list(islice(endpoints, SLICE_ENDPOINTS))
    while True:
        for service, label, numbers in part:
            for more, value in samples_of(numbers):
                family.add_metric([service, label, *more], value)
        yield family
        part = list(islice(endpoints, SLICE_ENDPOINTS))
        if not part:
            return
        family.samples = []


def _outcomes(endpoint: EndpointNumbers) -> Iterable[tuple[tuple[str, ...], float]]:
    return [((outcome,), count) for outcome, count in sorted(endpoint.series.outcomes.items())]


def _ejections(endpoint: EndpointNumbers) -> Iterable[tuple[tuple[str, ...], float]]:
    return [((why,), count) for why, count in sorted(endpoint.series.ejections.items())]


def _seconds(endpoint: EndpointNumbers) -> Iterable[tuple[tuple[str, ...], float]]:
    return (((), endpoint.series.seconds_sum),)


def _active(endpoint: EndpointNumbers) -> Iterable[tuple[tuple[str, ...], float]]:
    return (((), endpoint.active),)


def _connections(endpoint: EndpointNumbers) -> Iterable[tuple[tuple[str, ...], float]]:
    return ((("idle",), endpoint.idle_connections), (("active",), endpoint.active_connections))


_ENDPOINT_FAMILIES = (
    (
        "lbgateway_upstream_requests",
        "Attempts by how they ended.",
        CounterMetricFamily,
        ["service", "endpoint", "outcome"],
        _outcomes,
    ),
    (
        "lbgateway_ejections",
        "Times an instance was taken out: because requests to it failed, or by an `operator`.",
        CounterMetricFamily,
        ["service", "endpoint", "reason"],
        _ejections,
    ),
    (
        "lbgateway_upstream_seconds",
        "Time spent in attempts, each to its response head or its failure.",
        CounterMetricFamily,
        ["service", "endpoint"],
        _seconds,
    ),
    ("lbgateway_upstream_active", "Attempts under way.", GaugeMetricFamily, ["service", "endpoint"], _active),
    ("lbgateway_upstream_connections", "Open connections.", GaugeMetricFamily, ["service", "endpoint", "state"], _connections),
)

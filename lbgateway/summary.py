"""What the instances of a service come to, for those who look every other second and cannot read 20,000 of them."""

from __future__ import annotations

from itertools import chain
from operator import add
from typing import TYPE_CHECKING

from lbgateway.controlplane.port import ServiceHead, ServiceSummary
from lbgateway.telemetry.metrics import BOUNDS_S, quantile

if TYPE_CHECKING:
    from lbgateway.dataplane.upstream import Upstream


def service_summary(head: ServiceHead, upstream: Upstream) -> ServiceSummary:
    """`head` and the sums over all endpoints, those included that left and still finish what runs."""
    states: dict[str, int] = {}
    active = ejections = 0
    window = [0] * (len(BOUNDS_S) + 1)
    for endpoint in chain(upstream.endpoints.endpoints.values(), upstream.endpoints.leaving.values()):
        series, state = endpoint.series, endpoint.state.value
        states[state] = states.get(state, 0) + 1
        active += endpoint.active
        if series.ejections:
            ejections += sum(series.ejections.values())
        if series.total:
            window = list(map(add, window, series.window()))
    return ServiceSummary(
        **head,
        states=states,
        active_requests=active,
        requests_total=upstream.requests_total,
        failures_total=upstream.failures_total,
        ejections_total=ejections,
        latency_ms={"p50": _milliseconds(quantile(window, 0.5)), "p99": _milliseconds(quantile(window, 0.99))},
    )


def _milliseconds(seconds: float | None) -> float | None:
    return round(seconds * 1000, 3) if seconds is not None else None

"""The gateway as its operators see it: `GatewayPort` over the live objects. Everything answers from memory, at once."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from balancers.endpoint import EndpointState
from lbgateway import __version__
from lbgateway.controlplane.port import DiscoveryView, InstanceView, ServiceHead
from lbgateway.telemetry.exposition import EndpointNumbers, ServiceNumbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lbgateway.controlplane.port import InstanceOrder, RouteView
    from lbgateway.dataplane.upstream import GatewayEndpoint, Upstream
    from lbgateway.runtime import Gateway
    from lbgateway.telemetry.metrics import Metrics

PICKABLE = {
    EndpointState.READY: "ready: takes its share",
    EndpointState.WARMING: "warming up: takes a growing share",
    EndpointState.SUSPECT: "suspect: picked only when no ready instance is left",
}
NOT_PICKABLE = {
    EndpointState.CRITICAL: "a health check in the registry is critical",
    EndpointState.MAINTENANCE: "in maintenance by an operator's order in the registry",
    EndpointState.DRAINING: "draining: finishes what runs, gets nothing new",
    EndpointState.GONE: "deregistered: finishes what runs, gets nothing new",
}


class GatewayView:
    """Implements `controlplane.port.GatewayPort`, and the numbers behind ``/metrics``."""

    version = __version__

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._started_s = time.monotonic()

    def uptime_s(self) -> float:
        return time.monotonic() - self._started_s

    def workers(self) -> int:
        return 1

    def draining(self) -> bool:
        return self._gateway.plane.draining

    def discovery(self) -> DiscoveryView:
        status = self._gateway.registry.status()
        return DiscoveryView(
            provider=self._gateway.settings.discovery.provider,
            state=status.state.value if status.state is not None else None,
            age_seconds=round(status.age_s, 3) if status.age_s is not None else None,
            last_error=status.last_error,
        )

    def required_services(self) -> list[str]:
        return list(self._gateway.settings.health.required)

    def routes(self) -> list[RouteView]:
        return self._gateway.plane.routes.describe()

    def unexposed(self) -> list[str]:
        return sorted(self._gateway.registry.unexposed())

    def config(self) -> dict[str, Any]:
        return self._gateway.settings.masked()

    # -- services ------------------------------------------------------------------------------

    def service_names(self) -> list[str]:
        return sorted(self._gateway.plane.upstreams)

    def service(self, name: str) -> ServiceHead | None:
        upstream = self._gateway.plane.upstreams.get(name)
        if upstream is None:
            return None
        snapshot = upstream.snapshot
        return ServiceHead(
            name=name,
            balancer=upstream.balancer_name,
            discovery_state=snapshot.state.value if snapshot is not None else None,
            discovery_index=snapshot.index if snapshot is not None else None,
            panic=False,
            breaker={"state": "closed", "failure_ratio": 0.0},
            requests_per_second=round(upstream.requests_per_second, 3),
            retry_budget={"available": None, "spent_total": self._retries_of(name)},
        )

    def _retries_of(self, name: str) -> int:
        return sum(count for (service, _reason), count in self._gateway.plane.metrics.retries.items() if service == name)

    def state_counts(self, name: str) -> Mapping[str, int]:
        upstream = self._gateway.plane.upstreams.get(name)
        return Counter(endpoint.state.value for endpoint in upstream.endpoints.endpoints.values()) if upstream is not None else {}

    def instances(self, name: str, *, state: str | None = None, after: InstanceOrder | None = None) -> Iterator[InstanceView]:
        upstream = self._gateway.plane.upstreams.get(name)
        if upstream is None:
            return
        scheme = self._gateway.settings.service(name).scheme
        for endpoint in sorted(known_endpoints(upstream), key=order_of):
            if (state is None or endpoint.state.value == state) and (after is None or order_of(endpoint) > after):
                yield instance_view(endpoint, scheme)

    def explain(self, name: str) -> dict[str, Any] | None:
        upstream, head = self._gateway.plane.upstreams.get(name), self.service(name)
        if upstream is None or head is None:
            return None
        now_s, scheme = time.monotonic(), self._gateway.settings.service(name).scheme
        instances = [self._explained(upstream, endpoint, scheme, now_s) for endpoint in sorted(known_endpoints(upstream), key=order_of)]
        return {**head, "instances": instances}

    def _explained(self, upstream: Upstream, endpoint: GatewayEndpoint, scheme: str, now_s: float) -> dict[str, Any]:
        pickable = endpoint in upstream.endpoints.ready or endpoint in upstream.endpoints.suspects
        why = PICKABLE.get(endpoint.state) if pickable else NOT_PICKABLE.get(endpoint.state)
        why = why or f"{endpoint.state.value}: gets no new requests"
        if endpoint.reason:
            why = f"{why} ({endpoint.reason})"
        cost = upstream.endpoints.balancer.cost(endpoint, now_s) if pickable else None
        return {**instance_view(endpoint, scheme), "pickable": pickable, "why": why, "cost": cost}

    # -- numbers -------------------------------------------------------------------------------

    def metrics(self) -> Numbers:
        return Numbers(self._gateway)


class Numbers:
    """Implements `telemetry.exposition.MetricsView`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @property
    def version(self) -> str:
        return __version__

    @property
    def metrics(self) -> Metrics:
        metrics = self._gateway.plane.metrics
        metrics.requests_active = len(self._gateway.plane.active)
        return metrics

    def services(self) -> Sequence[ServiceNumbers]:
        now_s = time.monotonic()
        return [service_numbers(upstream, now_s) for _, upstream in sorted(self._gateway.plane.upstreams.items())]


def service_numbers(upstream: Upstream, now_s: float) -> ServiceNumbers:
    """What a scrape tells of one service."""
    snapshot = upstream.snapshot
    endpoints = [
        EndpointNumbers(
            id=endpoint.id,
            unique_id=f"{node_of(endpoint)}:{endpoint.id}",
            active=endpoint.active,
            idle_connections=len(endpoint.pool.idle),
            active_connections=endpoint.pool.active,
            series=endpoint.series,
        )
        for endpoint in upstream.endpoints.endpoints.values()
    ]
    return ServiceNumbers(
        name=upstream.name,
        endpoints=endpoints,
        states=Counter(endpoint.state.value for endpoint in upstream.endpoints.endpoints.values()),
        duration=upstream.duration,
        discovery_state=snapshot.state.value if snapshot is not None else None,
        discovery_age_s=now_s - snapshot.confirmed_at_s if snapshot is not None else None,
    )


def known_endpoints(upstream: Upstream) -> list[GatewayEndpoint]:
    """All endpoints, those included that left and still finish what runs."""
    return [*upstream.endpoints.endpoints.values(), *upstream.endpoints.leaving.values()]


def node_of(endpoint: GatewayEndpoint) -> str:
    return endpoint.instance.key.node


def order_of(endpoint: GatewayEndpoint) -> InstanceOrder:
    return (endpoint.id, node_of(endpoint))


def instance_view(endpoint: GatewayEndpoint, scheme: str) -> InstanceView:
    """One instance, whole (the contract, section 6)."""
    instance, series = endpoint.instance, endpoint.series
    return InstanceView(
        id=endpoint.id,
        node=node_of(endpoint),
        address=instance.address,
        port=instance.port,
        scheme=scheme,
        weight=endpoint.weight,
        tags=list(instance.tags),
        meta=dict(instance.meta),
        zone=instance.zone,
        state=endpoint.state.value,
        reason=endpoint.reason,
        since=moment(endpoint.since_s),
        consul_status=instance.consul_status,
        active_requests=endpoint.active,
        requests_total=series.total,
        failures_total=series.failures,
        latency_ewma_ms=milliseconds(endpoint.latency_s or None),
        latency_ms={"p50": milliseconds(series.quantile(0.5)), "p99": milliseconds(series.quantile(0.99))},
        connections={"idle": len(endpoint.pool.idle), "active": endpoint.pool.active},
        ejections_total=series.ejections,
        ejected_until=None,
        last_error=series.last_error,
    )


def milliseconds(seconds: float | None) -> float | None:
    return round(seconds * 1000, 3) if seconds is not None else None


def moment(at_s: float) -> str:
    """A monotonic moment as UTC, RFC 3339."""
    wall_s = time.time() - (time.monotonic() - at_s)
    return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

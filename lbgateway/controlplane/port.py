"""What the control plane may see of the gateway: data out, a few verbs in. No data-plane types cross.

The composition root implements `GatewayPort`; the FastAPI application knows nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lbgateway.telemetry.exposition import MetricsView

InstanceOrder = tuple[str, str]
"""What instances are sorted by: id, then node."""


class DiscoveryView(TypedDict):
    provider: str
    state: str | None
    age_seconds: float | None
    last_error: str | None


class ConnectionsView(TypedDict):
    idle: int
    active: int


class InstanceView(TypedDict):
    """One instance as `/admin/upstreams` shows it (the contract, section 6)."""

    id: str
    node: str
    address: str
    port: int
    scheme: str
    weight: float
    tags: list[str]
    meta: dict[str, str]
    zone: str | None
    state: str
    reason: str | None
    since: str
    consul_status: str
    active_requests: int
    requests_total: int
    failures_total: int
    latency_ewma_ms: float | None
    latency_ms: dict[str, float | None]
    connections: ConnectionsView
    ejections_total: int
    ejected_until: str | None
    last_error: str | None


class ServiceHead(TypedDict):
    """One service without its instances, of which there may be 20,000."""

    name: str
    balancer: str
    discovery_state: str | None
    discovery_index: int | None
    panic: bool
    breaker: dict[str, Any]
    requests_per_second: float
    retry_budget: dict[str, Any]


class ServiceView(ServiceHead):
    instances: list[InstanceView]


class RouteView(TypedDict):
    """One compiled route, where it came from, and what is wrong with it, if anything."""

    host: str | None
    prefix: str
    methods: list[str] | None
    headers: dict[str, str]
    service: str | None
    strip_prefix: bool
    add_prefix: str | None
    redirect: dict[str, Any] | None
    auth: str
    source: str
    error: str | None


class GatewayPort(Protocol):
    """The gateway as seen by its operators. All of it answers from memory, at once."""

    version: str

    def uptime_s(self) -> float: ...

    def workers(self) -> int: ...

    def draining(self) -> bool: ...

    def discovery(self) -> DiscoveryView: ...

    def service_names(self) -> list[str]:
        """All services that have an upstream, sorted."""

    def service(self, name: str) -> ServiceHead | None:
        """The service without its instances; None if it has no upstream."""

    def state_counts(self, name: str) -> Mapping[str, int]:
        """How many endpoints are in each state (`EndpointState` values); empty for an unknown service.

        Asked for every service with every health check, so it must not build views.
        """

    def instances(self, name: str, *, state: str | None = None, after: InstanceOrder | None = None) -> Iterator[InstanceView]:
        """The instances sorted by `InstanceOrder`, built one by one as they are asked for.

        Only those in `state`, and only those that come after `after`. The iterator works on a copy
        of the endpoints: others run between two of its steps, and may add or remove some.
        """

    def explain(self, name: str) -> dict[str, Any] | None:
        """`ServiceView` plus, per instance, ``pickable``, ``why`` and ``cost``."""

    def unexposed(self) -> list[str]:
        """Registered services that no route may reach, sorted."""

    def routes(self) -> list[RouteView]: ...

    def config(self) -> dict[str, Any]:
        """The effective configuration, secrets masked."""

    def metrics(self) -> MetricsView:
        """The numbers behind ``/metrics``."""

    def required_services(self) -> list[str]:
        """``health.required``."""

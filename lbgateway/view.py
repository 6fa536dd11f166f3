"""The gateway as its operators see it: `GatewayPort` over the live objects. Everything answers from memory, at once."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from math import isfinite
from typing import TYPE_CHECKING, Any

from discovery import ConsulSource
from lbgateway import __version__
from lbgateway.controlplane.port import AuthorityView, DiscoveryView, KeysView, RedisView, ServiceHead, command_facts
from lbgateway.dataplane.compiling import route_view
from lbgateway.instance_views import explained_view, instance_view, milliseconds, node_of, order_of
from lbgateway.summary import service_summary
from lbgateway.telemetry.exposition import EndpointNumbers, ServiceNumbers
from lbgateway.telemetry.metrics import BY_ORDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from discovery.instance import Snapshot
    from lbgateway.authorities.asking import Asking
    from lbgateway.controlplane.port import Command, ExplainedView, InstanceOrder, InstanceView, ServiceSummary
    from lbgateway.controlplane.route_views import ConfigKeyView, RouteView
    from lbgateway.dataplane.upstream import GatewayEndpoint, Upstream
    from lbgateway.runtime import Gateway
    from lbgateway.telemetry.events import Events
    from lbgateway.telemetry.metrics import Metrics


class GatewayView:
    """Implements `controlplane.port.GatewayPort`, and the numbers behind ``/metrics``."""

    version = __version__

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._started_s = time.monotonic()
        self.id = secrets.token_hex(4)

    def uptime_s(self) -> float:
        return time.monotonic() - self._started_s

    def workers(self) -> int:
        return 1

    def draining(self) -> bool:
        return self._gateway.leaving or self._gateway.plane.draining

    def discovery(self) -> DiscoveryView:
        status = self._gateway.registry.status()
        return DiscoveryView(
            provider=self._gateway.settings.discovery.provider,
            state=status.state.value if status.state is not None else None,
            age_seconds=round(status.age_s, 3) if status.age_s is not None else None,
            last_error=status.last_error,
        )

    def redis(self) -> RedisView | None:
        return self._gateway.limiter.view()

    def published_keys(self) -> KeysView | None:
        source = self._gateway.authentication.jwks
        return None if source is None else KeysView(state="fresh" if source.fresh else "stale", known=len(source.keys))

    def authorities(self) -> dict[str, AuthorityView]:
        return {name: authority_view(asking) for name, asking in self._gateway.authentication.authorities().items()}

    def required_services(self) -> list[str]:
        return list(self._gateway.settings.health.required)

    def routes(self) -> list[RouteView]:
        settings, refused = self._gateway.settings, self._gateway.composition.refused
        wrong = [route_view(settings, each.route, each.source, each.error, each.tag) for each in refused]
        return [*self._gateway.plane.routes.describe(), *wrong]

    def config_key(self) -> ConfigKeyView | None:
        stored = self._gateway.composer.stored
        return None if stored is None else stored.view()

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
        snapshot = newest_of(self._gateway, upstream)
        return ServiceHead(
            name=name,
            balancer=upstream.balancer_name,
            discovery_state=snapshot.state.value if snapshot is not None else None,
            discovery_index=(snapshot.index or None) if snapshot is not None else None,
            panic=upstream.endpoints.panic,
            breaker=breaker_view(upstream),
            requests_per_second=round(upstream.requests_per_second, 3),
            retry_budget={"available": self.tokens_of(upstream), "spent_total": self._spent_on(name)},
            hedge=hedge_view(upstream, self._gateway.plane.metrics.hedges.get(name, 0)),
        )

    def summary(self, name: str) -> ServiceSummary | None:
        head, upstream = self.service(name), self._gateway.plane.upstreams.get(name)
        return None if head is None or upstream is None else service_summary(head, upstream)

    def tokens_of(self, upstream: Upstream) -> int:
        """How many retries the service's budget has tokens for."""
        retry = self._gateway.settings.service(upstream.name).retry
        budget = upstream.retry_budget(retry.budget, float(retry.min_per_second))
        budget.deposit(upstream.requests_total, time.monotonic())
        return int(budget.tokens)

    def _spent_on(self, name: str) -> int:
        """How many retries and hedges it has paid for."""
        metrics = self._gateway.plane.metrics
        return metrics.hedges.get(name, 0) + sum(count for (service, _reason), count in metrics.retries.items() if service == name)

    def state_counts(self, name: str) -> Mapping[str, int]:
        upstream = self._gateway.plane.upstreams.get(name)
        return Counter(endpoint.state.value for endpoint in upstream.endpoints.endpoints.values()) if upstream is not None else {}

    def instances(
        self, name: str, *, state: str | None = None, after: InstanceOrder | None = None, only: str | None = None
    ) -> Iterator[InstanceView]:
        scheme, orders = self._gateway.settings.service(name).scheme, self._gateway.plane.orders[name]
        for endpoint in self._endpoints(name, state, after, only):
            yield instance_view(endpoint, scheme, orders.get(endpoint.instance.key))

    def _endpoints(self, name: str, state: str | None, after: InstanceOrder | None, only: str | None) -> Iterator[GatewayEndpoint]:
        upstream = self._gateway.plane.upstreams.get(name)
        for endpoint in sorted(known_endpoints(upstream), key=order_of) if upstream is not None else ():
            wanted = only is None or only in (endpoint.id, f"{node_of(endpoint)}:{endpoint.id}")
            if wanted and (state is None or endpoint.state.value == state) and (after is None or order_of(endpoint) > after):
                yield endpoint

    def explain(
        self, name: str, *, state: str | None = None, after: InstanceOrder | None = None, only: str | None = None
    ) -> Iterator[ExplainedView]:
        upstream = self._gateway.plane.upstreams.get(name)
        if upstream is None:
            return
        now_s, scheme = time.monotonic(), self._gateway.settings.service(name).scheme
        # Looked up once: asking the tuple for each of 20,000 takes seconds.
        pickable = {id(endpoint) for group in (upstream.endpoints.ready, upstream.endpoints.suspects) for endpoint in group}
        for endpoint in self._endpoints(name, state, after, only):
            yield explained_view(endpoint, upstream, scheme, now_s, pickable=id(endpoint) in pickable)

    # -- actions -------------------------------------------------------------------------------

    def act(self, name: str, instance: str, command: Command) -> ExplainedView | list[str]:
        upstream, now_s = self._gateway.plane.upstreams.get(name), time.monotonic()
        known = upstream.endpoints.endpoints.values() if upstream is not None else ()
        called = [each for each in known if instance in (each.id, f"{node_of(each)}:{each.id}")]
        names = sorted({f"{node_of(each)}:{each.id}" for each in called})
        if upstream is None or len(names) != 1:
            return names
        for endpoint in called:
            before = upstream.orders.get(endpoint.instance.key)
            if command.verb == "eject" and (before is None or before.ejected_by is None):
                endpoint.series.ejections[BY_ORDER] = endpoint.series.ejections.get(BY_ORDER, 0) + 1
            upstream.obey(endpoint, command, now_s)
        who = {"service": name, "instance": called[0].id, "node": node_of(called[0]), "by": command.by}
        self._gateway.plane.events.tell("operator", **command_facts(command), **who)
        return next(self.explain(name, only=names[0]))

    def events(self) -> Events:
        return self._gateway.plane.events

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
        composition, stored = self._gateway.composition, self._gateway.composer.stored
        metrics.route_counts = Counter((source, "active") for source in composition.sources)
        metrics.route_counts |= Counter((each.source, "disabled") for each in composition.refused if each.tag is None)
        metrics.rate_limit_store_state = (self._gateway.limiter.view() or {"state": "up"})["state"]
        metrics.config_key_state = None if stored is None else stored.state
        source = self._gateway.source
        if isinstance(source, ConsulSource):
            metrics.discovery_slots, metrics.discovery_swept = source.agents.slots_in_use(), not source.fan_in.direct
        return metrics

    def services(self) -> Sequence[ServiceNumbers]:
        now_s, upstreams = time.monotonic(), sorted(self._gateway.plane.upstreams.items())
        return [service_numbers(upstream, newest_of(self._gateway, upstream), now_s) for _, upstream in upstreams]


def newest_of(gateway: Gateway, upstream: Upstream) -> Snapshot | None:
    """The registry's newest: an upstream is told of changes only, not of each confirmation."""
    return gateway.registry.snapshot(upstream.name) or upstream.snapshot


def service_numbers(upstream: Upstream, snapshot: Snapshot | None, now_s: float) -> ServiceNumbers:
    """What a scrape tells of one service."""
    endpoints = [
        EndpointNumbers(endpoint.id, f"{node_of(endpoint)}:{endpoint.id}", endpoint.active, *endpoint.connections(), endpoint.series)
        for endpoint in upstream.endpoints.endpoints.values()
    ]
    return ServiceNumbers(
        name=upstream.name,
        endpoints=endpoints,
        states=Counter(endpoint.state.value for endpoint in upstream.endpoints.endpoints.values()),
        duration=upstream.duration,
        breaker=upstream.breaker.state.value,
        discovery_state=snapshot.state.value if snapshot is not None else None,
        discovery_age_s=max(0.0, now_s - snapshot.confirmed_at_s) if snapshot is not None else None,
    )


def known_endpoints(upstream: Upstream) -> list[GatewayEndpoint]:
    """All endpoints, those included that left and still finish what runs."""
    return [*upstream.endpoints.endpoints.values(), *upstream.endpoints.leaving.values()]


def breaker_view(upstream: Upstream) -> dict[str, Any]:
    """The state, and the share of recent exchanges that failed."""
    ratio = upstream.breaker.window.ratio(upstream.tried_total, upstream.failures_total)
    return {"state": upstream.breaker.state.value, "failure_ratio": round(ratio, 4)}


def authority_view(asking: Asking) -> AuthorityView:
    state = "unknown" if asking.answers is None else "up" if asking.answers else "down"
    return AuthorityView(store=asking.kind, state=state, last_error=asking.last_error)


def hedge_view(upstream: Upstream, hedges: int) -> dict[str, Any] | None:
    """After how long a second attempt begins now, and how many there have been; None where there are none."""
    if upstream.hedging is None:
        return None
    after_s = upstream.hedging.patience.after_s
    return {"after_ms": milliseconds(after_s) if isfinite(after_s) else None, "hedges_total": hedges}

"""A `GatewayPort` of a test's own: what it was given, it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from lbgateway.controlplane.port import (
    AuthorityView,
    Command,
    DiscoveryView,
    ExplainedView,
    InstanceOrder,
    InstanceView,
    KeysView,
    OrderView,
    RedisView,
    ServiceHead,
    ServiceSummary,
)
from lbgateway.controlplane.route_views import ConfigKeyView, RouteView
from lbgateway.telemetry.events import Events
from lbgateway.telemetry.exposition import ServiceNumbers
from lbgateway.telemetry.metrics import Metrics


def instance(id: str, *, node: str = "n1", state: str = "ready", **changes: Any) -> InstanceView:  # noqa: A002 the registry's word
    view: dict[str, Any] = {
        "id": id, "node": node, "address": "10.0.0.7", "port": 9001, "scheme": "http", "weight": 1, "tags": [], "meta": {}, "zone": None,
        "state": state, "reason": None, "since": "2026-01-01T00:00:00Z", "consul_status": "passing",
        "active_requests": 0, "requests_total": 10, "failures_total": 0, "latency_ewma_ms": 1.9, "latency_ms": {"p50": 1.5, "p99": 4.0},
        "connections": {"idle": 1, "active": 0}, "ejections_total": 0, "ejected_until": None, "last_error": None,
    }  # fmt: skip
    return InstanceView(**(view | changes))


def head(name: str) -> ServiceHead:
    return ServiceHead(
        name=name,
        balancer="ewma",
        discovery_state="fresh",
        discovery_index=182,
        panic=False,
        breaker={"state": "closed", "failure_ratio": 0.0},
        requests_per_second=12.0,
        retry_budget={"available": 10, "spent_total": 3},
        hedge=None,
    )


def route(prefix: str, service: str, **changes: Any) -> RouteView:
    view: dict[str, Any] = {
        "host": None, "prefix": prefix, "methods": None, "headers": {}, "service": service, "strip_prefix": False,
        "add_prefix": None, "redirect": None, "auth": "none", "scopes": [], "limit": None, "cors": None,
        "source": "file", "error": None, "tag": None,
    }  # fmt: skip
    return RouteView(**(view | changes))


class Numbers:
    """A `MetricsView` without services."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.metrics = Metrics()

    def services(self) -> list[ServiceNumbers]:
        return []


class FakeGateway:
    """Services by name with their instances; or only `counts`, where no instance is looked at."""

    version = "1.2.3"
    id = "9f3a0c11"

    def __init__(
        self,
        services: Mapping[str, list[InstanceView]] | None = None,
        *,
        counts: Mapping[str, Mapping[str, int]] | None = None,
        required: list[str] | None = None,
        unexposed: list[str] | None = None,
    ) -> None:
        self.known = dict(services or {})
        self.counts = dict(counts or {})
        self.required = required or []
        self.hidden = unexposed or []
        self.is_draining = False
        self.keys_view: KeysView | None = None
        self.redis_view: RedisView | None = None
        self.authority_views: dict[str, AuthorityView] = {}
        self.discovery_view = DiscoveryView(provider="consul", state="fresh", age_seconds=1.2, last_error=None)
        self.route_views: list[RouteView] = []
        self.key_view: ConfigKeyView | None = None
        self.numbers = Numbers(self.version)
        self.heads: dict[str, dict[str, Any]] = {}
        """What is otherwise with a service than `head` says."""
        self.orders: dict[str, OrderView] = {}
        """What operators want of an instance, by its id."""
        self.ring = Events(wall=lambda: 1.0)
        self.commands: list[tuple[str, Command]] = []
        self.built = 0
        """Instance views that were asked for."""

    def uptime_s(self) -> float:
        return 12.3456

    def workers(self) -> int:
        return 1

    def draining(self) -> bool:
        return self.is_draining

    def discovery(self) -> DiscoveryView:
        return self.discovery_view

    def redis(self) -> RedisView | None:
        return self.redis_view

    def published_keys(self) -> KeysView | None:
        return self.keys_view

    def authorities(self) -> dict[str, AuthorityView]:
        return self.authority_views

    def service_names(self) -> list[str]:
        return sorted({*self.known, *self.counts})

    def service(self, name: str) -> ServiceHead | None:
        return ServiceHead(**{**head(name), **self.heads.get(name, {})}) if name in self.known else None  # type: ignore[typeddict-item]  # its keys

    def summary(self, name: str) -> ServiceSummary | None:
        if name not in self.known:
            return None
        views = self.known[name]
        return ServiceSummary(
            **ServiceHead(**{**head(name), **self.heads.get(name, {})}),  # type: ignore[typeddict-item]  # its keys
            states=dict(Counter(view["state"] for view in views)),
            active_requests=sum(view["active_requests"] for view in views),
            requests_total=sum(view["requests_total"] for view in views),
            failures_total=sum(view["failures_total"] for view in views),
            ejections_total=sum(view["ejections_total"] for view in views),
            latency_ms={"p50": 1.5, "p99": 4.0},
        )

    def state_counts(self, name: str) -> Mapping[str, int]:
        return self.counts.get(name, {})

    def instances(
        self, name: str, *, state: str | None = None, after: InstanceOrder | None = None, only: str | None = None
    ) -> Iterator[InstanceView]:
        def order(view: InstanceView) -> InstanceOrder:
            return view["id"], view["node"]

        for view in sorted(self.known.get(name, ()), key=order):
            wanted = only is None or only in (view["id"], f"{view['node']}:{view['id']}")
            if wanted and (state is None or view["state"] == state) and (after is None or order(view) > after):
                self.built += 1
                yield view

    def explain(
        self, name: str, *, state: str | None = None, after: InstanceOrder | None = None, only: str | None = None
    ) -> Iterator[ExplainedView]:
        for view in self.instances(name, state=state, after=after, only=only):
            facts = {"pickable": view["state"] == "ready", "why": view["state"], "check_output": view["reason"], "cost": 1.9}
            yield ExplainedView(**view, **facts, order=self.orders.get(view["id"]), adaptive=None, changes=[], picks=[])

    def act(self, name: str, instance: str, command: Command) -> ExplainedView | list[str]:
        named = [*self.explain(name, only=instance)]
        if len(named) != 1:
            return [f"{each['node']}:{each['id']}" for each in named]
        self.commands.append((f"{name}/{instance}", command))
        return named[0]

    def events(self) -> Events:
        return self.ring

    def unexposed(self) -> list[str]:
        return self.hidden

    def routes(self) -> list[RouteView]:
        return self.route_views

    def config_key(self) -> ConfigKeyView | None:
        return self.key_view

    def config(self) -> dict[str, Any]:
        return {"server": {"port": 8080}, "admin": {"token": "***"}}

    def metrics(self) -> Numbers:
        return self.numbers

    def required_services(self) -> list[str]:
        return self.required

"""One instance as operators see it: its numbers, and why it may be picked or not. From the live objects, in the contract's shape."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING

from balancers.endpoint import EndpointState
from discovery.consul_body import PROVIDER
from lbgateway.controlplane.port import CandidateView, ChangeView, ExplainedView, InstanceView, OrderView, PickView

if TYPE_CHECKING:
    from discovery.instance import Instance
    from lbgateway.controlplane.port import InstanceOrder
    from lbgateway.dataplane.history import Change, Pick
    from lbgateway.dataplane.orders import Order
    from lbgateway.dataplane.upstream import GatewayEndpoint, Upstream

PICKABLE = {
    EndpointState.READY: "ready: takes its share",
    EndpointState.WARMING: "warming up: takes a growing share",
    EndpointState.SUSPECT: "suspect: picked only when no ready instance is left",
}
NOT_PICKABLE = {
    EndpointState.EJECTED: "ejected because requests to it fail: gets one trial request when its time is up",
    EndpointState.UNHEALTHY: "our own health check fails: gets nothing until it passes again",
    EndpointState.CRITICAL: "a health check in the registry is critical",
    EndpointState.MAINTENANCE: "in maintenance by an operator's order in the registry",
    EndpointState.DRAINING: "draining: finishes what runs, gets nothing new",
    EndpointState.GONE: "deregistered: finishes what runs, gets nothing new",
}

FAILING = ("critical", "warning")
"""What Consul's checks come to when one of them has something to tell."""


def node_of(endpoint: GatewayEndpoint) -> str:
    return endpoint.instance.key.node


def order_of(endpoint: GatewayEndpoint) -> InstanceOrder:
    return (endpoint.id, node_of(endpoint))


def instance_view(endpoint: GatewayEndpoint, scheme: str, order: Order | None = None) -> InstanceView:
    """One instance, whole (the contract, section 6); `order` is what operators want of it."""
    instance, series, (idle, leased) = endpoint.instance, endpoint.series, endpoint.connections()
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
        reason=brief(endpoint),
        since=moment(endpoint.since_s),
        consul_status=instance.consul_status,
        active_requests=endpoint.active,
        requests_total=series.total,
        failures_total=series.failures,
        latency_ewma_ms=milliseconds(endpoint.latency_s or None),
        latency_ms={"p50": milliseconds(series.quantile(0.5)), "p99": milliseconds(series.quantile(0.99))},
        connections={"idle": idle, "active": leased},
        limit=int(endpoint.most_active) if isfinite(endpoint.most_active) else None,
        ejections_total=sum(series.ejections.values()),
        ejected_until=ejected_until(endpoint, order),
        last_error=series.last_error,
    )


def ejected_until(endpoint: GatewayEndpoint, order: Order | None) -> str | None:
    """Until when it is out, whoever ejected it; None while nobody has, and where an operator takes it back by hand."""
    if order is not None and order.ejected_by is not None:
        return None if order.ejected_until_s is None else moment(order.ejected_until_s)
    return moment(endpoint.ejected_until_s) if endpoint.ejection is not None else None


def explained_view(endpoint: GatewayEndpoint, upstream: Upstream, scheme: str, now_s: float, *, pickable: bool) -> ExplainedView:
    """One instance, and why it may be picked now, or not."""
    history, order = endpoint.history, upstream.orders.get(endpoint.instance.key)
    view = instance_view(endpoint, scheme, order)
    view["reason"] = endpoint.reason
    return ExplainedView(
        **view,
        check_output=endpoint.instance.reason if has_output(endpoint.instance) else None,
        pickable=pickable,
        why=why(endpoint, pickable=pickable),
        cost=upstream.endpoints.balancer.cost(endpoint, now_s) if pickable else None,
        order=None if order is None else order_view(order),
        adaptive=adaptive_view(endpoint, upstream),
        changes=[change_view(change) for change in reversed(history.changes)] if history is not None else [],
        picks=[pick_view(pick) for pick in reversed(history.picks)] if history is not None else [],
    )


def brief(endpoint: GatewayEndpoint) -> str | None:
    """The reason for its state, of a check in Consul the name alone: 20,000 outputs would be megabytes, with each look."""
    instance, reason = endpoint.instance, endpoint.reason
    if reason is None or instance.reason is None or not has_output(instance):
        return reason
    return reason.replace(instance.reason, instance.reason.partition(": ")[0])


def has_output(instance: Instance) -> bool:
    """Whether its reason is a check's, with what that has printed; elsewhere it is what somebody wrote for people to read."""
    return instance.key.provider == PROVIDER and instance.consul_status in FAILING


def adaptive_view(endpoint: GatewayEndpoint, upstream: Upstream) -> dict[str, float | None] | None:
    limit = upstream.adapting.limit_of(endpoint) if upstream.adapting is not None else None
    return None if limit is None else {"baseline_ms": milliseconds(limit.baseline_s or None)}


def order_view(order: Order) -> OrderView:
    return OrderView(
        drained_by=order.drained_by,
        ejected_by=order.ejected_by,
        ejected_until=None if order.ejected_until_s is None else moment(order.ejected_until_s),
        weight=order.weight,
        weighed_by=order.weighed_by,
    )


def change_view(change: Change) -> ChangeView:
    return {"at": moment(change.at_s), "from": change.before, "to": change.after, "reason": change.reason}


def pick_view(pick: Pick) -> PickView:
    candidates = [CandidateView(instance=each.id, node=each.node, cost=each.cost, active=each.active) for each in pick.candidates]
    return PickView(at=moment(pick.at_s), reason=pick.reason, of=pick.of, candidates=candidates)


def why(endpoint: GatewayEndpoint, *, pickable: bool) -> str:
    """One sentence on why it may be picked, or not."""
    reason = PICKABLE.get(endpoint.state) if pickable else NOT_PICKABLE.get(endpoint.state)
    if pickable and endpoint.state in (EndpointState.EJECTED, EndpointState.UNHEALTHY):
        reason = f"{endpoint.state.value}, but so few others are left that all are used (panic)"
    reason = reason or f"{endpoint.state.value}: gets no new requests"
    return f"{reason} ({endpoint.reason})" if endpoint.reason else reason


def milliseconds(seconds: float | None) -> float | None:
    return round(seconds * 1000, 3) if seconds is not None else None


def moment(at_s: float) -> str:
    """A monotonic moment as UTC, RFC 3339."""
    wall_s = time.time() - (time.monotonic() - at_s)
    return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

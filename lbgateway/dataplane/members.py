"""What the registry, our own checks and the operators say of one instance, put together. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from balancers.endpoint import EndpointState
from balancers.endpoint_set import Member
from discovery.instance import InstanceState
from lbgateway.dataplane.orders import NO_ORDER

if TYPE_CHECKING:
    from collections.abc import Hashable

    from discovery.instance import Instance
    from lbgateway.dataplane.orders import Order

STATES = {
    InstanceState.PASSING: EndpointState.READY,
    InstanceState.WARNING: EndpointState.READY,
    InstanceState.CRITICAL: EndpointState.CRITICAL,
    InstanceState.MAINTENANCE: EndpointState.MAINTENANCE,
    InstanceState.DRAINING: EndpointState.DRAINING,
    InstanceState.SUSPECT: EndpointState.SUSPECT,
}
"""What the registry says of an instance -> what becomes of its endpoint."""


class Verdict(NamedTuple):
    """What our own health check makes of an instance; `why` is for people."""

    healthy: bool
    why: str


def member_of(key: Hashable, instance: Instance, order: Order = NO_ORDER, verdict: Verdict | None = None) -> Member:
    """An operator's word counts first, then the registry's bad news, then our checks', then the registry's good news.

    A check never makes anything better than the registry says: of a suspect it only says that it answers.
    """
    weight = float(instance.weight if order.weight is None else order.weight)
    if order.drained_by is not None:
        return Member(key, instance.id, weight, EndpointState.DRAINING, f"drained by {order.drained_by}")
    if order.ejected_by is not None:
        return Member(key, instance.id, weight, EndpointState.EJECTED, f"ejected by {order.ejected_by}")
    state, reason = STATES[instance.state], instance.reason
    if verdict is not None and state in (EndpointState.READY, EndpointState.SUSPECT):
        if not verdict.healthy:
            return Member(key, instance.id, weight, EndpointState.UNHEALTHY, verdict.why)
        if state is EndpointState.SUSPECT:
            reason = "; ".join(filter(None, (reason, verdict.why)))
    return Member(key, instance.id, weight, state, reason)

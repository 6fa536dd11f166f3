"""Whose word counts: a table."""

from __future__ import annotations

import pytest

from balancers.endpoint import EndpointState
from discovery.instance import Instance, InstanceKey, InstanceState
from lbgateway.dataplane.members import STATES, Verdict, member_of
from lbgateway.dataplane.orders import NO_ORDER, Order

GOOD, BAD = Verdict(True, "answers its health check"), Verdict(False, "health check: 503")
DRAINED, OUT = Order(drained_by="ann"), Order(ejected_by="ann")


def instance(state: str, reason: str | None = None) -> Instance:
    return Instance(InstanceKey("consul", "dc1", "", "n1", "o-1"), "orders", "10.0.0.1", 1, 3, InstanceState(state), reason)


def test_no_state_of_the_registry_is_unknown():
    """A new one must be thought of here."""
    assert set(STATES) == set(InstanceState)


@pytest.mark.parametrize(
    ("said", "order", "verdict", "state", "reason"),
    [
        ("passing", NO_ORDER, None, "ready", None),
        ("passing", NO_ORDER, GOOD, "ready", None),
        ("passing", NO_ORDER, BAD, "unhealthy", "health check: 503"),
        ("warning", NO_ORDER, BAD, "unhealthy", "health check: 503"),
        ("critical", NO_ORDER, GOOD, "critical", "says the registry"),
        ("critical", NO_ORDER, BAD, "critical", "says the registry"),
        ("maintenance", NO_ORDER, GOOD, "maintenance", "says the registry"),
        ("suspect", NO_ORDER, None, "suspect", "says the registry"),
        ("suspect", NO_ORDER, GOOD, "suspect", "says the registry; answers its health check"),
        ("suspect", NO_ORDER, BAD, "unhealthy", "health check: 503"),
        ("passing", DRAINED, BAD, "draining", "drained by ann"),
        ("critical", DRAINED, None, "draining", "drained by ann"),
        ("passing", OUT, GOOD, "ejected", "ejected by ann"),
        ("passing", Order(drained_by="ann", ejected_by="bob"), None, "draining", "drained by ann"),
    ],
)
def test_the_order_counts_first_then_bad_news(said: str, order: Order, verdict: Verdict | None, state: str, reason: str | None):
    """No check makes anything better than the registry says."""
    given = instance(said, None if said in ("passing", "warning") else "says the registry")
    member = member_of("key", given, order, verdict)
    assert (member.key, member.id, member.state, member.reason, member.weight) == ("key", "o-1", EndpointState(state), reason, 3.0)


@pytest.mark.parametrize("weight", [0, 7])
def test_an_operator_s_weight_takes_the_place_of_the_registry_s(weight: int):
    """Zero, too."""
    assert member_of("key", instance("passing"), Order(weight=weight, weighed_by="ann")).weight == weight

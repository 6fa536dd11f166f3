"""The gateway as operators see it: every number from where it lives, in the contract's shape."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from balancers.endpoint import EndpointState
from discovery.instance import InstanceState, Snapshot, SnapshotState
from discovery.static import static_instance
from lbgateway.config import load_text
from lbgateway.runtime import Gateway
from lbgateway.telemetry import exposition
from lbgateway.view import milliseconds, moment

FILE = """
auth: {default: none}
logging: {access_log: false}
discovery: {provider: static}
admin: {token: the-admin-token}
health: {required: [orders]}
services: {orders: {balancer: round_robin}}
"""


def gateway_with(*instances: Any, state: SnapshotState = SnapshotState.FRESH) -> Gateway:
    """One service, ``orders``, with these instances."""
    gateway = Gateway(load_text(FILE, "gateway.yaml", {}), asyncio.get_running_loop())
    tell(gateway, *instances, state=state)
    return gateway


def tell(gateway: Gateway, *instances: Any, state: SnapshotState = SnapshotState.FRESH) -> None:
    snapshot = Snapshot("orders", 1, instances, 182, time.monotonic(), state)
    gateway.plane.upstreams["orders"].take(snapshot, time.monotonic())


def instance(port: int, state: InstanceState = InstanceState.PASSING, **changes: Any) -> Any:
    made = static_instance("orders", "10.0.0.7", port, id=f"orders-{port}", **changes)
    status = state.value if state is not InstanceState.SUSPECT else "passing"
    return replace(made, state=state, consul_status=status, reason=None if state is InstanceState.PASSING else f"it is {state.value}")


async def test_an_instance_is_shown_whole():
    """All keys of the contract, and as JSON."""
    gateway = gateway_with(instance(9001, weight=3, tags=("a",), meta={"build": "7"}, zone="z"))
    [endpoint] = gateway.plane.upstreams["orders"].endpoints.ready
    endpoint.latency_s = 0.0019
    series = endpoint.series
    series.total, series.failures, series.last_error = 2, 1, "connect_failed: refused"
    series.recent[3] += 2
    [shown] = gateway.view.instances("orders")
    shown = json.loads(json.dumps(shown))
    assert datetime.fromisoformat(shown.pop("since")).tzinfo is not None
    latency = shown.pop("latency_ms")
    assert latency["p50"] <= latency["p99"]
    assert shown == {
        "id": "orders-9001",
        "node": shown["node"],
        "address": "10.0.0.7",
        "port": 9001,
        "scheme": "http",
        "weight": 3,
        "tags": ["a"],
        "meta": {"build": "7"},
        "zone": "z",
        "state": "ready",
        "reason": None,
        "consul_status": "passing",
        "active_requests": 0,
        "requests_total": 2,
        "failures_total": 1,
        "latency_ewma_ms": 1.9,
        "connections": {"idle": 0, "active": 0},
        "ejections_total": 0,
        "ejected_until": None,
        "last_error": "connect_failed: refused",
    }


async def test_an_instance_without_traffic_has_no_latency():
    """Null, not a zero that looks like a fast one."""
    [shown] = gateway_with(instance(9001)).view.instances("orders")
    assert (shown["latency_ewma_ms"], shown["latency_ms"]) == (None, {"p50": None, "p99": None})


@pytest.mark.parametrize(
    ("state", "shown", "pickable", "why"),
    [
        (InstanceState.PASSING, "ready", True, "takes its share"),
        (InstanceState.WARNING, "ready", True, "it is warning"),
        (InstanceState.CRITICAL, "critical", False, "it is critical"),
        (InstanceState.MAINTENANCE, "maintenance", False, "it is maintenance"),
        (InstanceState.SUSPECT, "suspect", True, "picked only when"),
    ],
)
async def test_explain_says_who_is_picked_and_why(state, shown, pickable, why):
    """With the cost of those who may be."""
    gateway = gateway_with(instance(9001, state))
    explained = gateway.view.explain("orders")
    assert explained is not None
    [one] = explained["instances"]
    assert (one["state"], one["pickable"]) == (shown, pickable)
    assert why in one["why"]
    assert (one["cost"] is not None) is pickable


async def test_who_leaves_with_work_in_hand_is_shown_as_gone():
    """Until it has finished; it is no instance of the service any more, though."""
    gateway = gateway_with(instance(9001), instance(9002))
    first = min(gateway.plane.upstreams["orders"].endpoints.ready, key=lambda each: each.id)
    first.active = 1
    tell(gateway, instance(9002))
    assert [(each["id"], each["state"]) for each in gateway.view.instances("orders")] == [("orders-9001", "gone"), ("orders-9002", "ready")]
    assert gateway.view.state_counts("orders") == {"ready": 1}


async def test_instances_are_sorted_and_can_be_asked_for_in_parts():
    """By state, and after a certain one: what pages are made of."""
    gateway = gateway_with(instance(9003), instance(9001), instance(9002, InstanceState.CRITICAL))
    everyone = list(gateway.view.instances("orders"))
    assert [each["id"] for each in everyone] == ["orders-9001", "orders-9002", "orders-9003"]
    assert [each["id"] for each in gateway.view.instances("orders", state="critical")] == ["orders-9002"]
    after = (everyone[0]["id"], everyone[0]["node"])
    assert [each["id"] for each in gateway.view.instances("orders", after=after)] == ["orders-9002", "orders-9003"]


async def test_a_services_head_tells_of_its_registry_and_its_traffic():
    """State and index of the last snapshot, balancer, retries."""
    gateway = gateway_with(instance(9001), state=SnapshotState.STALE)
    gateway.plane.metrics.retries["orders", "connect"] += 2
    gateway.plane.metrics.retries["users", "connect"] += 5
    head = gateway.view.service("orders")
    assert head is not None
    assert (head["balancer"], head["discovery_state"], head["discovery_index"]) == ("round_robin", "stale", 182)
    assert head["retry_budget"]["spent_total"] == 2


async def test_what_is_not_known_is_not_invented():
    """For each question about a service."""
    view = gateway_with().view
    assert (view.service("absent"), view.explain("absent")) == (None, None)
    assert (list(view.instances("absent")), view.state_counts("absent")) == ([], {})


async def test_the_gateway_tells_of_itself():
    """Version, uptime, draining, required services, routes; no secret in its configuration."""
    gateway = gateway_with()
    view = gateway.view
    assert (view.workers(), view.draining(), view.required_services(), view.service_names()) == (1, False, ["orders"], ["orders"])
    assert view.uptime_s() >= 0
    gateway.drain()
    assert view.draining()
    assert [route["prefix"] for route in view.routes()] == ["/api/{service}"]
    assert "the-admin-token" not in json.dumps(view.config())
    assert view.unexposed() == []
    await gateway.registry.start()
    assert view.discovery() == {"provider": "static", "state": "fresh", "age_seconds": 0.0, "last_error": None}
    await gateway.aclose()


async def test_a_scrape_counts_instances_and_names_twins_apart():
    """Two nodes may own the same id: Prometheus refuses a scrape with the same series twice."""
    one = instance(9001)
    twin = replace(one, key=one.key._replace(node="another"), port=9002)
    gateway = gateway_with(one, twin, instance(9003, InstanceState.CRITICAL))
    text = exposition.render(gateway.view.metrics()).decode()
    assert 'lbgateway_instances{service="orders",state="ready"} 2.0' in text
    assert 'lbgateway_instances{service="orders",state="critical"} 1.0' in text
    assert 'endpoint="another:orders-9001"' in text
    assert 'endpoint="orders-9003"' in text
    assert "lbgateway_requests_active 0.0" in text


@pytest.mark.parametrize(("seconds", "shown"), [(None, None), (0.0019, 1.9), (1.23456789, 1234.568)])
def test_seconds_are_shown_as_milliseconds(seconds, shown):
    """With three digits, and null for what is not known."""
    assert milliseconds(seconds) == shown


def test_a_monotonic_moment_is_shown_in_utc():
    """RFC 3339, to the millisecond."""
    shown = moment(time.monotonic() - 60)
    assert shown.endswith("Z")
    assert abs((datetime.now(UTC) - datetime.fromisoformat(shown)).total_seconds() - 60) < 1


def test_every_state_is_explained():
    """A new state without its sentence would be a riddle in `explain`."""
    from lbgateway.view import NOT_PICKABLE, PICKABLE

    later = {EndpointState.EJECTED, EndpointState.UNHEALTHY}
    assert set(PICKABLE) | set(NOT_PICKABLE) | later == set(EndpointState)

"""The gateway as operators see it: every number from where it lives, in the contract's shape."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from discovery.instance import InstanceKey, InstanceState, Snapshot, SnapshotState
from discovery.static import static_instance
from lbgateway.config import load_text
from lbgateway.controlplane.port import Command
from lbgateway.controlplane.upstreams import UpstreamsQuery, upstream, upstreams
from lbgateway.policies.hedge import HedgeRules
from lbgateway.runtime import Gateway
from lbgateway.telemetry import exposition
from lbgateway.view import service_numbers

FILE = """
auth: {default: none}
logging: {access_log: false}
discovery: {provider: static}
admin: {token: the-admin-token}
health: {required: [orders]}
services: {orders: {balancer: round_robin}}
"""


NO_ORDER = {"drained_by": None, "ejected_by": None, "ejected_until": None, "weight": None, "weighed_by": None}


def replace_node(key: InstanceKey, node: str) -> InstanceKey:
    return key._replace(node=node)


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
    series.failures, series.last_error = 1, "connect_failed: refused"
    series.answered += [0.003, 0.004]
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
        "limit": 512,
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
    [one] = gateway.view.explain("orders")
    assert (one["state"], one["pickable"]) == (shown, pickable)
    assert why in one["why"]
    assert (one["cost"] is not None) is pickable


async def test_explain_shows_the_last_twenty_picks():
    """Of more that were made and recorded; the newest first, each with the load of its own moment."""
    gateway = gateway_with(instance(9001))
    service = gateway.plane.upstreams["orders"]
    [endpoint] = service.endpoints.ready
    for number in range(27):
        endpoint.active = number
        service.recorder.tick()
        assert service.endpoints.pick(time.monotonic()) is endpoint
    [one] = gateway.view.explain("orders")
    assert [[each["active"] for each in pick["candidates"]] for pick in one["picks"]] == [[number] for number in range(26, 6, -1)]
    assert {(pick["reason"], pick["of"]) for pick in one["picks"]} == {("the only one", 1)}


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


async def test_one_instance_can_be_asked_for():
    """By its id, or where that is not unique with its node."""
    gateway = gateway_with(instance(9001), instance(9002))
    [first, _] = gateway.view.instances("orders")
    for name in (first["id"], f"{first['node']}:{first['id']}"):
        assert [each["id"] for each in gateway.view.explain("orders", only=name)] == [first["id"]]
    assert list(gateway.view.instances("orders", only="orders-9")) == []


MANY = 20_000
LONGEST_SLICE_S = 0.05


@pytest.mark.alone
@pytest.mark.parametrize("query", [UpstreamsQuery(), UpstreamsQuery(limit=1000), UpstreamsQuery(state="critical")])
async def test_twenty_thousand_instances_make_nobody_wait(query):
    """Between two slices the loop forwards requests; none of them takes 50 ms of processor time, those of `explain` neither."""
    view = gateway_with(*(instance(port) for port in range(MANY))).view
    documents = [upstreams(view, query, "now"), upstream(view, "orders", query, "now", view.explain)]
    for slices in documents:
        assert slices is not None
        taken_s, begun_s = [], time.thread_time()
        for _ in slices:
            taken_s.append(time.thread_time() - begun_s)
            begun_s = time.thread_time()
        assert max(taken_s) < LONGEST_SLICE_S


async def test_a_services_head_tells_of_its_registry_and_its_traffic():
    """State and index of the last snapshot, balancer, retries."""
    gateway = gateway_with(instance(9001), state=SnapshotState.STALE)
    gateway.plane.metrics.retries["orders", "connect"] += 2
    gateway.plane.metrics.retries["users", "connect"] += 5
    head = gateway.view.service("orders")
    assert head is not None
    assert (head["balancer"], head["discovery_state"], head["discovery_index"]) == ("round_robin", "stale", 182)
    assert head["retry_budget"] == {"available": 100, "spent_total": 2}
    assert head["hedge"] is None


@pytest.mark.parametrize(("rules", "after_ms"), [(HedgeRules(0.05, after_s=0.05), 50.0), (HedgeRules(0.05, quantile=0.95), None)])
async def test_a_service_that_is_hedged_says_so(rules, after_ms):
    """After how long, once it is known, and how often; the same budget pays for both."""
    gateway = gateway_with(instance(9001))
    upstream = gateway.plane.upstreams["orders"]
    upstream.guard(replace(upstream.rules, hedge=rules), 0.0)
    gateway.plane.metrics.hedges["orders"] += 3
    head = gateway.view.service("orders")
    assert head is not None
    assert (head["hedge"], head["retry_budget"]["spent_total"]) == ({"after_ms": after_ms, "hedges_total": 3}, 3)


async def test_what_is_not_known_is_not_invented():
    """For each question about a service."""
    view = gateway_with().view
    assert view.service("absent") is None
    assert (list(view.instances("absent")), list(view.explain("absent")), view.state_counts("absent")) == ([], [], {})


async def test_the_gateway_tells_of_itself():
    """Version, uptime, draining, required services, routes; no secret in its configuration."""
    gateway = gateway_with()
    view = gateway.view
    assert (view.workers(), view.draining(), view.required_services(), view.service_names()) == (1, False, ["orders"], ["orders"])
    assert view.uptime_s() >= 0
    assert view.id not in ("", gateway_with().view.id)
    gateway.drain()
    assert view.draining()
    assert [route["prefix"] for route in view.routes()] == ["/api/{service}"]
    assert view.config_key() is None
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


async def test_an_order_takes_effect_at_once_and_outlives_everything_but_the_process():
    """Registry changes, a reload, and even the service's leaving: who drained an instance does not want it back by accident."""
    gateway = gateway_with(instance(9001), instance(9002))
    upstream = gateway.plane.upstreams["orders"]

    shown = gateway.view.act("orders", "orders-9001", Command("drain", "ann"))

    assert isinstance(shown, dict)
    assert (shown["state"], shown["reason"], shown["pickable"]) == ("draining", "drained by ann", False)
    assert {upstream.endpoints.pick(1.0).id for _ in range(4)} == {"orders-9002"}
    tell(gateway, instance(9001), instance(9002), instance(9003))
    gateway.reload(load_text(FILE, "gateway.yaml", {}))
    gateway._on_gone("orders")
    gateway._upstream("orders")
    tell(gateway, instance(9001))
    [again] = gateway.view.explain("orders")
    assert (again["state"], again["order"]) == ("draining", {**NO_ORDER, "drained_by": "ann"})
    shown = gateway.view.act("orders", "orders-9001", Command("undrain", "bob"))
    assert isinstance(shown, dict)
    assert (shown["state"], shown["order"]) == ("ready", None)
    told = [(event.kind, event.facts["by"]) for event in gateway.view.events().since(0).events if event.kind == "operator"]
    assert told == [("operator", "ann"), ("operator", "bob")]


async def test_until_when_an_instance_is_out_is_told_whoever_ejected_it():
    """By order for a time, by order until it is taken back, and because it failed."""
    gateway = gateway_with(instance(9001))
    for_a_time, for_good = Command("eject", "ann", for_s=30.0), Command("eject", "ann")

    for command, known in ((for_a_time, True), (for_good, False), (Command("uneject", "ann"), False)):
        shown = gateway.view.act("orders", "orders-9001", command)
        assert isinstance(shown, dict)
        [listed] = gateway.view.instances("orders")
        assert shown["ejected_until"] == listed["ejected_until"]
        assert (listed["ejected_until"] is not None) is known
        if known:
            assert shown["order"] is not None
            for told in (shown["ejected_until"], shown["order"]["ejected_until"]):
                assert 20 < datetime.fromisoformat(told).timestamp() - time.time() < 31


async def test_ejections_by_order_are_counted_among_the_others():
    """Each that takes the instance out: not the same again, nor one that only says for how long."""
    gateway = gateway_with(instance(9001))
    for verb in ("eject", "eject", "uneject", "drain", "eject"):
        shown = gateway.view.act("orders", "orders-9001", Command(verb, "ann"))
    assert isinstance(shown, dict)
    assert shown["ejections_total"] == 2
    text = exposition.render(gateway.view.metrics()).decode()
    assert 'lbgateway_ejections_total{endpoint="orders-9001",reason="operator",service="orders"} 2.0' in text


async def test_an_instance_is_named_by_its_id_or_with_its_node():
    """Who may be meant is told, not guessed."""
    twins = [replace(instance(port), key=replace_node(instance(9001).key, node)) for port, node in ((9001, "n1"), (9002, "n2"))]
    gateway = gateway_with(*twins)
    assert gateway.view.act("orders", "orders-9001", Command("drain", "ann")) == ["n1:orders-9001", "n2:orders-9001"]
    assert gateway.view.act("orders", "orders", Command("drain", "ann")) == []
    assert gateway.view.act("absent", "orders", Command("drain", "ann")) == []
    assert {each["state"] for each in gateway.view.instances("orders")} == {"ready"}
    shown = gateway.view.act("orders", "n2:orders-9001", Command("weight", "ann", weight=7))
    assert isinstance(shown, dict)
    assert (shown["node"], shown["weight"]) == ("n2", 7.0)


async def test_the_age_of_a_service_counts_from_the_last_confirmation():
    """Not from the last change, of which alone an upstream is told."""
    gateway = gateway_with(instance(9001))
    await gateway.registry.start()
    upstream = gateway.plane.upstreams["orders"]
    assert upstream.snapshot is not None
    upstream.snapshot = replace(upstream.snapshot, confirmed_at_s=time.monotonic() - 100)

    [numbers] = gateway.view.metrics().services()

    assert numbers.discovery_age_s is not None
    assert 0 <= numbers.discovery_age_s < 10
    confirmed = replace(upstream.snapshot, confirmed_at_s=100.001)  # while the scrape was under way
    assert service_numbers(upstream, confirmed, 100.0).discovery_age_s == 0
    await gateway.registry.aclose()


@pytest.mark.parametrize(
    ("auth", "name", "store"),
    [
        ("session: {store: 'redis://127.0.0.1:1'}", "session", "redis"),
        ("session: {url: 'http://127.0.0.1:1/'}", "session", "service"),
        ("introspection: {service: orders}", "introspection", "service"),
    ],
)
async def test_whoever_is_asked_about_credentials_is_shown(auth, name, store):
    """By what it is; before it was asked nobody knows."""
    text = FILE.replace("{default: none}", f"{{default: none, {auth}}}")
    gateway = Gateway(load_text(text, "gateway.yaml", {}), asyncio.get_running_loop())
    assert gateway.view.authorities() == {name: {"store": store, "state": "unknown", "last_error": None}}
    asking = gateway.authentication.authorities()[name]
    for answers, error, state in ((True, None, "up"), (False, "refused", "down")):
        asking.answers, asking.last_error = answers, error
        assert gateway.view.authorities() == {name: {"store": store, "state": state, "last_error": error}}
    await gateway.aclose()


async def test_what_a_check_says_is_left_to_explain():
    """The list has the check's name, whatever else is said of the state; a word that people wrote is shown whole."""
    disk = {"reason": "disk: 100 % of /var: full", "consul_status": "critical", "state": InstanceState.CRITICAL}
    one, two = instance(9001), instance(9002)
    checked = replace(one, **disk, key=one.key._replace(provider="consul"))
    gateway = gateway_with(checked, replace(two, **disk))
    shown, written = gateway.view.instances("orders")
    told, _ = gateway.view.explain("orders")

    assert (shown["reason"], written["reason"]) == ("disk", "disk: 100 % of /var: full")
    assert (told["reason"], told["check_output"]) == ("disk: 100 % of /var: full",) * 2
    assert told["why"].endswith("(disk: 100 % of /var: full)")

"""Playbooks of blame: which failures take an instance out, which do not, and the request that brings it back."""

from __future__ import annotations

from time import monotonic

import pytest
import structlog.testing

from balancers.endpoint import EndpointState
from balancers.outlier import RATE
from discovery.instance import InstanceState
from lbgateway.errors import Overloaded
from lbgateway.policies.circuit_breaker import BreakerState
from tests.lbgateway.dataplane.test_exchange import CLOSED_MIDWAY, problem, started
from tests.lbgateway.dataplane.test_exchange_retries import failed
from tests.support.playbook import Client, Peer, World, get, ok, post

EJECTED, READY = EndpointState.EJECTED, EndpointState.READY
FIRST_OUT = "services: {orders: {outlier: {consecutive_failures: 1}}}\n"
ONCE = "services: {orders: {outlier: {consecutive_failures: 1}, retry: {attempts: 0}}}\n"


def states(world: World) -> list[EndpointState]:
    return [endpoint.state for endpoint in world.endpoints()]


def ejected(world: World) -> tuple[Client, Peer]:
    """The first instance is out after one failed answer; the second one has answered."""
    client, bad = started(world)
    bad.sends(failed(502))
    good = world.connects().sends(ok())
    assert client.got().endswith(b"fine")
    assert states(world)[0] is EJECTED
    return client, good


def time_is_up(world: World) -> None:
    """The ejected instance waits for its trial."""
    outliers, now_s = world.plane.upstreams["orders"].outliers, monotonic()
    outliers.hurry(world.endpoint("orders-1"), now_s)
    outliers.sweep(now_s)


@pytest.mark.parametrize(
    ("status", "out"), [(500, True), (502, True), (504, True), (599, True), (501, False), (503, False), (429, False), (404, False)]
)
def test_which_answers_take_an_instance_out(status, out):
    """503 and 429 say "not now", 501 "not this": no reason to take anybody out."""
    world = World(ONCE, orders=2)
    client, upstream = started(world)
    upstream.sends(failed(status))
    assert client.got().startswith(b"HTTP/1.1 %d " % status)
    assert (states(world)[0] is EJECTED) is out
    assert world.left == []


@pytest.mark.parametrize("how", ["refused", "reset", "midway", "malformed", "late"])
def test_which_failures_take_an_instance_out(how):
    """Whether or not a byte had come."""
    world = World(ONCE, orders=2)
    if how == "refused":
        client = world.client().sends(get())
        world.connect.fails()
    else:
        client, upstream = started(world)
        if how == "reset":
            upstream.resets()
        elif how == "midway":
            upstream.sends(CLOSED_MIDWAY).ends()
        elif how == "malformed":
            upstream.sends(b"SSH-2.0\r\n")
        else:
            world.ticks(client.exchange.deadline_s)
    assert states(world) == [EJECTED, READY]
    remote = how in ("midway", "malformed")
    assert world.endpoint("orders-1").series.ejections == {"consecutive_remote" if remote else "consecutive_local": 1}


def test_a_client_that_leaves_takes_nobody_out():
    """It blames nobody."""
    world = World(ONCE, orders=2)
    client, _ = started(world)
    client.resets()
    assert states(world) == [READY, READY]


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_a_poison_request_blames_nobody(attempts):
    """The same 5xx from two instances, or from more: five such requests take out none of them."""
    world = World(f"services: {{orders: {{retry: {{attempts: {attempts}}}}}}}\n", orders=4)
    for _ in range(8):
        client = world.client().sends(get())
        for _ in range(1 + attempts):
            for asked in tuple(world.asked):
                asked.succeeds()
            for peer in world.upstreams:
                if peer.got():
                    peer.sends(failed(500))
        assert client.got().startswith(b"HTTP/1.1 500 ")
    assert states(world) == [READY] * 4
    assert [endpoint.failures_in_row for endpoint in world.endpoints()] == [0] * 4


def test_what_comes_after_a_poison_is_judged_for_itself():
    """A third instance that fails in its own way is blamed for that; the two that agreed are not."""
    world = World(FIRST_OUT, orders=4)
    client, first = started(world)
    first.sends(failed(500))
    world.connects().sends(failed(500))
    world.connects().sends(failed(502))
    assert client.got().startswith(b"HTTP/1.1 502 ")
    assert sorted(states(world)) == [EJECTED, READY, READY, READY]


def test_two_different_failures_are_two_instances_faults():
    """500 and 502 are not the same answer."""
    world = World(FIRST_OUT, orders=4)
    client, first = started(world)
    first.sends(failed(500))
    world.connects().sends(failed(502))
    world.connects().sends(ok())
    assert client.got().endswith(b"fine")
    assert sorted(states(world)) == [EJECTED, EJECTED, READY, READY]
    assert world.left == []


def test_an_ejected_instance_gets_nothing():
    """Until its time is up."""
    world = World(FIRST_OUT, orders=2)
    client, good = ejected(world)
    for _ in range(4):
        client.sends(get())
        good.sends(ok())
    assert client.got().count(b"fine") == 4
    assert (world.asked, world.endpoint("orders-1").series.total) == ([], 1)


def test_the_trial_that_succeeds_brings_it_back():
    """Its client notices nothing."""
    world = World(FIRST_OUT, orders=2)
    client, _ = ejected(world)
    time_is_up(world)
    client.sends(get())
    [bad] = [peer for peer in world.upstreams if b"GET" in peer.got().replace(b"GET /1 ", b"")]
    bad.sends(ok(b"well again"))
    assert client.got().endswith(b"well again")
    assert states(world) == [READY, READY]
    assert world.left == []


def test_the_trial_that_fails_is_saved_elsewhere():
    """One request, one retry: the instance stays out for longer, the client gets its answer."""
    world = World(FIRST_OUT, orders=2)
    client, good = ejected(world)
    endpoint = world.endpoint("orders-1")
    until_s = endpoint.ejected_until_s
    time_is_up(world)
    client.sends(get())
    assert client.exchange.endpoint is endpoint
    world.upstreams[0].resets()
    world.connect.fails()
    good.sends(ok())
    assert client.got().endswith(b"fine")
    assert (states(world)[0], endpoint.series.ejections) == (EJECTED, {"consecutive_remote": 1})
    assert endpoint.ejected_until_s - endpoint.ejected_at_s > until_s - world.plane.upstreams["orders"].snapshot.confirmed_at_s - 1  # type: ignore[union-attr]  # there is one


@pytest.mark.parametrize(
    "message", [post("/api/orders/", b"abc"), get("/api/orders/", "Connection: Upgrade", "Upgrade: chat")], ids=["post", "upgrade"]
)
def test_only_what_may_be_lost_is_tried(message):
    """A POST is not for experiments."""
    world = World(FIRST_OUT, orders=2)
    client, _ = ejected(world)
    time_is_up(world)
    client.sends(message)
    assert client.exchange.endpoint.id == "orders-2"


def test_without_anybody_to_save_it_there_is_no_trial():
    """The second one is critical by now: nobody is there, and the trial would be the answer."""
    world = World(FIRST_OUT.replace("consecutive", "max_ejected: 1, consecutive"), orders=2)
    client, _ = ejected(world)
    time_is_up(world)
    world.registers("orders", "orders-1")
    client.sends(get())
    assert client.exchange.endpoint.id == "orders-1"
    assert world.plane.upstreams["orders"].endpoints.panic


def test_a_reload_and_the_registry_leave_it_out():
    """State of traffic belongs to no configuration."""
    world = World(FIRST_OUT, orders=2)
    ejected(world)
    upstream = world.plane.upstreams["orders"]
    upstream.configure("least_connections", 4.0)
    upstream.guard(upstream.rules, 1.0)
    world.registers("orders", "orders-1", "orders-2", "orders-3")
    assert states(world) == [EJECTED, READY, READY]
    assert not world.endpoint("orders-1").pool.retired


def test_ejection_that_is_switched_off_answers_as_before():
    """`max_ejected: 0`."""
    world = World("services: {orders: {outlier: {max_ejected: 0, consecutive_failures: 1}, retry: {attempts: 0}}}\n", orders=2)
    client, upstream = started(world)
    upstream.resets()
    assert problem(client.got(), 502, "upstream_closed")
    assert states(world) == [READY, READY]


def test_a_trial_brings_back_whoever_was_out_for_its_rate():
    """Also where there was never a second failure in a row."""
    world = World(orders=2)
    world.plane.upstreams["orders"].outliers._eject(world.endpoint("orders-1"), RATE, "30% of its requests failed", monotonic())
    time_is_up(world)
    client = world.client().sends(get())
    world.connects().sends(ok())
    assert client.got().endswith(b"fine")
    assert states(world) == [READY, READY]


def test_our_own_want_of_files_is_no_instances_fault():
    """Others may have an idle connection, so they are asked; after that it is the gateway that has too much to do."""
    world = World("services: {orders: {outlier: {consecutive_failures: 1}, breaker: {min_requests: 1}}}\n", orders=3)
    client = world.client().sends(get())
    with structlog.testing.capture_logs() as told:
        for _ in range(3):
            world.connect.fails(Overloaded(cause="the gateway can open no connection: Too many open files"))
    answer = client.got()
    assert problem(answer, 503, "overloaded")
    assert b"Retry-After: 1\r\n" in answer
    assert [line["reason"] for line in told] == ["the gateway can open no connection: Too many open files"]
    assert states(world) == [READY, READY, READY]
    assert [endpoint.series.failures for endpoint in world.endpoints()] == [0, 0, 0]
    assert world.plane.upstreams["orders"].breaker.state is BreakerState.CLOSED
    client.sends(post("/api/orders/", b"as well"))
    world.connect.fails(Overloaded())
    world.connects().sends(ok())
    assert client.got().endswith(b"fine")
    assert world.left == []


def test_our_own_want_of_files_drops_no_suspect():
    """It proves nothing about it."""
    world = World(orders=1)
    world.registers("orders", "orders-1", orders_1=InstanceState.SUSPECT)
    world.client().sends(get())
    world.connect.fails(Overloaded())
    assert states(world) == [EndpointState.SUSPECT]

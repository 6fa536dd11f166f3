"""Playbooks of a service that mostly fails: who is still asked, and what the others get."""

from __future__ import annotations

import pytest

from lbgateway.policies.circuit_breaker import BreakerState
from tests.lbgateway.dataplane.test_exchange import problem, started
from tests.lbgateway.dataplane.test_exchange_retries import failed
from tests.support.playbook import Client, World, get, ok, request

RULES = "failure_ratio: 0.5, min_requests: 4, half_open_requests: 1"


def text(more: str = "") -> str:
    return f"services: {{orders: {{retry: {{attempts: 0}}, outlier: {{max_ejected: 0}}, breaker: {{{RULES}{more}}}}}}}\n"


def failing(world: World, times: int = 4) -> Client:
    """So many requests in a row have failed."""
    client, upstream = started(world)
    for number in range(times):
        if number:
            client.sends(get())
        upstream.sends(failed(500))
    client.got()
    upstream.got()
    return client


def state(world: World) -> BreakerState:
    return world.plane.upstreams["orders"].breaker.state


def waits(world: World, seconds: float) -> None:
    """The pause has gone on for so long."""
    world.plane.upstreams["orders"].breaker.moved_at_s -= seconds


def test_an_open_breaker_answers_at_once():
    """503 with the time to come again; no instance is asked, and the answer is the gateway's."""
    world = World(text(), orders=1)
    client = failing(world)
    assert state(world) is BreakerState.OPEN
    client.sends(get())
    answer = client.got()
    assert problem(answer, 503, "breaker_open")
    assert b"Retry-After: 5\r\n" in answer
    assert (world.asked, world.upstreams[0].got(), world.left) == ([], b"", [])
    assert world.plane.metrics.errors == {"breaker_open": 1}
    upstream = world.plane.upstreams["orders"]
    ratio = upstream.breaker.window.ratio(upstream.tried_total, upstream.failures_total)
    assert (upstream.requests_total, upstream.tried_total, ratio) == (5, 4, 1.0)


def test_fewer_failures_leave_it_closed():
    """Three are not enough to judge by."""
    world = World(text(), orders=1)
    failing(world, 3)
    assert state(world) is BreakerState.CLOSED


def test_only_what_is_left_after_retries_counts():
    """A client that got its answer has not seen a failure."""
    world = World("services: {orders: {outlier: {max_ejected: 0}, breaker: {%s}}}\n".replace("%s", RULES), orders=2)
    client, bad = started(world)
    bad.sends(failed(502))
    good = world.connects().sends(ok())
    for _ in range(8):
        client.sends(get())
        for peer in (bad, good):
            if b"GET" in peer.got():
                peer.sends(failed(502) if peer is bad else ok())
        if good.got():
            good.sends(ok())
    assert client.got().count(b"200 OK") == 9
    assert state(world) is BreakerState.CLOSED


def test_one_exchange_tries_and_closes_it():
    """Its client notices nothing; whoever comes meanwhile is told to come later."""
    world = World(text(), orders=1)
    client = failing(world)
    waits(world, 5.0)
    client.sends(get())
    other = world.client().sends(get())
    assert problem(other.got(), 503, "breaker_open")
    world.upstreams[0].sends(ok())
    assert client.got().endswith(b"fine")
    assert state(world) is BreakerState.CLOSED
    other.sends(get())
    world.upstreams[0].sends(ok())
    assert other.got().endswith(b"fine")


def test_a_trial_that_fails_opens_it_again():
    """And a client that leaves makes room for the next one."""
    world = World(text(), orders=1)
    client = failing(world)
    waits(world, 5.0)
    world.client().sends(get()).resets()
    assert state(world) is BreakerState.HALF_OPEN
    client.sends(get())
    world.connects().sends(failed(500))
    assert client.got().startswith(b"HTTP/1.1 500 ")
    assert state(world) is BreakerState.OPEN


def test_a_service_without_instances_opens_nothing():
    """Nobody was asked, so there is nobody to protect; the first instance that registers serves at once."""
    world = World(text(), orders=1)
    world.registers("orders")
    client = world.client()
    for _ in range(10):
        client.sends(get())
    assert client.got().count(b"no_endpoint") == 10
    assert state(world) is BreakerState.CLOSED


@pytest.mark.parametrize(("method", "body"), [("GET", b'{"orders": []}'), ("HEAD", b"")])
def test_the_fallback_may_be_an_answer_of_the_operators(method, body):
    """As it was written, and still recognisable as the gateway's."""
    world = World(text(", fallback: {status: 200, body: '{\"orders\": []}', content_type: application/json}"), orders=1)
    client = failing(world)
    client.sends(request(method, "/api/orders/"))
    head, rest = client.got().split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
    assert b"Content-Length: 14" in head
    assert b"Proxy-Status: lbgateway; error=" in head
    assert rest == body
    assert world.left == []


def test_the_fallback_may_be_another_service():
    """With the same path, as long as its own breaker lets it."""
    world = World(text(", fallback: {service: archive}").replace("services: {", "services: {archive: {}, "), orders=1, archive=1)
    client = failing(world)
    client.sends(get("/api/orders/7"))
    archive = world.connects()
    assert archive.got().startswith(b"GET /7 HTTP/1.1\r\n")
    archive.sends(ok(b"an older one"))
    assert client.got().endswith(b"an older one")
    world.registers("archive")
    client.sends(get())
    assert problem(client.got(), 503, "no_endpoint")
    del world.plane.upstreams["archive"]
    client.sends(get())
    assert problem(client.got(), 503, "breaker_open")
    assert world.left == []

"""Playbooks of a second attempt beside a slow first one: when there is one, and when there is none."""

from __future__ import annotations

from dataclasses import replace
from time import monotonic

import pytest

from discovery.instance import InstanceState
from lbgateway.policies.hedge import LEAST_KNOWN, HedgeRules
from tests.lbgateway.dataplane.test_exchange_retries import outcomes
from tests.support.playbook import Client, Peer, World, get, ok, post, request

HEDGE = "hedge: {after: 50ms, at_most: 1}"


def hedged(more: str = "", hedge: str = HEDGE, **services: int) -> World:
    """A service whose slow requests are hedged; time passes when a test says so."""
    world = World(f"services: {{orders: {{{hedge}{more}}}}}\n", **(services or {"orders": 2}))
    world.hurries = False
    return world


def raced(world: World, message: bytes | None = None) -> tuple[Client, Peer, Peer]:
    """A request waits at two instances: the client, the first one, the second."""
    client = world.client().sends(message or get("/api/orders/1"))
    first = world.connects()
    world.passes()
    second = world.connects()
    assert client.exchange.race is not None
    return client, first, second


def hedges(world: World) -> int:
    return world.plane.metrics.hedges["orders"]


# -- when there is none -----------------------------------------------------------------------------


def waits_alone(world: World, message: bytes | None = None) -> bool:
    """Whether a request that waits gets no second attempt."""
    client = world.client().sends(message or get("/api/orders/1"))
    world.connects()
    world.passes()
    alone = [each for each in world.asked if not each.cancelled] == [] and client.exchange.race is None
    return alone and not hedges(world)


@pytest.mark.parametrize(
    "message",
    [
        post("/api/orders/1", b"body"),
        post("/api/orders/1", b"body", "Idempotency-Key: 7"),
        request("PUT", "/api/orders/1", "Content-Length: 9", body=b"part"),
        request("PUT", "/api/orders/1", "Content-Length: 99", body=b"x" * 99),
        get("/api/orders/1", "Connection: Upgrade", "Upgrade: chat"),
    ],
)
def test_what_must_not_run_twice_is_asked_once(message):
    """Not idempotent, not complete, not at hand, no plain request; and with an `Idempotency-Key` two at the same time are a conflict."""
    assert waits_alone(hedged(", retry: {replay_body_up_to: 50B}"), message)


def test_without_another_instance_there_is_nobody_to_ask():
    """The same one again is not better while it works."""
    assert waits_alone(hedged(orders=1))


def test_a_suspect_is_not_asked():
    """It is the last resort, and this is no need."""
    world = hedged()
    world.registers("orders", "orders-1", "orders-2", orders_2=InstanceState.SUSPECT)
    assert waits_alone(world)


def test_an_instance_without_room_is_not_asked():
    """Nor is anybody while requests wait for room."""
    world = hedged(", limits: {max_active: 1}")
    world.client().sends(get("/api/orders/a"))
    world.connects().got()
    assert waits_alone(world)


def test_in_panic_more_load_is_the_last_thing_needed():
    """Nor while the breaker is not closed."""
    world = hedged(", panic_threshold: 1", orders=3)
    upstream = world.plane.upstreams["orders"]
    upstream.endpoints.eject(world.endpoint("orders-3"), "test", monotonic())
    assert upstream.endpoints.panic
    assert waits_alone(world)
    upstream.endpoints.uneject(world.endpoint("orders-3"), monotonic())
    assert upstream.endpoints.endpoints
    world = hedged()
    world.plane.upstreams["orders"].tripped = world.plane.upstreams["orders"].breaker
    assert waits_alone(world)


@pytest.mark.parametrize("more", [", retry: {attempts: 0}", ", retry: {budget: 0, min_per_second: 0}"])
def test_it_is_paid_for_like_a_retry(more):
    """It is one of the attempts, and takes a token."""
    assert waits_alone(hedged(more))


def test_it_takes_a_token_of_the_retry_budget():
    """Of the same one."""
    world = hedged()
    budget = world.plane.upstreams["orders"].retry_budget(0.2, 10.0)
    before = budget.tokens
    raced(world)
    assert budget.tokens == pytest.approx(before - 1.0, abs=0.01)


def test_there_are_at_most_so_many():
    """A share of the requests, those under way included."""
    world = hedged(hedge="hedge: {after: 50ms, at_most: 0.25}")
    for _ in range(8):
        world.client().sends(get("/api/orders/1"))
    world.passes()
    assert hedges(world) == 2


def test_who_waits_longest_comes_first_when_there_may_be_more():
    """Not only at the moment when its time was up: that is who needs it most."""
    world = hedged(hedge="hedge: {after: 50ms, at_most: 0.25}")
    clients = [world.client().sends(get(f"/api/orders/{number}")) for number in range(7)]
    for asked in tuple(world.asked):
        asked.succeeds()
    world.passes()
    assert [client.exchange.hedged for client in clients] == [True, *[False] * 6]
    upstream = world.plane.upstreams["orders"]
    upstream.sweep(monotonic())
    assert hedges(world) == 1
    world.client().sends(get("/api/orders/more"))
    upstream.sweep(monotonic())
    assert [client.exchange.hedged for client in clients] == [True, True, *[False] * 5]
    for client in clients:
        client.ends()
    assert hedges(world) == 2


def test_there_is_one_per_exchange():
    """However long the two of them need."""
    world = hedged(orders=3)
    raced(world)
    world.passes()
    assert (world.asked, hedges(world)) == ([], 1)


def test_a_retry_may_be_hedged():
    """What is slow is slow, whatever came before it."""
    world = hedged(orders=3)
    client = world.client().sends(get("/api/orders/1"))
    world.connect.fails()
    world.connects()
    world.passes()
    world.connects().sends(ok())
    assert client.got().endswith(b"fine")
    assert (world.left, outcomes(world)) == ([], [{"failed_local": 1}, {"abandoned": 1}, {"ok": 1}])


def test_who_is_answered_in_time_gets_none():
    """And is forgotten by the next sweep."""
    world = hedged()
    client = world.client().sends(get("/api/orders/1"))
    world.connects().sends(ok())
    assert client.got().endswith(b"fine")
    hedging = world.plane.upstreams["orders"].hedging
    assert hedging is not None
    hedging.sweep(monotonic())
    assert "waiting=0" in repr(hedging)
    world.passes()
    assert hedges(world) == 0


# -- the delay --------------------------------------------------------------------------------------


def test_a_percentile_has_to_be_learned():
    """Until then nobody is hedged; after that it is that of the answers."""
    world = hedged(hedge="hedge: {after: p95, at_most: 1}")
    hedging = world.plane.upstreams["orders"].hedging
    assert hedging is not None
    client = world.client()
    for _ in range(LEAST_KNOWN):
        client.sends(get("/api/orders/1"))
        for peer in [asked.succeeds() for asked in tuple(world.asked)] or world.upstreams:
            if peer.got():
                peer.sends(ok())
    assert (world.loop.timers, hedges(world)) == ([], 0)
    hedging.sweep(monotonic() + 2.0)
    assert 0.001 <= hedging.patience.after_s < 0.5
    client.sends(get("/api/orders/1"))
    world.passes()
    assert hedges(world) == 1


def test_one_timer_serves_all_that_wait():
    """However many there are."""
    world = hedged(orders=3)
    for _ in range(5):
        world.client().sends(get("/api/orders/1"))
    assert len(world.loop.timers) == 1


def test_a_reload_that_changes_nothing_keeps_what_is_known():
    """One that does starts anew; one that takes it away leaves races alone."""
    world = hedged()
    upstream = world.plane.upstreams["orders"]
    before = upstream.hedging
    upstream.guard(replace(upstream.rules, max_pending=3), monotonic())
    assert upstream.hedging is before
    upstream.guard(replace(upstream.rules, hedge=HedgeRules(1.0, after_s=1.0)), monotonic())
    assert upstream.hedging is not before
    client, _, second = raced(world)
    upstream.guard(replace(upstream.rules, hedge=None), monotonic())
    assert (upstream.hedging, world.loop.timers) == (None, [])
    second.sends(ok())
    assert client.got().endswith(b"fine")
    assert world.left == []


def test_a_service_that_is_gone_hedges_nobody():
    """Its timer goes with it."""
    world = hedged()
    world.client().sends(get("/api/orders/1"))
    world.plane.upstreams["orders"].close(monotonic())
    assert world.loop.timers == []

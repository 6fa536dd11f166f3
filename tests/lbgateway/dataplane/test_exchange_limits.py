"""Playbooks of instances that have enough to do: others first, then a short line, then 503."""

from __future__ import annotations

import pytest

from lbgateway.dataplane.exchange_state import Phase
from tests.lbgateway.dataplane.test_exchange import problem
from tests.support.playbook import World, get, ok, post


def limited(text: str, orders: int = 1, **more: object) -> World:
    return World(f"services: {{orders: {{limits: {{{text}}}}}}}\n", orders=orders, **more)  # type: ignore[arg-type]  # counts of instances


def line_of(world: World) -> int:
    return len(world.plane.upstreams["orders"].line)


def test_without_a_line_the_answer_is_503_at_once():
    """`max_pending: null`: with a time to come again, and nothing left counted."""
    world = limited("max_active: 1")
    first, second = world.client().sends(get()), world.client().sends(get())
    answer = second.got()
    assert problem(answer, 503, "overloaded")
    assert b"Retry-After: 1\r\n" in answer
    world.connects().sends(ok())
    assert first.got().endswith(b"fine")
    assert (world.left, world.endpoint("orders-1").series.failures) == ([], 0)


def test_others_come_first():
    """The balancer's choice is full, another instance is not."""
    world = limited("max_active: 2", orders=3)
    for _ in range(6):
        world.client().sends(get())
    assert [endpoint.active for endpoint in world.endpoints()] == [2, 2, 2]
    assert problem(world.client().sends(get()).got(), 503, "overloaded")


def test_who_waits_is_served_in_turn():
    """On the connection that has just become free."""
    world = limited("max_active: 1, max_pending: 2")
    clients = [world.client().sends(get(f"/api/orders/{number}")) for number in range(3)]
    upstream = world.connects()
    for number, client in enumerate(clients):
        assert upstream.got().startswith(b"GET /%d " % number)
        upstream.sends(ok(b"number %d" % number))
        assert client.got().endswith(b"number %d" % number)
    assert (world.asked, world.left, line_of(world)) == ([], [], 0)


def test_the_line_is_bounded():
    """`max_pending` for each instance."""
    world = limited("max_active: 1, max_pending: 1", orders=2)
    clients = [world.client().sends(get()) for _ in range(5)]
    assert [client.got()[:12] for client in clients] == [b"", b"", b"", b"", b"HTTP/1.1 503"]


def test_who_waits_for_too_long_is_told_so():
    """503, not 504: nobody has been asked."""
    world = limited("max_active: 1, max_pending: 1")
    world.client().sends(get())
    waiting = world.client().sends(get())
    assert waiting.exchange.phase is Phase.PAUSED
    world.ticks(waiting.exchange.started_s + 60)
    assert problem(waiting.got(), 503, "overloaded")
    assert line_of(world) == 0


def test_who_leaves_the_line_leaves_no_trace():
    """The next one moves up."""
    world = limited("max_active: 1, max_pending: 2")
    _, second, third = (world.client().sends(get()) for _ in range(3))
    second.resets()
    assert line_of(world) == 1
    world.connects().sends(ok())
    world.upstreams[0].sends(ok(b"for the third"))
    assert third.got().endswith(b"for the third")
    assert world.left == []


def test_a_body_waits_in_its_clients_hands():
    """And is sent whole when there is room."""
    world = limited("max_active: 1, max_pending: 1")
    world.client().sends(get())
    client = world.client().sends(post("/api/orders/2", b"abcdef")[:-3])
    assert client.paused
    upstream = world.connects()
    upstream.got()
    upstream.sends(ok())
    client.sends(b"def")
    assert upstream.got().endswith(b"\r\n\r\nabcdef")


def test_a_new_instance_and_a_higher_limit_let_the_line_move():
    """At the next sweep."""
    world = limited("max_active: 1, max_pending: 9")
    clients = [world.client().sends(get()) for _ in range(3)]
    world.registers("orders", "orders-1", "orders-2")
    world.plane.upstreams["orders"].sweep(clients[0].exchange.started_s)
    assert [client.exchange.phase for client in clients] == [Phase.CONNECTING, Phase.CONNECTING, Phase.PAUSED]


def test_another_try_goes_where_there_is_room():
    """The untried are full: the tried one is better than a line."""
    world = limited("max_active: 1", orders=2)
    first, second = world.client().sends(get()), world.client().sends(get())
    asked = world.asked[0]
    asked.fails()
    assert first.exchange.endpoint is asked.waiter.endpoint  # type: ignore[attr-defined]  # it is an exchange
    assert second.exchange.endpoint is not first.exchange.endpoint


@pytest.mark.parametrize("text", ["max_connections: 1", "max_active: 5, max_connections: 1"])
def test_a_connection_carries_one_request_so_its_limit_is_one_of_requests(text):
    """Over HTTP/1.1 the fewer of the two counts."""
    world = limited(text)
    world.client().sends(get())
    assert problem(world.client().sends(get()).got(), 503, "overloaded")


@pytest.mark.parametrize("places", ["null", "1"])
def test_who_was_failed_waits_for_another_instance_if_it_may(places):
    """The one that failed it has room, the other one has not: with a line it is waited for, without one the same is asked again."""
    world = limited(f"max_active: 1, max_pending: {places}", orders=2)
    first = world.client().sends(get("/api/orders/a"))
    failing = world.connects()
    second = world.client().sends(get("/api/orders/b"))
    busy = world.connects()
    failing.sends(ok(status="500 Oops"))
    if places == "null":
        assert failing.got().count(b"GET /a ") == 2
        return
    assert (first.exchange.phase, line_of(world), failing.got().count(b"GET /a ")) == (Phase.PAUSED, 1, 1)
    busy.sends(ok())
    assert busy.got().endswith(b"\r\n\r\n")
    busy.sends(ok(b"at last"))
    assert (second.got()[-4:], first.got()[-7:]) == (b"fine", b"at last")
    assert (world.left, line_of(world)) == ([], 0)


def test_who_was_failed_by_all_takes_whoever_has_room():
    """There is nobody left to wait for."""
    world = limited("max_active: 1, max_pending: 1", orders=2)
    client = world.client().sends(get())
    world.connects().sends(ok(status="500 Oops"))
    world.connects().sends(ok(status="502 Oops"))
    busy = world.client().sends(get("/api/orders/busy"))
    for upstream in world.upstreams:
        upstream.sends(ok())
    assert (client.got()[-4:], busy.got()[-4:], line_of(world)) == (b"fine", b"fine", 0)

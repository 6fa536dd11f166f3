"""Playbooks of requests that a policy cannot decide on yet: parked, resumed once, or given up."""

from __future__ import annotations

from time import monotonic
from typing import Any

import pytest

from lbgateway.dataplane.exchange_state import Phase
from lbgateway.errors import Forbidden, Unauthenticated
from tests.support.gate import Gate, gated
from tests.support.playbook import Client, get, ok, post, request

CHUNKED = "Transfer-Encoding: chunked"


def test_a_parked_request_goes_on_when_the_answer_is_there():
    """Until then no endpoint is picked, no connection asked for."""
    gate = Gate()
    world = gated(gate)
    client = world.client().sends(get("/api/orders/1"))
    assert (client.exchange.phase, world.asked, client.got()) == (Phase.PARKED, [], b"")
    assert world.endpoint("orders-1").active == 0
    gate.opens()
    upstream = world.connects()
    assert upstream.got().startswith(b"GET /1 HTTP/1.1")
    upstream.sends(ok())
    assert client.got().endswith(b"fine")
    assert (gate.asked, gate.decided, world.left) == (1, 1, [])


def test_one_flight_serves_all_who_wait():
    """Single flight: many requests, one answer."""
    gate = Gate()
    world = gated(gate, orders=3)
    clients = [world.client().sends(get(f"/api/orders/{number}")) for number in range(3)]
    assert repr(gate.flight) == "<Flight 3 waiting>"
    gate.opens()
    for asked in tuple(world.asked):
        asked.succeeds().sends(ok())
    assert all(client.got().endswith(b"fine") for client in clients)
    assert (gate.decided, world.left) == (3, [])


def test_the_policy_may_still_say_no():
    """And those behind it are not asked."""
    behind: list[Any] = []
    gate = Gate(lambda _exchange: Forbidden("not you"))
    world = gated(gate, behind.append)
    client = world.client().sends(get())
    gate.opens()
    assert client.got().startswith(b"HTTP/1.1 403 ")
    assert (behind, client.closed, world.left) == ([], False, [])


def test_policies_behind_the_one_that_waits_are_asked_after_it_and_those_before_it_only_once():
    """The order of policies is the contract's, waiting or not."""
    order: list[str] = []

    def says(word: str) -> Any:
        return lambda _exchange: order.append(word)

    first, second = Gate(says("first")), Gate(says("second"))
    world = gated(says("before"), first, says("between"), second, says("behind"))
    client = world.client().sends(get())
    assert order == ["before"]
    first.opens()
    assert order == ["before", "first", "between"]
    assert client.exchange.phase is Phase.PARKED
    second.opens()
    assert order == ["before", "first", "between", "second", "behind"]
    world.connects().sends(ok())
    assert client.got().endswith(b"fine")
    assert world.left == []


def test_waiting_ends_at_its_bound():
    """The policy names the answer; what comes later finds nobody."""
    gate = Gate(within_s=2.0)
    world = gated(gate)
    client = world.client().sends(get())
    world.ticks(monotonic() + 1.0)
    assert client.got() == b""
    world.ticks(monotonic() + 2.5)
    assert client.got().startswith(b"HTTP/1.1 503 ")
    assert repr(gate.flight) == "<Flight 0 waiting>"
    gate.opens()
    assert (gate.decided, client.got(), client.closed, world.left) == (0, b"", False, [])


def test_each_wait_has_a_bound_of_its_own():
    """A second one does not inherit what the first has used up, nor does an attempt."""
    first, second = Gate(within_s=2.0), Gate(within_s=2.0)
    world = gated(first, second)
    client = world.client().sends(get())
    first.opens()
    assert client.exchange.deadline_s == pytest.approx(monotonic() + 2.0, abs=0.5)
    total_s = client.exchange.route.timeout.total
    client.exchange.started_s -= 2 * total_s  # so long ago
    second.opens()
    assert client.exchange.deadline_s == pytest.approx(monotonic() + total_s, abs=0.5)
    world.connects().sends(ok())
    assert client.got().endswith(b"fine")


def test_a_body_that_has_waited_leaves_the_answer_its_time_as_well():
    """``total`` counts from when the request may go."""
    gate = Gate(within_s=2.0)
    world = gated(gate)
    client = world.client().sends(request("POST", "/api/orders/", "Content-Length: 2"))
    client.exchange.started_s -= 2 * client.exchange.route.timeout.total
    gate.opens()
    client.sends(b"ab")
    world.connects()
    assert client.exchange.deadline_s == pytest.approx(monotonic() + client.exchange.route.timeout.response, abs=0.5)


def test_a_client_that_leaves_while_it_waits_leaves_nothing_behind():
    """It is counted as gone, and blames nobody."""
    gate = Gate()
    world = gated(gate)
    client = world.client().sends(get())
    client.ends()
    assert repr(gate.flight) == "<Flight 0 waiting>"
    gate.opens()
    assert (gate.decided, world.asked, world.left) == (0, [], [])
    assert world.statuses() == {("GET", 499): 1}


def body_of(client: Client) -> bytes:
    """Opens nothing: what the upstream gets of the parked request's body."""
    upstream = client.world.connects()
    message = upstream.got().partition(b"\r\n\r\n")[2]
    upstream.sends(ok())
    assert client.got().endswith(b"fine")
    assert client.world.left == []
    return message


@pytest.mark.parametrize("size", [3, 200_000])
def test_a_body_is_held_back_and_arrives_whole(size):
    """The client is not read from while it waits, so that memory stays bounded."""
    gate = Gate()
    world = gated(gate)
    body = b"x" * size
    head = post("/api/orders/", body)[: -len(body)]
    client = world.client().sends(head, body[: size // 2])
    assert client.paused
    client.sends(body[size // 2 :])
    assert client.exchange.bytes_in == size // 2
    gate.opens()
    assert body_of(client) == body


def test_a_chunked_body_that_was_complete_is_sent_complete():
    """Its end came while nobody could take it."""
    gate = Gate()
    world = gated(gate)
    client = world.client().sends(request("POST", "/api/orders/", CHUNKED) + b"3\r\nabc\r\n0\r\n\r\n")
    gate.opens()
    assert body_of(client) == b"3\r\nabc\r\n0\r\n\r\n"


def test_a_body_that_turns_out_malformed_while_its_request_waits_is_refused():
    """There is no attempt that could be ended."""
    gate = Gate()
    world = gated(gate)
    client = world.client().sends(request("POST", "/api/orders/", CHUNKED) + b"3\r\nabc\r\nnonsense\r\n")
    assert client.got().startswith(b"HTTP/1.1 400 ")
    gate.opens()
    assert (gate.decided, client.got(), world.left) == (0, b"", [])


def test_a_refused_body_does_not_block_the_connection():
    """What is small is read and thrown away; the next request is served."""
    gate = Gate(lambda _exchange: Unauthenticated())
    world = gated(gate)
    head, body = post("/api/orders/", b"abc")[:-3], b"abc"
    client = world.client().sends(head, body[:1])
    gate.opens()
    assert client.got().startswith(b"HTTP/1.1 401 ")
    client.sends(body[1:], get("/api/orders/2"))
    gate.verdict = lambda _exchange: None
    gate.opens()
    world.connects().sends(ok())
    assert client.got().endswith(b"fine")
    assert world.left == []


def test_a_pipelined_request_waits_behind_a_parked_one():
    """Answers keep their order."""
    gate = Gate()
    world = gated(gate)
    client = world.client().sends(get("/api/orders/1") + get("/api/orders/2"))
    gate.opens()
    upstream = world.connects().sends(ok(b"one"))
    assert client.got().endswith(b"one")
    gate.opens()
    upstream.sends(ok(b"two"))
    assert client.got().endswith(b"two")
    assert world.left == []

"""The facts of a failure, and an answer that nobody wants any more."""

from __future__ import annotations

import pytest

from balancers.endpoint import Outcome
from lbgateway.dataplane.attempts import RETRY_AFTER_MOST_S, LetGo, facts_of, has_field, outcome_of, retry_after_s
from lbgateway.dataplane.head import RequestHead, ResponseHead
from lbgateway.errors import ConnectFailed, Overloaded, ResponseTimeout, UpstreamClosed, UpstreamMalformed
from lbgateway.policies.retry import Facts
from tests.lbgateway.dataplane.test_exchange import started
from tests.support.playbook import World, get, post


def answer(*fields: bytes) -> ResponseHead:
    head = ResponseHead()
    head.lines = []
    for field in fields:
        name, value = field.split(b": ")
        head.lines += (name, b": ", value, b"\r\n")
    return head


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ((), 0.0),
        ((b"Retry-After: 2",), 2.0),
        ((b"Server: x", b"retry-AFTER: 0"), 0.0),
        ((b"Retry-After: 86400",), RETRY_AFTER_MOST_S),
        ((b"Retry-After: Thu, 01 Jan 2026 00:00:00 GMT",), 0.0),
        ((b"Retry-After: -1",), 0.0),
        ((b"Retry-After: 1.5",), 0.0),
        ((b"Retry-After: \xb2",), 0.0),
    ],
)
def test_how_long_an_upstream_wants_to_be_left_alone(fields, seconds):
    """Whole seconds; anything else says nothing."""
    assert retry_after_s(answer(*fields)) == seconds


def test_a_field_is_found_whatever_its_spelling():
    """By its name, not by its value."""
    head = RequestHead()
    head.lines += (b"X-A", b": ", b"x-b", b"\r\n", b"x-C", b": ", b"", b"\r\n")
    assert [has_field(head, name) for name in (b"x-a", b"x-b", b"x-c")] == [True, False, True]


def test_the_facts_of_a_get():
    """On its first attempt, with all of its budget."""
    client, _ = started(World())
    exchange = client.exchange
    assert facts_of(exchange, "reset", exchange.started_s, stale=True) == Facts(
        "reset", exchange.route.retry.on, 2, stale_connection=True,
    )  # fmt: skip


def test_the_facts_of_a_post_that_connects_when_its_time_is_up():
    """Nothing of it was sent, so its body does not matter."""
    client = World().client().sends(post("/api/orders/", b"abc"))
    exchange = client.exchange
    exchange.replayable = False
    facts = facts_of(exchange, "connect", exchange.until_s, nothing_sent=True)
    assert facts == Facts(
        "connect", exchange.route.retry.on, 2, nothing_sent=True, safe=False, repeatable=False, time_left=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ConnectFailed(), Outcome.FAILED_LOCAL),
        (UpstreamClosed(), Outcome.FAILED_LOCAL),
        (ResponseTimeout(), Outcome.FAILED_LOCAL),
        (UpstreamMalformed(), Outcome.FAILED_REMOTE),
        (Overloaded(), Outcome.ABANDONED),
    ],
)
def test_whose_failure_it_was(error, outcome):
    """Our own is nobody's."""
    assert outcome_of(error) is outcome


@pytest.mark.parametrize("keep", [True, False])
def test_an_answer_that_ends_gives_its_connection_back(keep):
    """To be used again, if the upstream has all of the request."""
    world = World(orders=1)
    client, upstream = started(world)
    connection, pool = client.exchange.connection, world.endpoint("orders-1").pool
    assert connection is not None
    connection.keep_alive = True
    sink = LetGo(connection, 1.0, keep=keep)
    sink.on_upstream_paused()
    sink.on_upstream_resumed()
    sink.on_informational(answer())
    sink.on_response_head(answer())
    assert pool.active == 1
    sink.on_response_end([b"oops"], None)
    sink.on_upstream_error(UpstreamClosed())
    assert (pool.active, len(pool.idle), upstream.closed) == (0, int(keep), not keep)


@pytest.mark.parametrize("how", ["body", "error", "switch"])
def test_whatever_else_comes_closes_it(how):
    """Once."""
    world = World(orders=1)
    client, upstream = started(world, get())
    connection, pool = client.exchange.connection, world.endpoint("orders-1").pool
    assert connection is not None
    sink = LetGo(connection, 1.0, keep=True)
    for _ in range(2):
        if how == "body":
            sink.on_response_body([b"oo"])
        elif how == "error":
            sink.on_upstream_error(UpstreamClosed())
        else:
            sink.on_switched(answer(), b"")
    assert (pool.active, pool.idle, upstream.closed) == (0, [], True)

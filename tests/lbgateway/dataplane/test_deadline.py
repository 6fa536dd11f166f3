"""Remaining milliseconds, in and out."""

from __future__ import annotations

import pytest

from lbgateway.dataplane.deadline import remaining_s, with_deadline
from tests.lbgateway.dataplane.test_exchange import problem, started
from tests.support.playbook import Client, World, get, ok, request

ON = "server: {deadline_header: X-Request-Timeout, trusted_proxies: [10.0.0.0/8]}\n"


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ([], None), ([b"1500"], 1.5), ([b"0"], 0.0), ([b"-5"], 0.0), ([b"900", b"200"], 0.2), ([b"soon"], None), ([b""], None),
        ([b"1.5"], None), ([b"99999999999999"], 1e6), ([b"9" * 5000], None), ([b"x", b"100"], 0.1), (["²".encode("latin-1")], None),
    ],
)  # fmt: skip
def test_what_a_field_leaves(values, seconds):
    """Whole milliseconds; the least of several."""
    assert remaining_s([(b"x-other", b"1"), *((b"x-left", value) for value in values)], b"x-left") == seconds
    assert remaining_s(None, b"x-left") is None


def test_a_head_gets_one_field_more():
    """Behind all others; never less than nothing."""
    assert with_deadline(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"X-Left", 1.5) == b"GET / HTTP/1.1\r\nHost: a\r\nX-Left: 1500\r\n\r\n"
    assert with_deadline(b"GET / HTTP/1.1\r\n\r\n", b"X-Left", -1.0).endswith(b"X-Left: 0\r\n\r\n")


def proxied(world: World, *lines: str) -> Client:
    return world.client("10.1.2.3", trusted=True).sends(get("/api/orders/", *lines))


def left_ms(sent: bytes) -> int:
    [line] = [line for line in sent.split(b"\r\n") if line.lower().startswith(b"x-request-timeout: ")]
    return int(line.split(b": ")[1])


def test_what_a_proxy_leaves_bounds_all_attempts_and_is_passed_on():
    """Less what has passed; the upstream's own time for an attempt may be less still."""
    world = World(ON)
    client = proxied(world, "X-Request-Timeout: 1500")
    upstream = world.connects()
    assert 1000 < left_ms(upstream.got()) <= 1500
    began_s = client.exchange.started_s
    assert client.exchange.until_s == began_s + 1.5
    world.ticks(began_s + 1.6)
    assert problem(client.got(), 504, "response_timeout")
    assert (world.asked, world.left) == ([], [])


def test_without_a_word_of_a_proxy_the_upstream_learns_our_own_patience():
    """`timeout.response`, unless `total` leaves less."""
    world = World(ON)
    client, upstream = started(world)
    assert left_ms(upstream.got()) == 30_000
    assert client.exchange.until_s == client.exchange.started_s + 60


def test_a_client_that_is_no_proxy_is_not_believed():
    """Its field is replaced, in any spelling."""
    world = World(ON)
    client = world.client().sends(get("/api/orders/", "x-REQUEST-timeout: 1", "X_Request_Timeout: 2"))
    assert left_ms(world.connects().got()) == 30_000
    assert client.exchange.until_s == client.exchange.started_s + 60


@pytest.mark.parametrize("value", ["0", "-1"])
def test_who_has_no_time_left_is_answered_at_once(value):
    """No instance is asked for an answer that nobody waits for."""
    world = World(ON)
    client = proxied(world, f"X-Request-Timeout: {value}")
    assert problem(client.got(), 504, "response_timeout")
    assert (world.asked, world.left) == ([], [])


def test_each_attempt_says_what_is_left_then():
    """The second one has less."""
    world = World(ON)
    client = proxied(world, "X-Request-Timeout: 20000")
    world.connects().resets()
    client.exchange.until_s -= 15.0
    upstream = world.connects()
    assert left_ms(upstream.got()) <= 20_000
    upstream.sends(ok())
    assert client.got().endswith(b"fine")


def test_a_body_that_takes_long_leaves_its_answer_less_time():
    """Only where a proxy has said so: otherwise the answer's time begins when the request is complete."""
    put = request("PUT", "/api/orders/", "Content-Length: 6", "X-Request-Timeout: 5000", body=b"abc")
    for peer, trusted, left_s in (("10.1.2.3", True, 5.0), ("192.0.2.7", False, 30.0)):
        world = World(ON)
        client = world.client(peer, trusted=trusted).sends(put)
        world.connects()
        exchange = client.exchange
        client.sends(b"def")
        assert exchange.deadline_s == pytest.approx(exchange.started_s + left_s, abs=0.5)


def test_switched_off_the_field_is_a_field_like_others():
    """It passes as it came."""
    world = World()
    world.client().sends(get("/api/orders/", "X-Request-Timeout: 7"))
    assert b"\r\nX-Request-Timeout: 7\r\n" in world.connects().got()

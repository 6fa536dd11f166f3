"""Requests out of bytes: what is framed well, what is refused, and what a connection remembers of its last head."""

from __future__ import annotations

import re

import h11
import hypothesis
import pytest
from hypothesis import strategies as st

from lbgateway.dataplane.head import request_rules
from lbgateway.dataplane.plane import Limits
from lbgateway.dataplane.request_parser import HOPES
from tests.support.playbook import Client, Peer, World, get, ok, post, request

CHUNKED = "Transfer-Encoding: chunked"


def statuses(client: Client) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", client.got())]


def warm() -> tuple[World, Client, Peer]:
    """One endpoint with a connection, a client that has sent one request."""
    world = World(orders=1)
    client = world.client().sends(get("/api/orders/a", "X-A: 1"))
    upstream = world.connects().sends(ok())
    client.got()
    upstream.got()
    return world, client, upstream


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        b"nonsense\r\n\r\n",
        b"GET /api/orders/\r\n\r\n",
        b"get /api/orders/ HTTP/1.1\r\nHost: x\r\n\r\n",
        request("GET", "/api/orders/", "A : 1"),
        request("GET", "/api/orders/", " folded"),
        request("GET", "/api/orders/", "A: \x00"),
        request("GET", "/api/orders/", "Host: other"),
        request("GET", "/api/orders/", version="1.2"),
        request("GET", "/api/orders/", version="2.0"),
        request("POST", "/api/orders/", "Content-Length: 3", "Content-Length: 4", body=b"abcd"),
        request("POST", "/api/orders/", "Content-Length: -1"),
        request("POST", "/api/orders/", "Content-Length: 3, 3", body=b"abc"),
        request("POST", "/api/orders/", "Content-Length: +3", body=b"abc"),
        request("POST", "/api/orders/", "Content-Length: 3", CHUNKED, body=b"0\r\n\r\n"),
        request("POST", "/api/orders/", CHUNKED, "Content-Length: 3", body=b"0\r\n\r\n"),
        request("POST", "/api/orders/", "Transfer-Encoding: gzip", body=b"0\r\n\r\n"),
        request("POST", "/api/orders/", "Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
        request("POST", "/api/orders/", "Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
        request("POST", "/api/orders/", CHUNKED, CHUNKED, body=b"0\r\n\r\n"),
        request("POST", "/api/orders/", CHUNKED, version="1.0", body=b"0\r\n\r\n"),
    ],
)
def test_what_two_parties_could_frame_differently_is_refused(message):
    """400, once, and the connection ends: nothing of it, nor behind it, reaches an upstream."""
    world = World(orders=1)
    client = world.client().sends(message + get())
    assert (statuses(client), client.transport.ended or client.closed) == ([400], True)
    client.sends(get())
    assert (world.asked, client.got()) == ([], b"")


@pytest.mark.parametrize(
    ("limits", "message", "status"),
    [
        (Limits(max_headers=3), get("/api/orders/", "A: 1", "B: 2"), None),
        (Limits(max_headers=3), get("/api/orders/", "A: 1", "B: 2", "C: 3"), 431),
        (Limits(max_headers=3), get("/api/orders/", "A: 1", "TE: x", "Keep-Alive: 3"), 431),
        (Limits(max_head_bytes=1000), get("/api/orders/", "A: " + "a" * 900), None),
        (Limits(max_head_bytes=1000), get("/api/orders/", "A: " + "a" * 1000), 431),
        (Limits(max_head_bytes=1000), get("/api/orders/", "X-Forwarded-For: " + "a" * 1000), 431),
        (Limits(max_head_bytes=1000), get("/api/orders/" + "a" * 1000), 414),
    ],
)
@pytest.mark.parametrize("size", [100_000, 64, 7])
def test_heads_are_bounded(limits, message, status, size):
    """However they arrive."""
    world = World(orders=1)
    world.plane.limits = limits
    client = world.client()
    for start in range(0, len(message), size):
        if client.transport.ended:
            break
        client.sends(message[start : start + size])
    assert statuses(client) == ([] if status is None else [status])
    assert len(world.asked) == (status is None)


def test_a_body_is_no_part_of_a_head():
    """A long one with the next request's beginning in the same read is fine."""
    world = World(orders=1)
    world.plane.limits = Limits(max_head_bytes=1000)
    client = world.client().sends(post("/api/orders/", b"x" * 5000) + get("/api/orders/")[:20])
    world.connects().sends(ok())
    assert statuses(client) == [200]
    client.sends(get("/api/orders/")[20:])
    assert len(world.plane.active) == 1


def test_a_body_of_nothing_but_framing_is_bounded():
    """Extensions of chunks, and trailers, which the parser collects."""
    world = World(orders=1)
    world.plane.limits = Limits(max_head_bytes=1000)
    client = world.client().sends(request("POST", "/api/orders/", CHUNKED) + b"1\r\na\r\n")
    world.connects()
    client.sends(b"1;" + b"x" * 900, b"x" * 900)
    assert statuses(client) == [400]
    assert world.left == []


def test_trailers_carry_nothing_that_only_the_gateway_may_set():
    """Neither framing nor claims."""
    world = World(orders=1)
    world.plane.request_rules = request_rules([b"x-user-id"])
    world.client().sends(request("POST", "/api/orders/", CHUNKED) + b"0\r\nX-Sum: 1\r\nX-User-Id: root\r\nX-Forwarded-For: me\r\n\r\n")
    assert world.connects().got().endswith(b"\r\n\r\n0\r\nX-Sum: 1\r\n\r\n")


def test_two_authorizations_are_none():
    """No credential can look like both; they go on as they are, to whoever routes without a token."""
    world = World(orders=1)
    client = world.client().sends(get("/api/orders/", "Authorization: Bearer a", "Authorization: Bearer b"))
    assert client.exchange.head.authorization == b"\x00"
    assert world.connects().got().count(b"Authorization: Bearer ") == 2


# -- upgrades ------------------------------------------------------------------------------------


def test_an_upgrade_with_a_body_is_an_ordinary_request():
    """The body is read with its framing, and so is what comes behind it."""
    world = World(orders=1)
    client = world.client().sends(
        request("POST", "/api/orders/1", "Connection: Upgrade", "Upgrade: chat", "Content-Length: 3", body=b"abc") + get("/api/orders/2")
    )
    upstream = world.connects()
    first = upstream.got()
    assert (first.endswith(b"\r\n\r\nabc"), b"pgrade" in first) == (True, False)
    upstream.sends(ok())
    assert upstream.got().startswith(b"GET /2 ")
    upstream.sends(ok())
    assert statuses(client) == [200, 200]


def test_what_comes_behind_a_wanted_upgrade_waits_for_the_upstreams_word():
    """Refused, it was a request after all."""
    world = World(orders=1)
    client = world.client().sends(get("/api/orders/1", "Connection: Upgrade", "Upgrade: chat") + get("/api/orders/2"))
    upstream = world.connects()
    assert upstream.got().count(b"GET ") == 1
    upstream.sends(ok())
    world.connects().sends(ok()) if world.asked else upstream.sends(ok())
    assert statuses(client) == [200, 200]
    assert world.left == []


def test_a_thousand_upgrades_that_are_none_are_a_loop():
    """Not a recursion."""
    world = World(orders=1)
    client = world.client().sends(get("/nowhere", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c") * 2000)
    assert statuses(client) == [404] * 2000


# -- what is remembered --------------------------------------------------------------------------


def test_a_repeated_head_is_a_request_like_any_other():
    """Another method, another target; the fields are those of the head before."""
    world, client, upstream = warm()
    for method, path in (("GET", "/b?x=1"), ("DELETE", "/c"), ("GET", "/api")):
        client.sends(request(method, f"/api/orders{path}", "X-A: 1"))
        sent = upstream.got()
        assert sent.startswith(f"{method} {path} HTTP/1.1\r\nHost: shop.example\r\nX-A: 1\r\n".encode())
        upstream.sends(ok())
    assert statuses(client) == [200] * 3
    assert world.left == []


@pytest.mark.parametrize(
    "between",
    [
        get("/api/orders/b", "Connection: Upgrade", "Upgrade: x", "X-B: 1"),
        get("/api/orders/b", "X-B: 1"),
        get("/api/orders/b", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "X-B: 1"),
        request("POST", "/api/orders/b", "X-B: 1", "Content-Length: 0"),
        request("POST", "/api/orders/b", "X-B: 1", CHUNKED, body=b"0\r\n\r\n"),
    ],
)
def test_a_remembered_head_is_that_of_the_request_before_and_of_no_other(between):
    """The same bytes again, but with another request in between: its fields do not come along."""
    world, client, upstream = warm()
    client.sends(between)
    upstream.sends(ok())
    upstream.got()
    client.sends(get("/api/orders/c", "X-A: 1"))
    sent = b"".join(peer.got() for peer in (*world.upstreams, *(asked.succeeds() for asked in tuple(world.asked))))
    assert sent.startswith(b"GET /c HTTP/1.1\r\nHost: shop.example\r\nX-A: 1\r\nX-Forwarded-For: ")


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"BREW /api/orders/ HTTP/1.1\r\nHost: shop.example\r\nX-A: 1\r\n\r\n", 400),
        (get("/a%2fb", "X-A: 1"), 400),
        (get("/nowhere", "X-A: 1"), 404),
        (request("TRACE", "/api/orders/", "X-A: 1"), 405),
        (get("/api/orders/" + "a" * 70_000, "X-A: 1"), 414),
    ],
)
def test_a_repeated_head_passes_the_same_checks(message, status):
    """Only what is the same is not looked at again."""
    world, client, _ = warm()
    client.sends(message)
    assert statuses(client) == [status]
    assert world.left == []


def test_a_repeated_head_in_front_of_which_another_request_stands_is_taken_apart():
    """Two requests in one read are two."""
    _, client, upstream = warm()
    client.sends(get("/api/orders/b", "X-B: 1") + get("/api/orders/c", "X-A: 1"))
    upstream.sends(ok())
    upstream.sends(ok())
    assert [line.split(b"\r\n")[2] for line in upstream.got().split(b"GET ")[1:]] == [b"X-B: 1", b"X-A: 1"]
    assert statuses(client) == [200, 200]


def test_new_rules_forget_old_heads():
    """A reload that reserves a name is obeyed by the next request."""
    world, client, upstream = warm()
    world.plane.request_rules = request_rules([b"x-a"])
    client.sends(get("/api/orders/b", "X-A: 1"))
    assert b"X-A" not in upstream.got()


def test_a_connection_whose_heads_never_repeat_stops_hoping():
    """And is right all the same when at last one does."""
    _, client, upstream = warm()
    for number in range(HOPES + 3):
        client.sends(get(f"/api/orders/{number}", f"X-N: {number}"))
        assert f"X-N: {number}\r\n".encode() in upstream.got()
        upstream.sends(ok())
    for _ in range(2):
        client.sends(get("/api/orders/x", "X-N: same"))
        assert b"X-N: same\r\n" in upstream.got()
        upstream.sends(ok())


MESSAGES = [
    get("/api/orders/1", "X-A: 1"), get("/api/orders/2", "X-A: 1"), get("/api/orders/3", "X-B: 2"), post("/api/orders/4", b"abc"),
    request("PUT", "/api/orders/5", CHUNKED, body=b"2\r\nab\r\n1\r\nc\r\n0\r\nX-Sum: 1\r\n\r\n"), request("HEAD", "/api/orders/6"),
]  # fmt: skip


@hypothesis.given(
    messages=st.lists(st.sampled_from(MESSAGES), min_size=1, max_size=6), cuts=st.lists(st.integers(1, 90), min_size=1, max_size=8)
)
def test_where_the_network_cuts_makes_no_difference(messages, cuts):
    """Each request goes on as it would have gone on alone, on a connection of its own."""
    world = World(orders=1)
    client = world.client()
    left, turn, got = b"".join(messages), 0, b""
    while left:
        client.sends(left[: cuts[turn % len(cuts)]])
        left, turn = left[cuts[turn % len(cuts)] :], turn + 1
    upstream = world.connects()
    for _ in messages:
        got += upstream.got()
        upstream.sends(ok(b"") if b"HEAD /" not in got[-200:] else b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert requests_in(got + upstream.got()) == [one for message in messages for one in alone(message)]
    assert world.left == []


def alone(message: bytes) -> list[tuple[object, ...]]:
    world = World(orders=1)
    world.client().sends(message)
    return requests_in(world.connects().got())


def requests_in(data: bytes) -> list[tuple[object, ...]]:
    """As h11 reads them: method, target, fields but for the id, body, trailers."""
    found: list[tuple[object, ...]] = []
    while data:
        http = h11.Connection(h11.SERVER)
        http.receive_data(data)
        head, body = http.next_event(), b""
        assert isinstance(head, h11.Request)
        while isinstance(event := http.next_event(), h11.Data):
            body += bytes(event.data)
        assert isinstance(event, h11.EndOfMessage)
        fields = [field for field in head.headers.raw_items() if field[0] != b"X-Request-Id"]
        found.append((head.method, head.target, fields, body, list(event.headers)))
        data, _ = http.trailing_data
    return found

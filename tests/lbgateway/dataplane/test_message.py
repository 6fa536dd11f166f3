"""Whole messages: what the upstream gets for what the client sent, what the client gets for what the upstream said."""

from __future__ import annotations

import re

import pytest

from tests.support.playbook import World, get, ok, request

DATE = "Date: Thu, 01 Jan 1970 00:00:00 GMT"
ROUTE = "services: {orders: {instances: ['127.0.0.1:9']}}\nroutes: [{prefix: /api/orders, service: orders, %s}]\n"
OURS = (b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Forwarded-Port", b"Via", b"X-Request-Id")


def sent(message: bytes, text: str = "", *, extra: bytes = b"") -> tuple[bytes, list[bytes]]:
    """The request line for the upstream, and its fields without those of ours."""
    world = World(text, orders=1)
    if extra:
        for route in world.plane.routes.routes:
            route.admit = (lambda exchange: setattr(exchange, "extra_lines", extra),)
    world.client().sends(message)
    head, _, _ = world.connects().got().partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    assert [field.split(b": ")[0] for field in fields if field.startswith(OURS)] == [*OURS]
    return line, [field for field in fields if not field.startswith(OURS)]


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (get("/api/orders/items/7?a=b&c"), b"GET /items/7?a=b&c HTTP/1.1"),
        (get("/api/orders"), b"GET / HTTP/1.1"),
        (get("/api/orders?x"), b"GET /?x HTTP/1.1"),
        (get("/api//orders/./a/../b%2d"), b"GET /b- HTTP/1.1"),
        (get("/api/ORDERS/A"), b"GET /A HTTP/1.1"),
        (request("DELETE", "/api/orders/1"), b"DELETE /1 HTTP/1.1"),
        (request("GET", "/api/orders/", version="1.0"), b"GET / HTTP/1.1"),
    ],
)
def test_the_request_line(message, line):
    """The prefix is gone, the path is in its one spelling, the query as it came, the version ours."""
    assert sent(message)[0] == line


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        (("Accept: */*", "X-A: 1", "X-A: 2"), [b"Accept: */*", b"X-A: 1", b"X-A: 2"]),
        (("Connection: close", "Keep-Alive: 5"), []),
        (("Connection: X-Hop", "X-Hop: 1", "X-End: 2"), [b"X-End: 2"]),
        (("Connection: host", "X-End: 2"), [b"X-End: 2"]),
        (("TE: trailers",), []),
        (("TE: trailers, deflate", "Connection: TE"), [b"TE: trailers", b"Connection: TE"]),
        (("Connection: Upgrade", "Upgrade: WebSocket"), [b"Connection: Upgrade", b"Upgrade: websocket"]),
        (("Content-Length: 0",), [b"Content-Length: 0"]),
        (("Expect: 100-continue",), []),
    ],
)
def test_the_fields_of_a_request(lines, kept):
    """End-to-end fields in their order, with Host first; those of the hop are written anew."""
    assert sent(get("/api/orders/", *lines))[1] == [b"Host: shop.example", *kept]


def test_the_framing_of_a_request_is_written_anew():
    """Length or chunks, as it was read; never both, never a second one."""
    chunked = request("POST", "/api/orders/", "Transfer-Encoding: Chunked", "Expect: 100-Continue")
    assert sent(chunked)[1][1:] == [b"Transfer-Encoding: chunked", b"Expect: 100-continue"]
    assert sent(request("POST", "/api/orders/", "content-length: 05", body=b"abcde"))[1][1:] == [b"Content-Length: 5"]


def test_an_absolute_target_overrules_host():
    """RFC 9112, 3.2.2; and it is not remembered for the next request."""
    world = World(orders=1)
    client = world.client().sends(get("http://other.example/api/orders/a"))
    upstream = world.connects()
    assert upstream.got().startswith(b"GET /a HTTP/1.1\r\nHost: other.example\r\n")
    upstream.sends(ok())
    client.sends(get("/api/orders/b"))
    assert upstream.got().startswith(b"GET /b HTTP/1.1\r\nHost: shop.example\r\n")


def test_a_request_without_host_gets_one():
    """HTTP/1.0 may leave it out, our own version may not: the service's name serves."""
    assert sent(b"GET /api/orders/ HTTP/1.0\r\n\r\n")[1] == [b"Host: orders"]


def test_policies_and_routes_edit_the_request():
    """Claims are added, a route's edits are applied; in front of ours, which nobody edits."""
    text = ROUTE % "strip_prefix: true, request_headers: {set: {X-A: new}, remove: [X-B]}"
    line, fields = sent(get("/api/orders/", "X-A: old", "X-B: 1", "X-C: 1"), text, extra=b"X-User-Id: ann\r\n")
    assert (line, fields) == (b"GET / HTTP/1.1", [b"Host: shop.example", b"X-C: 1", b"X-A: new", b"X-User-Id: ann"])


def test_what_a_route_sets_or_removes_is_no_claim_beside_it():
    """The route is nearer: a service would not know which of two fields to believe."""
    text = ROUTE % "strip_prefix: true, request_headers: {set: {X-User-Id: machine}, remove: [X_User_Scope]}"
    claims = b"X-User-Id: ann\r\nX-User-Scope: all\r\nX-Tenant: t\r\n"
    line, fields = sent(get("/api/orders/"), text, extra=claims)
    assert (line, fields) == (b"GET / HTTP/1.1", [b"Host: shop.example", b"X-User-Id: machine", b"X-Tenant: t"])


def test_what_was_rendered_once_serves_again_for_the_same_claims_only():
    """Another user's token, a new rendering."""
    world = World(orders=1)
    told = iter([b"X-User-Id: ann\r\n", b"X-User-Id: bob\r\n"])
    for route in world.plane.routes.routes:
        route.admit = (lambda exchange: setattr(exchange, "extra_lines", next(told)),)
    client = world.client().sends(get("/api/orders/a"))
    upstream = world.connects().sends(ok())
    assert b"X-User-Id: ann" in upstream.got()
    client.sends(get("/api/orders/b"))
    second = upstream.got()
    assert (b"X-User-Id: bob" in second, b"ann" in second) == (True, False)


def answered(response: bytes, *, message: bytes | None = None, text: str = "", draining: bool = False) -> tuple[bytes, list[bytes]]:
    """The status line for the client, and its fields with the request id replaced."""
    world = World(text, orders=1)
    world.plane.date_line = b"Date: ours\r\n"
    client = world.client().sends(message or get())
    upstream = world.connects()
    if draining:
        world.plane.drain()
    upstream.sends(response)
    if not client.closed:
        upstream.ends()
    head, _, _ = client.got().partition(b"\r\n\r\n")
    head = re.sub(rb"X-Request-Id: [0-9a-f]{32}$", b"X-Request-Id: ID", head)
    line, *fields = head.split(b"\r\n")
    assert fields[-2:] == [b"Via: 1.1 lbgateway", b"X-Request-Id: ID"]
    return line, fields[:-2]


@pytest.mark.parametrize(
    ("response", "line", "fields"),
    [
        (ok(b"", DATE), b"HTTP/1.1 200 OK", [DATE.encode(), b"Content-Length: 0"]),
        (ok(b""), b"HTTP/1.1 200 OK", [b"Content-Length: 0", b"Date: ours"]),
        (ok(b"", "A: 1", "A: 2", DATE, status="299 What"), b"HTTP/1.1 299 ", [b"A: 1", b"A: 2", DATE.encode(), b"Content-Length: 0"]),
        (ok(b"", "Connection: X-Hop", "X-Hop: 1", "Keep-Alive: 5", DATE), b"HTTP/1.1 200 OK", [DATE.encode(), b"Content-Length: 0"]),
        (ok(b"", "X-Request-Id: theirs", DATE), b"HTTP/1.1 200 OK", [DATE.encode(), b"Content-Length: 0"]),
        (f"HTTP/1.1 200 OK\r\n{DATE}\r\n\r\n".encode(), b"HTTP/1.1 200 OK", [DATE.encode(), b"Transfer-Encoding: chunked"]),
        (f"HTTP/1.1 204 No\r\nContent-Length: 0\r\n{DATE}\r\n\r\n".encode(), b"HTTP/1.1 204 No Content", [DATE.encode()]),
        (ok(b"", DATE, status="304 Not Modified"), b"HTTP/1.1 304 Not Modified", [DATE.encode(), b"Content-Length: 0"]),
    ],
)
def test_the_head_of_a_response(response, line, fields):
    """The fields of the message pass, those of the hop do not, framing and date are made sure of."""
    assert answered(response) == (line, fields)


@pytest.mark.parametrize(
    ("message", "draining", "connection"),
    [
        (get(), False, []),
        (get("/api/orders/", "Connection: close"), False, [b"Connection: close"]),
        (get(), True, [b"Connection: close"]),
        (request("GET", "/api/orders/", version="1.0"), False, [b"Connection: close"]),
        (request("GET", "/api/orders/", "Connection: keep-alive", version="1.0"), False, [b"Connection: keep-alive"]),
    ],
)
def test_a_client_is_told_whether_its_connection_stays(message, draining, connection):
    """What it would not assume is said."""
    assert answered(ok(b"", DATE), message=message, draining=draining)[1] == [DATE.encode(), b"Content-Length: 0", *connection]


def test_a_route_edits_the_response():
    """Also what the service said of itself."""
    text = ROUTE % "response_headers: {set: {Server: gw}, remove: [X-B]}"
    assert answered(ok(b"", "Server: theirs", "X-B: 1", DATE), text=text)[1] == [DATE.encode(), b"Server: gw", b"Content-Length: 0"]


def test_switching_passes_the_fields_of_the_handshake():
    """101 is the one answer whose Connection and Upgrade pass."""
    response = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: abc\r\n\r\n"
    message = get("/api/orders/", "Connection: Upgrade", "Upgrade: websocket")
    line, fields = answered(response, message=message)
    assert (line, fields) == (
        b"HTTP/1.1 101 Switching Protocols",
        [b"Sec-WebSocket-Accept: abc", b"Connection: Upgrade", b"Upgrade: websocket"],
    )


def test_interim_responses_lose_the_fields_of_their_hop():
    """As they came otherwise."""
    world = World(orders=1)
    client = world.client().sends(get())
    world.connects().sends(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n")
    assert client.got() == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


EDITS = "%s: {set: {X-Shop: main}, add: {X-Tag: a}, remove: [X-Debug]}"
BEHIND = b"X-Sum: 1\r\nx_shop: other\r\nX.Debug: 1\r\nX-Tag: b\r\nX-Hop: 1\r\n"
CHUNKED = ("Transfer-Encoding: chunked", "Connection: X-Hop")


def test_what_a_head_may_not_say_comes_behind_the_body_neither():
    """Some services merge trailers into the head. What a route adds to the head is not added once more."""
    world = World(ROUTE % (EDITS % "request_headers"), orders=1)
    world.client().sends(request("POST", "/api/orders/", *CHUNKED) + b"1\r\na\r\n0\r\n" + BEHIND + b"\r\n")
    head, body = world.connects().got().split(b"\r\n\r\n", 1)
    assert body == b"1\r\na\r\n0\r\nX-Sum: 1\r\nX-Tag: b\r\n\r\n"
    assert (head.count(b"X-Shop: main"), head.count(b"X-Tag: a")) == (1, 1)


def test_nor_does_it_behind_the_body_of_a_response():
    """A client reads fields there like others; so with those of CORS, where the gateway speaks for all."""
    text = "cors: {allow_origins: ['https://app.example']}\n" + ROUTE % (EDITS % "response_headers")
    world = World(text, orders=1)
    client = world.client().sends(get())
    behind = BEHIND + b"Access-Control-Allow-Origin: *\r\n"
    world.connects().sends("\r\n".join(("HTTP/1.1 200 OK", *CHUNKED, "", "1", "a", "0", "")).encode() + behind + b"\r\n")
    head, body = client.got().split(b"\r\n\r\n", 1)
    assert body == b"1\r\na\r\n0\r\nX-Sum: 1\r\nX-Tag: b\r\n\r\n"
    assert (head.count(b"X-Shop: main"), head.count(b"X-Tag: a")) == (1, 1)


def test_where_nothing_is_left_behind_a_body_the_last_chunk_is_bare():
    """Each way."""
    world = World(ROUTE % "request_headers: {remove: [X-Sum]}, response_headers: {remove: [X-Sum]}", orders=1)
    client = world.client().sends(request("POST", "/api/orders/", CHUNKED[0]) + b"0\r\nX-Sum: 1\r\n\r\n")
    upstream = world.connects()
    assert upstream.got().endswith(b"\r\n\r\n0\r\n\r\n")
    upstream.sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\r\n")
    assert client.got().endswith(b"\r\n\r\n0\r\n\r\n")


def test_what_a_route_takes_from_a_response_is_in_none_before_it_either():
    """Interim ones, and the switch to another protocol, which has what is added as well."""
    fields = "X-Debug: 1\r\nx_shop: other\r\nX-Hop: 1\r\nLink: </a>\r\n"
    world = World(ROUTE % (EDITS % "response_headers"), orders=1)
    client = world.client().sends(get("/api/orders/", "Connection: Upgrade", "Upgrade: websocket"))
    upstream = world.connects().sends(f"HTTP/1.1 103 Early Hints\r\n{fields}Connection: X-Hop\r\n\r\n".encode())
    assert client.got() == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    upstream.sends(f"HTTP/1.1 101 Switching Protocols\r\n{fields}Connection: Upgrade, X-Hop\r\nUpgrade: websocket\r\n\r\n".encode())
    lines = client.got().split(b"\r\n")
    assert lines[1:6] == [b"Link: </a>", b"X-Shop: main", b"X-Tag: a", b"Connection: Upgrade", b"Upgrade: websocket"]

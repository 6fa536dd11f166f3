"""Answers on their way to the client: framing anew, trailers, bodyless ones, interim ones, early ones, old versions."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from lbgateway.dataplane.client_connection import LINGER_S
from lbgateway.runtime import Gateway
from tests.support.live_gateway import LiveGateway, one_upstream
from tests.support.wire import Listener, Wire, ok

Pair = tuple[LiveGateway, Listener]


@pytest.fixture(scope="module")
def shared() -> Iterator[Pair]:
    with one_upstream({"services": {"orders": {"retry": {"attempts": 0}}}}) as made:
        yield made


@pytest.fixture
def pair(shared: Pair) -> Iterator[Pair]:
    """One test's leftovers are not another's."""
    yield shared
    gateway, upstream = shared
    upstream.close_all()
    gateway.disconnect_all()
    gateway.assert_settled()


def lines(*parts: str) -> bytes:
    return "\r\n".join((*parts, "", "")).encode("latin-1")


def exchange(pair: Pair, request: bytes, response: bytes) -> tuple[Wire, Wire]:
    """The client's and the upstream's end after one request and its answer."""
    gateway, upstream = pair
    client = gateway.connect().send(request)
    return client, upstream.serve(response)


GET_11 = lines("GET /api/orders/ HTTP/1.1", "Host: a")
GET_10 = lines("GET /api/orders/ HTTP/1.0", "Host: a")
GET_10_KEPT = lines("GET /api/orders/ HTTP/1.0", "Host: a", "Connection: keep-alive")
CHUNKED = lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"4;x=y\r\none \r\n3\r\ntwo\r\n0\r\n\r\n"
UNTIL_END = lines("HTTP/1.1 200 OK", "Connection: close") + b"until the end"


def test_a_body_until_the_end_is_chunked_for_http_1_1(pair: Pair) -> None:
    """The client's connection stays although the upstream's ends."""
    client, server = exchange(pair, GET_11, UNTIL_END)
    server.close()
    answer = client.message()

    assert (answer.body, answer.get("Transfer-Encoding"), answer.get("Connection")) == (b"until the end", "chunked", None)
    assert exchange(pair, GET_11, ok())[0].message().status == 200


@pytest.mark.parametrize("request_bytes", [GET_10, GET_10_KEPT])
@pytest.mark.parametrize("response", [UNTIL_END, CHUNKED])
def test_a_body_without_length_ends_with_the_connection_for_http_1_0(pair: Pair, request_bytes: bytes, response: bytes) -> None:
    """It knows no chunks."""
    client, server = exchange(pair, request_bytes, response)
    server.close()
    answer = client.message()

    assert answer.body in (b"until the end", b"one two")
    assert (answer.get("Transfer-Encoding"), answer.get("Connection")) == (None, "close")


def test_chunks_are_framed_anew(pair: Pair) -> None:
    """What one read brought is one chunk; extensions go, data stays, and both connections are kept."""
    client, server = exchange(pair, GET_11, CHUNKED)

    assert client.until(b"\r\n0\r\n\r\n").endswith(b"\r\n\r\n7\r\none two\r\n0\r\n\r\n")
    client.send(GET_11)
    assert server.message().target == "/"
    server.send(ok())
    assert client.message().status == 200


def test_trailers_pass_in_both_directions_but_for_dangerous_ones(pair: Pair) -> None:
    """Nothing behind the body may frame, route, authenticate, or speak for a client (RFC 9110, 6.5.1)."""
    gateway, upstream = pair
    behind = (
        "X-Sum: 1", "Host: b", "Authorization: x", "X-Forwarded-For: 6.6.6.6", "X_Forwarded_For: 6.6.6.6", "Cookie: a=b", "Set-Cookie: a=b",
        "Keep-Alive: 1", "TE: x", "Trailer: x", "x-request-id: x", "X-Hop: 1", "Y-Sum: 2",
    )  # fmt: skip
    body = b"1\r\na\r\n" + lines("0", *behind)
    client = gateway.connect()
    client.send(lines("POST /api/orders/ HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Trailer: X-Sum", "Connection: X-Hop") + body)
    server = upstream.accept()
    request = server.message()
    server.send(lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Trailer: X-Sum", "Connection: X-Hop") + body)
    answer = client.message()

    assert request.trailers == answer.trailers == (("X-Sum", "1"), ("Y-Sum", "2"))
    assert request.get("Trailer") == answer.get("Trailer") == "X-Sum"


@pytest.mark.parametrize(("asking", "announced"), [(GET_11, "X-Sum, Y-Sum"), (GET_10, None)])
def test_trailers_are_announced_where_they_can_come(pair: Pair, asking: bytes, announced: str | None) -> None:
    """In chunks, by whatever many fields; a client of HTTP/1.0 gets none, so it is promised none."""
    head = lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Trailer: X-Sum", "trailer: Y-Sum")
    client, _ = exchange(pair, asking, head + b"1\r\na\r\n" + lines("0", "X-Sum: 1"))
    answer = client.message()

    assert (answer.body, answer.get("Trailer"), answer.trailers) == (b"a", announced, (("X-Sum", "1"),) if announced else ())


@pytest.mark.parametrize("line", ["Content-Length: 3", "Transfer-Encoding: chunked"])
def test_framing_behind_a_body_is_refused(pair: Pair, line: str) -> None:
    """There is no innocent reason for it."""
    gateway, _ = pair
    client = gateway.connect()
    client.send(lines("POST /api/orders/ HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + b"1\r\na\r\n" + lines("0", line))

    assert client.message().status == 400
    assert client.ended(1)


@pytest.mark.parametrize("name", ["X-User-Id", "x_user_scope"])
def test_a_client_sets_no_forwarded_claim_behind_the_body(pair: Pair, name: str) -> None:
    """Some servers merge trailers into the fields."""
    gateway, upstream = pair
    client = gateway.connect()
    client.send(lines("POST /api/orders/ HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + b"1\r\na\r\n" + lines("0", f"{name}: root"))
    server = upstream.accept()

    assert server.message().trailers == ()
    server.send(ok())
    assert client.message().status == 200


def test_trailers_do_not_leak_into_the_next_message(pair: Pair) -> None:
    """Each message has its own, on both sides."""
    client, server = exchange(pair, GET_11, lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"0\r\nX-Sum: 1\r\n\r\n")
    assert client.message().trailers == (("X-Sum", "1"),)
    client.send(GET_11)
    server.message()
    server.send(CHUNKED)

    assert client.message().trailers == ()


@pytest.mark.parametrize(
    ("method", "response", "expected"),
    [
        ("HEAD", lines("HTTP/1.1 200 OK", "Content-Length: 1234"), {"Content-Length": "1234"}),
        ("HEAD", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), {"Content-Length": None}),
        ("HEAD", lines("HTTP/1.1 404 Not Found", "Content-Length: 9"), {"Content-Length": "9"}),
        ("GET", lines("HTTP/1.1 204 No Content"), {"Content-Length": None, "Transfer-Encoding": None}),
        ("GET", lines("HTTP/1.1 204 No Content", "Content-Length: 0"), {"Content-Length": None}),
        ("GET", lines("HTTP/1.1 304 Not Modified", "ETag: x"), {"Content-Length": None, "Transfer-Encoding": None, "ETag": "x"}),
        ("GET", lines("HTTP/1.1 304 Not Modified", "Content-Length: 1234"), {"Content-Length": "1234"}),
        ("GET", lines("HTTP/1.1 200 OK", "Content-Length: 0"), {"Content-Length": "0"}),
        ("DELETE", lines("HTTP/1.1 205 Reset Content", "Content-Length: 0"), {"Content-Length": "0"}),
    ],
)
def test_an_answer_without_a_body_has_none(pair: Pair, method: str, response: bytes, expected: dict[str, str | None]) -> None:
    """And both connections are ready for the next request."""
    client, server = exchange(pair, lines(f"{method} /api/orders/ HTTP/1.1", "Host: a"), response)
    answer = client.message(bodyless=True)

    assert {name: answer.get(name) for name in expected} == expected
    client.send(GET_11)
    server.message()
    server.send(ok(b"next"))
    assert client.message().body == b"next"


@pytest.mark.parametrize("status", [200, 201, 206, 299, 301, 404, 418, 451, 500, 503, 599, 999])
def test_any_final_status_passes(pair: Pair, status: int) -> None:
    """Also those that nobody has registered, with the upstream's body."""
    client, _ = exchange(pair, GET_11, ok(b"as it is", status=f"{status} Whatever"))
    answer = client.message()

    assert (answer.status, answer.body, answer.get("Proxy-Status")) == (status, b"as it is", None)


INTERIM = lines("HTTP/1.1 100 Continue") + lines("HTTP/1.1 103 Early Hints", "Link: </a.css>; rel=preload", "Connection: X-Hop", "X-Hop: 1")


def test_interim_answers_pass_to_http_1_1(pair: Pair) -> None:
    """In their order, with their fields, without hop-by-hop ones."""
    client, _ = exchange(pair, GET_11, INTERIM + ok(b"final"))

    assert client.message().status == 100
    hints = client.message()
    assert (hints.status, hints.get("Link"), hints.names() & {"x-hop", "connection"}) == (103, "</a.css>; rel=preload", set())
    assert client.message().body == b"final"


def test_interim_answers_do_not_pass_to_http_1_0(pair: Pair) -> None:
    """It would take them for the final one (RFC 9110, 15.2)."""
    client, _ = exchange(pair, GET_10, INTERIM + ok(b"final"))

    assert client.message().body == b"final"


POST_EXPECTING = lines("POST /api/orders/ HTTP/1.1", "Host: a", "Content-Length: 5", "Expect: 100-continue")


def test_the_upstream_says_when_to_continue(pair: Pair) -> None:
    """The body goes when the upstream wants it."""
    gateway, upstream = pair
    client = gateway.connect().send(POST_EXPECTING)
    server = upstream.accept()
    assert server.head().get("Expect") == "100-continue"
    assert client.silent(0.05)
    server.send(lines("HTTP/1.1 100 Continue"))
    assert client.message().status == 100
    client.send(b"hello")
    assert server.exactly(5) == b"hello"
    server.send(ok(b"thanks"))

    assert client.message().body == b"thanks"
    client.send(GET_11)
    assert server.message().target == "/"
    server.send(ok(b"next"))
    assert client.message().body == b"next"


@pytest.mark.parametrize("status", ["200 OK", "401 Unauthorized", "413 Content Too Large", "417 Expectation Failed"])
def test_the_upstream_answers_without_wanting_the_body(pair: Pair, status: str) -> None:
    """The client learns it, and neither connection is used again: a body may or may not be on its way."""
    gateway, upstream = pair
    client = gateway.connect().send(POST_EXPECTING)
    server = upstream.accept()
    server.head()
    server.send(ok(b"no", status=status))
    answer = client.message()

    assert (answer.status, answer.body, answer.get("Connection")) == (int(status[:3]), b"no", "close")
    assert client.ended(1)
    assert server.ended(1)


def test_an_early_answer_arrives_whole_while_the_client_still_uploads(pair: Pair) -> None:
    """No reset overtakes it, however much is on its way (RFC 9112, 9.6)."""
    gateway, upstream = pair
    client = gateway.connect().send(lines("POST /api/orders/ HTTP/1.1", "Host: a", "Content-Length: 100000000"), b"x" * 100_000)
    server = upstream.accept()
    server.head()
    server.exactly(50_000)
    server.send(ok(b"too much" * 1000, "Connection: close", status="413 Content Too Large"))
    client.send(*[b"x" * 100_000] * 20)
    answer = client.message()

    assert (answer.status, answer.body) == (413, b"too much" * 1000)
    assert client.ended(3)
    assert server.ended(1)


def test_http_1_0_ends_with_its_answer_unless_asked_not_to(pair: Pair) -> None:
    """And the gateway says so."""
    client, _ = exchange(pair, GET_10, ok(b"one"))
    answer = client.message()
    assert (answer.body, answer.get("Connection")) == (b"one", "close")
    assert client.to_end() == b""


def test_http_1_0_may_ask_for_more(pair: Pair) -> None:
    """The answer says that the connection stays, which it would not assume."""
    client, server = exchange(pair, GET_10_KEPT, ok(b"one"))
    for _ in range(2):
        answer = client.message()
        assert (answer.body, answer.get("Connection")) == (b"one", "keep-alive")
        client.send(GET_10_KEPT)
        server.message()
        server.send(ok(b"one"))


def test_an_upstream_of_http_1_0_is_understood(pair: Pair) -> None:
    """Its connection ends unless it says keep-alive."""
    client, server = exchange(pair, GET_11, lines("HTTP/1.0 200 OK", "Content-Length: 3") + b"old")
    assert client.message().body == b"old"
    assert server.ended(1)

    client, server = exchange(pair, GET_11, lines("HTTP/1.0 200 OK", "Content-Length: 3", "Connection: keep-alive") + b"old")
    assert client.message().body == b"old"
    assert server.silent(0.02)


def test_the_last_answer_is_not_cut_for_a_slow_reader(pair: Pair) -> None:
    """Closing waits until all is written, longer than it waits for a silent client."""
    gateway, upstream = pair
    body = bytes(range(256)) * 600
    client = gateway.connect(receive_buffer=4096).send(lines("GET /api/orders/ HTTP/1.1", "Host: a", "Connection: close"))
    server = upstream.accept()
    server.message()

    def all_at_once(root: Gateway) -> None:
        for protocol in root.plane.connections:
            protocol.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        server.send(ok(body))

    gateway.call(all_at_once)
    got = bytearray()
    while gateway.gateway.plane.active:
        got += client.sock.recv(256)
    assert gateway.call(lambda root: sum(each.transport.get_write_buffer_size() for each in root.plane.connections)) > 0
    time.sleep(LINGER_S + 0.4)

    got += client.to_end()
    assert bytes(got).endswith(body)

"""What an upstream answers wrongly never becomes a client's answer, and never another client's."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pytest

from tests.support.live_gateway import LiveGateway, one_upstream
from tests.support.wire import Cut, Listener, ok

Pair = tuple[LiveGateway, Listener]

ONCE = {"services": {"*": {"retry": {"attempts": 0}, "breaker": None}}}
"""Each answer is judged by itself: so many bad ones would open the breaker."""


@pytest.fixture(scope="module")
def shared() -> Iterator[Pair]:
    with one_upstream(ONCE) as made:
        yield made


@pytest.fixture
def pair(shared: Pair) -> Iterator[Pair]:
    """One test's leftovers are not another's."""
    yield shared
    gateway, upstream = shared
    upstream.close_all()
    gateway.disconnect_all()
    gateway.assert_settled()


def head(*lines: str) -> bytes:
    return "\r\n".join((*lines, "", "")).encode("latin-1")


MALFORMED = {
    "length and chunked": head("HTTP/1.1 200 OK", "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "chunked and length": head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Content-Length: 5") + b"0\r\n\r\n",
    "two lengths": head("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 4") + b"hello",
    "two equal lengths": head("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 5") + b"hello",
    "list of lengths": head("HTTP/1.1 200 OK", "Content-Length: 5, 5") + b"hello",
    "negative length": head("HTTP/1.1 200 OK", "Content-Length: -1") + b"hello",
    "endless length": head("HTTP/1.1 200 OK", "Content-Length: 99999999999999999999999"),
    "garbage": b"\x00\x01\x02\x03\r\n\r\n",
    "text": b"<html>hello</html>\r\n\r\n",
    "LF only": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "one bare LF": b"HTTP/1.1 200 OK\r\nX-A: b\nContent-Length: 5\r\n\r\nhello",
    "bare CR": b"HTTP/1.1 200 OK\r\nX-A: b\rX-B: c\r\nContent-Length: 5\r\n\r\nhello",
    "folded field": head("HTTP/1.1 200 OK", "X-A: b", " c", "Content-Length: 5") + b"hello",
    "NUL in a value": head("HTTP/1.1 200 OK", "X-A: b\x00", "Content-Length: 5") + b"hello",
    "space before the colon": head("HTTP/1.1 200 OK", "Content-Length : 5") + b"hello",
    "chunked in HTTP/1.0": head("HTTP/1.0 200 OK", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "gzip, chunked": head("HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "chunked, gzip": head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked, gzip") + b"0\r\n\r\n",
    "identity": head("HTTP/1.1 200 OK", "Transfer-Encoding: identity") + b"hello",
    "two chunked": head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "HTTP/2.0": head("HTTP/2.0 200 OK", "Content-Length: 5") + b"hello",
    "HTTP/0.9": head("HTTP/0.9 200 OK", "Content-Length: 5") + b"hello",
    "status of two digits": head("HTTP/1.1 99 OK", "Content-Length: 5") + b"hello",
    "status of four digits": head("HTTP/1.1 2000 OK", "Content-Length: 5") + b"hello",
    "status 000": head("HTTP/1.1 000 OK", "Content-Length: 5") + b"hello",
    "status in words": head("HTTP/1.1 OK", "Content-Length: 5") + b"hello",
    "a request": head("GET / HTTP/1.1", "Host: a"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_response_is_502(pair: Pair, name: str) -> None:
    """A problem in the gateway's name; that upstream connection ends, the client's stays."""
    gateway, upstream = pair
    client = gateway.connect().get()
    server = upstream.accept()
    server.message()
    server.send(MALFORMED[name])

    answer = client.message()
    assert answer.status == 502
    assert json.loads(answer.body)["type"].endswith(":upstream_malformed")
    assert answer.get("Proxy-Status") == "lbgateway; error=http_protocol_error"
    assert "connection" not in answer.names()
    assert server.ended(1)
    client.get()
    upstream.serve(ok(b"better"))
    assert client.message().body == b"better"


def test_a_head_without_end_is_502(pair: Pair) -> None:
    """An upstream cannot fill the gateway's memory."""
    gateway, upstream = pair
    client = gateway.connect().get()
    server = upstream.accept()
    server.message()
    server.send(b"HTTP/1.1 200 OK\r\n")
    for number in range(40):
        try:
            server.send(f"X-{number}: {'x' * 10_000}\r\n".encode())
        except ConnectionError:
            break

    assert client.message().status == 502
    assert server.ended(1)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_an_answer_that_breaks_off_in_its_head_is_502(pair: Pair, sent: bytes) -> None:
    """Nothing has gone to the client yet, so it gets a proper answer."""
    gateway, upstream = pair
    client = gateway.connect().get()
    server = upstream.accept()
    server.message()
    server.send(sent).close()

    answer = client.message()
    if answer.status == 100:
        answer = client.message()
    assert (answer.status, json.loads(answer.body)["type"]) == (502, "urn:lbgateway:problem:upstream_closed")


BROKEN_OFF = {
    "length": head("HTTP/1.1 200 OK", "Content-Length: 100") + b"only this",
    "chunk": head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"9\r\nonly this\r\n",
    "within a chunk": head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"20\r\nonly this",
    "malformed chunk": head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"9\r\nonly this\r\nzz\r\n",
    "no last CRLF": head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"9\r\nonly this\r\n0\r\n",
}


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("name", BROKEN_OFF)
def test_an_answer_that_breaks_off_is_never_a_complete_one(pair: Pair, name: str, how: str, version: str) -> None:
    """The client must see that something is missing, whatever its version of HTTP."""
    gateway, upstream = pair
    client = gateway.connect().send(f"GET /api/orders/ HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\n\r\n".encode())
    server = upstream.accept()
    server.message()
    server.send(BROKEN_OFF[name])
    first = client.exactly(9)
    getattr(server, how)()

    assert first == b"HTTP/1.1 "
    client.rest = first + client.rest
    with pytest.raises(Cut):
        client.message()


def test_a_body_that_ends_by_reset_is_not_complete(pair: Pair) -> None:
    """Without a length only the orderly end of the connection says that all has come."""
    gateway, upstream = pair
    client = gateway.connect().get()
    server = upstream.accept()
    server.message()
    server.send(b"HTTP/1.1 200 OK\r\n\r\nonly this")
    client.head()
    server.reset()

    with pytest.raises(Cut):
        client._chunks()


EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


@pytest.mark.parametrize("pause_s", [0.0, 0.05])
@pytest.mark.parametrize(
    ("method", "status", "answer"),
    [
        ("GET", 200, ok(b"mine")),
        ("GET", 200, head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"4\r\nmine\r\n0\r\n\r\n"),
        ("HEAD", 200, head("HTTP/1.1 200 OK", "Content-Length: 4")),
        ("HEAD", 200, head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")),
        ("GET", 204, head("HTTP/1.1 204 No Content")),
        ("GET", 204, head("HTTP/1.1 204 No Content", "Content-Length: 66")),
        ("GET", 304, head("HTTP/1.1 304 Not Modified", "Content-Length: 66")),
        ("GET", 304, head("HTTP/1.1 304 Not Modified", "Transfer-Encoding: chunked")),
    ],
    ids=["length", "chunked", "HEAD", "HEAD chunked", "204", "204 with length", "304 with length", "304 chunked"],
)
@pytest.mark.parametrize("extra", [EVIL, b"evil", b"4\r\nevil\r\n0\r\n\r\n", b"x" * 70_000], ids=["response", "body", "chunk", "large"])
def test_bytes_behind_an_answer_reach_nobody(pair: Pair, method: str, status: int, answer: bytes, extra: bytes, pause_s: float) -> None:
    """With it, or shortly after it: the next request goes out on another connection."""
    gateway, upstream = pair
    client = gateway.connect().send(f"{method} /api/orders/1 HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    server = upstream.accept()
    server.message()
    if pause_s:
        server.send(answer, extra, pause_s=pause_s)
    else:
        server.send(answer + extra)

    first = client.message(bodyless=method == "HEAD")
    assert (first.status, first.body) == (status, b"mine" if b"mine" in answer else b"")
    assert server.ended(1)
    client.get("/api/orders/2")
    upstream.serve(ok(b"right"))
    assert client.message().body == b"right"
    assert client.silent(0.01)


def test_bytes_behind_an_answer_do_not_answer_a_pipelined_request(pair: Pair) -> None:
    """The next one already waits on the client's side; it still gets an answer of its own."""
    gateway, upstream = pair
    client = gateway.connect().get("/api/orders/1").get("/api/orders/2")
    server = upstream.accept()
    server.message()
    server.send(ok(b"mine") + EVIL)

    assert client.message().body == b"mine"
    upstream.serve(ok(b"right"))
    assert client.message().body == b"right"
    assert server.ended(1)


def test_an_answer_before_any_request_closes_the_connection(pair: Pair) -> None:
    """What an idle connection brings belongs to nobody."""
    gateway, upstream = pair
    client = gateway.connect().get("/api/orders/1")
    server = upstream.accept()
    server.message()
    server.send(ok(b"mine"))
    client.message()
    server.send(EVIL)

    assert server.ended(1)
    client.get("/api/orders/2")
    upstream.serve(ok(b"right"))
    assert client.message().body == b"right"


def test_trailers_without_end_are_cut(pair: Pair) -> None:
    """Trailers are bounded like a head."""
    gateway, upstream = pair
    client = gateway.connect().get()
    server = upstream.accept()
    server.message()
    server.send(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"4\r\nmine\r\n0\r\n")
    with contextlib.suppress(ConnectionError):
        server.send(*(f"X-{number}: {'x' * 10_000}\r\n".encode() for number in range(400)))

    assert server.ended(1)
    with pytest.raises(Cut):
        client.message()

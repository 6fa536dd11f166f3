"""What two parties could frame differently is refused before anybody else sees it (the contract, section 7)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.live_gateway import LiveGateway, one_upstream
from tests.support.wire import Listener, Message, Wire, ok

Pair = tuple[LiveGateway, Listener]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with one_upstream() as made:
        yield made


@pytest.fixture(autouse=True)
def _clean(pair: Pair) -> Iterator[None]:
    """One test's leftovers are not another's."""
    yield
    pair[1].close_all()


def refusal(client: Wire) -> Message:
    """The one answer that a refused connection gets: a problem, and the end."""
    answer = client.message()
    assert answer.get("Content-Type") == "application/problem+json"
    assert answer.get("Connection") == "close"
    assert answer.get("Proxy-Status") == "lbgateway; error=http_request_error"
    assert client.ended(1.0)
    assert json.loads(answer.body)["status"] == answer.status
    return answer


def lines(*parts: str) -> bytes:
    return "\r\n".join(parts).encode("latin-1")


POST = "POST /api/orders/ HTTP/1.1\r\nHost: a"

AMBIGUOUS = {
    "length and chunked": lines(POST, "Content-Length: 5", "Transfer-Encoding: chunked", "", "0", "", ""),
    "chunked and length": lines(POST, "Transfer-Encoding: chunked", "Content-Length: 5", "", "0", "", ""),
    "two lengths": lines(POST, "Content-Length: 5", "Content-Length: 6", "", "hello!"),
    "two equal lengths": lines(POST, "Content-Length: 5", "Content-Length: 5", "", "hello"),
    "list of lengths": lines(POST, "Content-Length: 5, 5", "", "hello"),
    "signed length": lines(POST, "Content-Length: +5", "", "hello"),
    "negative length": lines(POST, "Content-Length: -5", "", "hello"),
    "hexadecimal length": lines(POST, "Content-Length: 0x5", "", "hello"),
    "length with underscore": lines(POST, "Content-Length: 1_0", "", "hello"),
    "empty length": lines(POST, "Content-Length: ", "", "hello"),
    "endless length": lines(POST, "Content-Length: 99999999999999999999999", "", "hello"),
    "xchunked": lines(POST, "Transfer-Encoding: xchunked", "", "0", "", ""),
    "gzip": lines(POST, "Transfer-Encoding: gzip", "", "0", "", ""),
    "gzip, chunked": lines(POST, "Transfer-Encoding: gzip, chunked", "", "0", "", ""),
    "chunked, gzip": lines(POST, "Transfer-Encoding: chunked, gzip", "", "0", "", ""),
    "identity": lines(POST, "Transfer-Encoding: identity", "", "0", "", ""),
    "chunked twice": lines(POST, "Transfer-Encoding: chunked, chunked", "", "0", "", ""),
    "two chunked": lines(POST, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked", "", "0", "", ""),
    "chunked then identity": lines(POST, "Transfer-Encoding: chunked", "Transfer-Encoding: identity", "", "0", "", ""),
    "quoted chunked": lines(POST, 'Transfer-Encoding: "chunked"', "", "0", "", ""),
    "chunked with parameter": lines(POST, "Transfer-Encoding: chunked;q=1", "", "0", "", ""),
    "vertical tab before chunked": lines(POST, "Transfer-Encoding: \x0bchunked", "", "0", "", ""),
    "empty transfer coding": lines(POST, "Transfer-Encoding: ", "", "0", "", ""),
    "chunked in HTTP/1.0": lines("POST /api/orders/ HTTP/1.0", "Host: a", "Transfer-Encoding: chunked", "", "0", "", ""),
    "folded field": lines(POST, "X-Folded: a", " b", "", ""),
    "folded transfer coding": lines(POST, "Transfer-Encoding:", " chunked", "", "0", "", ""),
    "field before the first": lines("POST /api/orders/ HTTP/1.1", " Host: a", "", ""),
    "bare LF after a field": lines(POST, "X-A: b\nX-B: c", "", ""),
    "bare LF after the request line": b"GET /api/orders/ HTTP/1.1\nHost: a\r\n\r\n",
    "bare LF at the end": b"GET /api/orders/ HTTP/1.1\r\nHost: a\r\n\n",
    "LF only": b"GET /api/orders/ HTTP/1.1\nHost: a\n\n",
    "bare CR in a value": lines(POST, "X-A: b\rX-B: c", "", ""),
    "CR CR LF": lines(POST, "X-A: b\r", "", ""),
    "NUL in a value": lines(POST, "X-A: b\x00c", "", ""),
    "NUL in a name": lines(POST, "X-A\x00: b", "", ""),
    "space before the colon": lines(POST, "Content-Length : 5", "", "hello"),
    "tab before the colon": lines(POST, "Transfer-Encoding\t: chunked", "", "0", "", ""),
    "space in a name": lines(POST, "X A: b", "", ""),
    "name above ASCII": lines(POST, "X-\xe9: b", "", ""),
    "no name": lines(POST, ": b", "", ""),
    "no colon": lines(POST, "Chunked", "", ""),
    "no Host": lines("GET /api/orders/ HTTP/1.1", "X-A: b", "", ""),
    "two Hosts": lines("GET /api/orders/ HTTP/1.1", "Host: a", "Host: b", "", ""),
    "two equal Hosts": lines("GET /api/orders/ HTTP/1.1", "Host: a", "Host: a", "", ""),
    "list of Hosts": lines("GET /api/orders/ HTTP/1.1", "Host: a b", "", ""),
    "Host with a path": lines("GET /api/orders/ HTTP/1.1", "Host: a/b", "", ""),
    "Host with user": lines("GET /api/orders/ HTTP/1.1", "Host: u@a", "", ""),
    "Host with a quote": lines("GET /api/orders/ HTTP/1.1", 'Host: a"', "", ""),
    "Host above ASCII": lines("GET /api/orders/ HTTP/1.1", "Host: \xe9", "", ""),
    "HTTP/0.9": b"GET /api/orders/\r\n\r\n",
    "HTTP/1.2": lines("GET /api/orders/ HTTP/1.2", "Host: a", "", ""),
    "HTTP/2.0": lines("GET /api/orders/ HTTP/2.0", "Host: a", "", ""),
    "HTTP/2.0 kept alive": lines("GET /api/orders/ HTTP/2.0", "Host: a", "Connection: keep-alive", "", ""),
    "HTTP/1.10": lines("GET /api/orders/ HTTP/1.10", "Host: a", "", ""),
    "http in small letters": lines("GET /api/orders/ http/1.1", "Host: a", "", ""),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "unknown method": lines("FROB /api/orders/ HTTP/1.1", "Host: a", "", ""),
    "method in small letters": lines("get /api/orders/ HTTP/1.1", "Host: a", "", ""),
    "space before the method": lines(" GET /api/orders/ HTTP/1.1", "Host: a", "", ""),
    "tab as space": lines("GET\t/api/orders/ HTTP/1.1", "Host: a", "", ""),
    "space in the target": lines("GET /api/orders/a b HTTP/1.1", "Host: a", "", ""),
    "no target": lines("GET HTTP/1.1", "Host: a", "", ""),
    "TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "garbage": b"\x00\x01\x02\x03\r\n\r\n",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_an_ambiguous_request_is_refused_and_nobody_sees_it(pair: Pair, name: str) -> None:
    """400 as a problem, the end of the connection, and not one byte to the upstream."""
    gateway, upstream = pair
    with gateway.connect() as client:
        client.send(AMBIGUOUS[name])

        assert refusal(client).status == 400
        assert upstream.nobody()


BAD_CHUNKS = {
    "no hexadecimal size": b"z\r\nhello\r\n0\r\n\r\n",
    "signed size": b"+5\r\nhello\r\n0\r\n\r\n",
    "negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "prefixed size": b"0x5\r\nhello\r\n0\r\n\r\n",
    "endless size": b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "empty size": b"\r\nhello\r\n0\r\n\r\n",
    "space before the size": b" 5\r\nhello\r\n0\r\n\r\n",
    "size ends with LF": b"5\nhello\r\n0\r\n\r\n",
    "data longer than its size": b"5\r\nhello!\r\n0\r\n\r\n",
    "data ends with LF": b"5\r\nhello\n0\r\n\r\n",
    "data without its end": b"5\r\nhello0\r\n\r\n",
    "bare CR behind the size": b"5\rhello\r\n0\r\n\r\n",
    "NUL in an extension": b"5;a\x00b\r\nhello\r\n0\r\n\r\n",
    "LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "trailer with a space before the colon": b"5\r\nhello\r\n0\r\nX-A : b\r\n\r\n",
    "LF behind the last chunk": b"5\r\nhello\r\n0\n\n",
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_a_malformed_chunk_ends_the_request(pair: Pair, name: str) -> None:
    """What the upstream has of the request stays incomplete, and its connection is never used again."""
    gateway, upstream = pair
    with gateway.connect() as client:
        client.send(lines(POST, "Transfer-Encoding: chunked", "", "") + BAD_CHUNKS[name])

        assert refusal(client).status == 400
    if not upstream.nobody():
        with upstream.accept() as server:
            assert not server.to_end().endswith(b"\r\n0\r\n\r\n")
    assert gateway.endpoints("orders")[0].pool.idle == []


def test_chunk_extensions_end_here(pair: Pair) -> None:
    """They are for the next hop (RFC 9112, 7.1.1); chunks are framed anew."""
    gateway, upstream = pair
    with gateway.connect() as client:
        client.send(lines(POST, "Transfer-Encoding: chunked", "", '5;ext="a;b"', "hello", "00;last", "", ""))
        with upstream.accept() as server:
            raw = server.until(b"\r\n0\r\n\r\n")
            server.send(ok())
            assert client.message().status == 200

    assert raw.endswith(b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n")


def test_a_chunked_body_without_its_end_stays_incomplete(pair: Pair) -> None:
    """A missing last CRLF is a request that goes on, not one that is complete."""
    gateway, upstream = pair
    with gateway.connect() as client:
        client.send(lines(POST, "Transfer-Encoding: chunked", "", "5", "hello", "0", ""))
        with upstream.accept() as server:
            server.until(b"5\r\nhello\r\n")

            assert server.silent()
            client.send(b"\r\n")
            assert server.exactly(5) == b"0\r\n\r\n"
            server.send(ok())
            assert client.message().status == 200


@pytest.mark.parametrize(
    ("first", "status"),
    [
        (lines("GET /api/orders/ HTTP/1.1", "", ""), 400),
        (lines("GET /api/orders/%2F HTTP/1.1", "Host: a", "", ""), 400),
        (lines("TRACE /api/orders/ HTTP/1.1", "Host: a", "", ""), 405),
        (lines("GET /api/orders/ HTTP/1.1", "Host: a", "Host: b", "", ""), 400),
        (lines("GET /api/orders/ HTTP/1.1", "Host: a", *(f"X-{n}: 1" for n in range(200)), "", ""), 431),
        (lines("GET /api/nobody/ HTTP/1.1", "Host: a", "Connection: close", "", ""), 404),
        (lines("GET /api/nobody/ HTTP/1.0", "", ""), 404),
        (lines(POST, "Content-Length: 5", "Content-Length: 5", "", "hello"), 400),
    ],
    ids=["no Host", "encoded slash", "TRACE", "two Hosts", "too many fields", "close", "HTTP/1.0", "two lengths"],
)
def test_nothing_behind_a_closing_answer_is_a_request(pair: Pair, first: bytes, status: int) -> None:
    """Who cannot agree on one message's end cannot agree on the next one's beginning."""
    gateway, upstream = pair
    with gateway.connect() as client:
        client.send(first + lines("GET /api/orders/smuggled HTTP/1.1", "Host: a", "", ""))

        assert client.message().status == status
        assert client.to_end() == b""
        assert upstream.nobody()


@pytest.mark.parametrize("method", ["CONNECT shop.example:443", "CONNECT /api/orders/", "TRACE /api/orders/"])
def test_methods_that_are_no_business_of_a_gateway(pair: Pair, method: str) -> None:
    """No tunnel to anywhere, no echo of credentials."""
    gateway, upstream = pair
    with gateway.connect() as client:
        client.send(lines(f"{method} HTTP/1.1", "Host: a", "", ""))
        answer = client.message()

        assert answer.status == 405
        assert "GET" in (answer.get("Allow") or "")
        assert client.ended(1.0)
        assert upstream.nobody()

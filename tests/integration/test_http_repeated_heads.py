"""A head that repeats the one before is not parsed again; that must make no difference to anybody."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.live_gateway import LiveGateway, one_upstream
from tests.support.wire import Listener, Message, Wire, ok

Pair = tuple[LiveGateway, Listener]

END = b" HTTP/1.1\r\nHost: a\r\nX-Same: 1\r\n\r\n"


@pytest.fixture
def pair() -> Iterator[Pair]:
    with one_upstream() as made:
        yield made


def warm(pair: Pair) -> tuple[Wire, Wire]:
    """A client whose head is remembered, and the upstream's end."""
    gateway, upstream = pair
    client = gateway.connect()
    client.send(b"GET /api/orders/first" + END)
    server = upstream.serve(ok())
    assert client.message().status == 200
    return client, server


def through(client: Wire, server: Wire, data: bytes, *, bodyless: bool = False) -> Message:
    client.send(data)
    request = server.message()
    server.send(ok(b"" if bodyless else b"fine"))
    assert client.message(bodyless=bodyless).status == 200
    return request


def test_methods_and_targets_may_differ(pair: Pair) -> None:
    """Each request is its own, down to its id; fields do not pile up."""
    client, server = warm(pair)
    ids = set()
    for method in ("GET", "HEAD", "DELETE", "POST", "GET", "OPTIONS"):
        request = through(client, server, f"{method} /api/orders/{method}?q={method}".encode() + END, bodyless=method == "HEAD")
        assert request.start == f"{method} /{method}?q={method} HTTP/1.1"
        assert (request.all("X-Same"), request.all("Host"), request.all("X-Forwarded-For")) == (["1"], ["a"], ["127.0.0.1"])
        ids.add(request.get("X-Request-Id"))
    assert len(ids) == 6


@pytest.mark.parametrize(
    "data",
    [
        b"GET /api/orders/a%2Fb" + END,
        b"GET /api/orders/a\tb" + END,
        b"GET /api/orders/a\r\nX-A:b\r\n\r\nGET\x0b/api/orders/" + END,
        b"GET /api/orders/\x00" + END,
        b"GET /../x" + END,
        b"GET api/orders/" + END,
        b"GET  /api/orders/\r" + END,
        b"get /api/orders/" + END,
        b"FROB /api/orders/" + END,
        b"\x00GET /api/orders/" + END,
        b"GET /api/orders/ HTTP/1.1\r\nHost: b\r\nX-A: /" + END,
        b"GET * " + END,
        b"TRACE /api/orders/" + END,
        b"CONNECT /api/orders/" + END,
    ],
)
def test_what_is_refused_stays_refused(pair: Pair, data: bytes) -> None:
    """Whatever stands in front of a known end."""
    client, server = warm(pair)
    client.send(data)

    assert client.message().status in (400, 405)
    assert client.ended(1)
    assert server.silent(0.02)


def test_two_in_one_read_are_two(pair: Pair) -> None:
    """Also when both end alike."""
    client, server = warm(pair)
    client.send((b"GET /api/orders/1" + END) * 2)
    for _ in range(2):
        assert server.message().target == "/1"
        server.send(ok(b"fine"))
        assert client.message().body == b"fine"


def test_a_body_that_looks_like_the_head_is_a_body(pair: Pair) -> None:
    """It ends like the one before, and is none."""
    client, server = warm(pair)
    body = b"GET /api/orders/evil" + END
    client.send(b"POST /api/orders/ HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))
    head = server.head()
    client.send(body)

    assert (head.target, server.exactly(len(body))) == ("/", body)
    server.send(ok())
    assert client.message().status == 200
    assert server.silent(0.02)


def test_a_head_in_two_reads_is_one(pair: Pair) -> None:
    """Its second half may be all of the known end."""
    client, server = warm(pair)
    client.send(b"GET /api/orders/2", END, pause_s=0.05)

    assert server.message().target == "/2"
    server.send(ok())
    assert client.message().status == 200
    assert through(client, server, b"GET /api/orders/3" + END).target == "/3"


def test_an_error_between_two_changes_nothing(pair: Pair) -> None:
    """404 by the gateway, and its own pages, on the same remembered head."""
    client, server = warm(pair)
    for _ in range(2):
        assert client.send(b"GET /nowhere" + END).message().status == 404
        assert client.send(b"GET /health/live" + END).message().status == 200
        assert through(client, server, b"GET /api/orders/3" + END).target == "/3"

"""Requests behind one another on one connection are answered in their order, whoever answers them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.live_gateway import LiveGateway, one_upstream
from tests.support.upstream_server import Connection, Received, UpstreamThread, answer
from tests.support.wire import Listener, Wire, ok

Pair = tuple[LiveGateway, Listener]


@pytest.fixture
def pair() -> Iterator[Pair]:
    with one_upstream() as made:
        yield made


def get(path: str, *lines: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: a", *lines, "", "")).encode()


def post(path: str, body: bytes, *lines: str) -> bytes:
    return "\r\n".join((f"POST {path} HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", *lines, "", "")).encode() + body


class Servant:
    """The upstream's side: one connection after the other, requests one by one."""

    def __init__(self, upstream: Listener) -> None:
        self.upstream = upstream
        self.wire: Wire | None = None

    def serve(self, response: bytes) -> str:
        """Answer the next request; returns what it was."""
        if self.wire is None:
            self.wire = self.upstream.accept()
        request = self.wire.message()
        self.wire.send(response)
        return f"{request.start.split(' ')[0]} {request.target} {request.body.decode()}".strip()


def test_a_slow_first_answer_holds_back_all_others(pair: Pair) -> None:
    """Proxied ones, the gateway's own, refusals: each waits for its turn."""
    gateway, upstream = pair
    with gateway.connect() as client:
        client.send(get("/api/orders/1") + get("/health/live") + get("/nowhere") + post("/api/orders/2", b"body"))
        client.send(get("/api/orders/3") + get("/api/nobody/x"))
        servant = Servant(upstream)
        server = servant.wire = upstream.accept()
        first = server.message()
        assert client.silent()
        server.send(ok(b"one"))

        assert (first.target, client.message().body) == ("/1", b"one")
        assert b"status" in client.message().body
        assert client.message().status == 404
        assert servant.serve(ok(b"two")) == "POST /2 body"
        assert client.message().body == b"two"
        assert servant.serve(ok(b"three")) == "GET /3"
        assert client.message().body == b"three"
        assert client.message().status == 404
        assert client.get("/api/orders/4").silent(0.02)
        assert servant.serve(ok(b"four")) == "GET /4"
        assert client.message().body == b"four"


def test_a_body_that_is_not_complete_waits_with_its_request(pair: Pair) -> None:
    """Reading stops behind it, and goes on when its turn comes."""
    gateway, upstream = pair
    with gateway.connect() as client:
        whole = post("/api/orders/2", b"x" * 100)
        client.send(get("/api/orders/1") + whole[:-50])
        with upstream.accept() as server:
            server.message()
            client.send(whole[-50:] + get("/api/orders/3"))
            server.send(ok(b"one"))
            assert client.message().body == b"one"
            assert server.message().body == b"x" * 100
            server.send(ok(b"two"))
            assert client.message().body == b"two"
            assert server.message().target == "/3"
            server.send(ok(b"three"))
            assert client.message().body == b"three"


def test_an_incomplete_request_for_the_gateway_itself_goes_on_when_its_turn_comes(pair: Pair) -> None:
    """Its body is read on, too."""
    gateway, upstream = pair
    with gateway.connect() as client:
        whole = post("/health/live", b"x" * 100)
        client.send(get("/api/orders/1") + whole[:-50])
        with upstream.accept() as server:
            server.message()
            client.send(whole[-50:] + get("/health/live"))
            server.send(ok(b"one"))
            assert client.message().body == b"one"
            assert client.message().status == 405
            assert client.message().status == 200


def test_a_malformed_second_request_is_answered_second(pair: Pair) -> None:
    """The first one's answer comes whole; then the refusal, then the end."""
    gateway, upstream = pair
    with gateway.connect() as client:
        client.send(get("/api/orders/1") + b"GET /api/orders/2 HTTP/1.1\r\nHost : a\r\n\r\n" + get("/api/orders/3"))
        with upstream.accept() as server:
            assert server.message().target == "/1"
            server.send(ok(b"one"))
            assert client.message().body == b"one"
            assert client.message().status == 400
            assert client.to_end() == b""
            assert server.silent(0.05)


def test_a_malformed_second_body_is_refused_in_its_turn(pair: Pair) -> None:
    """A queued request is not forwarded with half a body."""
    gateway, upstream = pair
    with gateway.connect() as client:
        client.send(get("/api/orders/1") + b"POST /api/orders/2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        with upstream.accept() as server:
            server.message()
            server.send(ok(b"one"))
            assert client.message().body == b"one"
            assert client.message().status == 400
            assert client.to_end() == b""
            assert server.silent(0.05)
            assert upstream.nobody()


def test_nothing_is_answered_behind_connection_close(pair: Pair) -> None:
    """The client said that this was the last."""
    gateway, upstream = pair
    with gateway.connect() as client:
        client.send(get("/api/orders/1", "Connection: close") + get("/api/orders/2"))
        with upstream.accept() as server:
            server.message()
            server.send(ok(b"one"))
            assert client.message().get("Connection") == "close"
            assert client.to_end() == b""
            assert server.silent(0.05)


@pytest.mark.parametrize("path", ["/health/live", "/api/nobody/", "/nowhere"])
def test_thousands_at_once_do_not_recurse(pair: Pair, path: str) -> None:
    """Who answers at once must not call the next one from within."""
    gateway, _ = pair
    with gateway.connect() as client:
        client.send(get(path) * 2000)
        statuses = [client.message().status for _ in range(2000)]

    assert set(statuses) in ({200}, {404})


@pytest.mark.parametrize("lines", [("Upgrade: h2c", "Connection: Upgrade"), ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings")])
def test_thousands_of_refused_upgrades_do_not_recurse(pair: Pair, lines: tuple[str, ...]) -> None:
    """A parser that stops at each of them is started again, in a loop."""
    gateway, _ = pair
    with gateway.connect() as client:
        client.send(get("/api/nobody/", *lines) * 2000)

        assert {client.message().status for _ in range(2000)} == {404}


async def _number(request: Received, connection: Connection) -> bool:
    await connection.send(answer(request.target.encode() + request.body))
    return True


def test_thousands_proxied_come_back_in_order() -> None:
    """Mixed methods and bodies, in one write; each answer is the right one."""
    with UpstreamThread(_number) as server, LiveGateway(orders=[server.port]) as gateway:
        with gateway.connect() as client:
            client.send(b"".join(post(f"/api/orders/{n}", b"!") if n % 7 == 0 else get(f"/api/orders/{n}") for n in range(2000)))
            bodies = [client.message().body.decode() for _ in range(2000)]
        gateway.assert_settled()

    assert bodies == [f"/{n}!" if n % 7 == 0 else f"/{n}" for n in range(2000)]


def test_a_head_that_begins_behind_a_body_is_measured_by_itself(pair: Pair) -> None:
    """A large body in the same read does not make the next head too large."""
    gateway, upstream = pair
    with gateway.connect() as client:
        body = b"x" * 180_000
        client.send(get("/api/orders/1"))
        with upstream.accept() as server:
            server.message()
            client.send(post("/api/orders/2", body) + get("/api/orders/3")[:-2])
            server.send(ok(b"one"))
            assert client.message().body == b"one"
            assert server.message().body == body
            server.send(ok(b"two"))
            assert client.message().body == b"two"
            client.send(b"\r\n")
            assert server.message().target == "/3"
            server.send(ok(b"three"))
            assert client.message().body == b"three"

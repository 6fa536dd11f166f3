"""Which connection a request goes on: kept ones, stale ones, fresh ones, and another instance's; and who stays in sync after an error."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator

import pytest

from lbgateway.dataplane.pool import FRESH_S
from tests.support.live_gateway import LiveGateway, one_upstream
from tests.support.upstream_server import UpstreamThread
from tests.support.wire import Listener, Wire, ok

Pair = tuple[LiveGateway, Listener]


@pytest.fixture
def pair() -> Iterator[Pair]:
    with one_upstream() as made:
        yield made


def post(path: str = "/api/orders/", body: bytes = b"body", *lines: str) -> bytes:
    return "\r\n".join((f"POST {path} HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", *lines, "", "")).encode() + body


def used_connection(pair: Pair) -> tuple[Wire, Wire]:
    """A client, and the upstream's end of a connection that lies in the pool."""
    gateway, upstream = pair
    client = gateway.connect().get()
    server = upstream.serve(ok())
    assert client.message().status == 200
    return client, server


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_a_kept_connection_that_closes_under_a_request_is_replaced(pair: Pair, method: str, how: str) -> None:
    """The upstream closed it in the very moment: the request runs on a new one, and the client notices nothing."""
    gateway, upstream = pair
    client, server = used_connection(pair)
    client.send(f"{method} /api/orders/again HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody".encode())
    assert server.message().target == "/again"
    getattr(server, how)()
    fresh = upstream.accept()
    request = fresh.message()
    fresh.send(ok(b"") if method == "HEAD" else ok(b"second try"))

    assert (request.start, request.body) == (f"{method} /again HTTP/1.1", b"body")
    answer = client.message(bodyless=method == "HEAD")
    assert (answer.status, answer.body) == (200, b"" if method == "HEAD" else b"second try")
    assert gateway.endpoints("orders")[0].series.failures == 0


def test_a_post_is_never_sent_twice(pair: Pair) -> None:
    """Nobody knows whether the first one took effect: the client is told, and decides."""
    _, upstream = pair
    client, server = used_connection(pair)
    client.send(post())
    assert server.message().body == b"body"
    server.close()
    answer = client.message()

    assert (answer.status, json.loads(answer.body)["type"]) == (502, "urn:lbgateway:problem:upstream_closed")
    assert upstream.nobody()
    client.get()
    upstream.serve(ok(b"next"))
    assert client.message().body == b"next"


@pytest.mark.alone
def test_a_post_goes_out_on_a_connection_of_a_moment_ago(pair: Pair) -> None:
    """Opening one for each would cost a round trip."""
    client, server = used_connection(pair)
    client.send(post())

    assert server.message().body == b"body"
    server.send(ok())
    assert client.message().status == 200


def test_a_post_does_not_trust_a_connection_that_has_been_idle(pair: Pair) -> None:
    """The upstream may be closing it by now; a GET, which may be replayed, still goes on it."""
    _, upstream = pair
    client, server = used_connection(pair)
    time.sleep(FRESH_S + 0.05)
    client.send(post())
    fresh = upstream.serve(ok())
    assert client.message().status == 200
    assert server.silent(0.02)
    fresh.close()
    time.sleep(0.05)
    client.get("/api/orders/on-the-old-one")

    assert server.message().target == "/on-the-old-one"
    server.send(ok())
    assert client.message().status == 200


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_connection_closed_while_idle_is_not_used(pair: Pair, how: str) -> None:
    """It is noticed before the next request, a POST too."""
    _, upstream = pair
    client, server = used_connection(pair)
    getattr(server, how)()
    time.sleep(0.05)
    client.send(post())
    upstream.serve(ok(b"fresh"))

    assert client.message().body == b"fresh"


@pytest.mark.alone
def test_idle_connections_are_closed_after_their_time() -> None:
    """`timeout.pool_idle` lies below the upstream's keep-alive, so that the gateway is the one who closes."""
    with one_upstream({"services": {"*": {"timeout": {"pool_idle": "300ms"}}}}) as pair:
        start_s = time.monotonic()
        _, server = used_connection(pair)

        assert server.ended(1)
        assert 0.25 < time.monotonic() - start_s < 0.7
        assert pair[0].endpoints("orders")[0].pool.idle == []


@pytest.mark.parametrize("lines", [("Connection: close",), ("Connection: Close",), ("Connection: keep-alive, close",)])
def test_an_upstream_that_closes_is_not_asked_again(pair: Pair, lines: tuple[str, ...]) -> None:
    """It has said so."""
    gateway, upstream = pair
    client = gateway.connect().get()
    server = upstream.serve(ok(b"last", *lines))
    assert client.message().body == b"last"

    assert server.ended(1)
    client.get()
    upstream.serve(ok(b"first"))
    assert client.message().body == b"first"


def test_concurrent_requests_have_connections_of_their_own(pair: Pair) -> None:
    """One exchange at a time on each, however the answers come."""
    gateway, upstream = pair
    clients = [gateway.connect() for _ in range(4)]
    servers: list[Wire] = []
    for number, client in enumerate(clients):
        client.get(f"/api/orders/{number}")
        servers.append(upstream.accept())
        assert servers[number].message().target == f"/{number}"
    for number in (2, 0, 3, 1):
        servers[number].send(ok(b"%d" % number))
        assert clients[number].message().body == b"%d" % number
    assert len(gateway.endpoints("orders")[0].pool.idle) == 4


def dead_port() -> int:
    with contextlib.closing(Listener().sock) as sock:
        port: int = sock.getsockname()[1]
        return port


@pytest.mark.parametrize(("attempts", "failures"), [(2, 0), (0, 10)])
def test_one_dead_instance_of_two_fails_nobody_while_there_are_tries(attempts: int, failures: int) -> None:
    """A request that never reached anybody may go elsewhere, a POST too; without tries it is the client's to repeat."""
    config = {"services": {"*": {"retry": {"attempts": attempts}, "outlier": {"max_ejected": 0}}}}
    with UpstreamThread() as upstream, LiveGateway(config, orders=[upstream.port, dead_port()]) as gateway:
        client = gateway.connect()
        statuses = [client.send(post()).message().status for _ in range(20)]
        gateway.assert_settled()

    assert (statuses.count(502), statuses.count(200)) == (failures, 20 - failures)


def test_a_small_body_that_nobody_wants_keeps_the_connection_in_sync(pair: Pair) -> None:
    """It is read and thrown away, in whatever pieces it comes."""
    gateway, _ = pair
    with gateway.connect() as client:
        for parts in ([post("/nowhere")], [post("/nowhere")[:-4], b"bo", b"dy"], [post("/api/nobody/", b"GET /x HTTP/1.1\r\n\r\n")]):
            client.send(*parts, pause_s=0.01)
            answer = client.message()
            assert (answer.status, answer.get("Connection")) == (404, None)
        assert client.get("/health/live").message().status == 200


@pytest.mark.parametrize("framing", ["Content-Length: 10000000", "Transfer-Encoding: chunked", "Content-Length: 4\r\nExpect: 100-continue"])
def test_a_large_body_that_nobody_wants_closes_after_a_readable_answer(pair: Pair, framing: str) -> None:
    """Reading all of it would cost more than a new connection; the answer is not lost to a reset."""
    gateway, _ = pair
    with gateway.connect() as client:
        client.send(f"POST /nowhere HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n".encode())
        if "10000000" in framing:
            client.send(*[b"x" * 100_000] * 20)
        answer = client.message()

        assert (answer.status, answer.get("Connection")) == (404, "close")
        assert client.ended(3)


def test_an_error_for_head_has_no_body(pair: Pair) -> None:
    """But the length that a GET's would have."""
    gateway, _ = pair
    with gateway.connect() as client:
        for path in ("/nowhere", "/api/nobody/"):
            answer = client.send(f"HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()).message(bodyless=True)
            assert answer.status == 404
            assert int(answer.get("Content-Length") or 0) > 100
        assert client.get("/health/live").message().status == 200

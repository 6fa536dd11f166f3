"""What bounds a client and a service: sizes, counts, times; and the answers that say which bound it was."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.live_gateway import LiveGateway, one_upstream
from tests.support.wire import Cut, Listener, Message, Wire, ok

Pair = tuple[LiveGateway, Listener]


@pytest.fixture(scope="module")
def small() -> Iterator[Pair]:
    """A gateway with small bounds."""
    with one_upstream({"server": {"max_head": "4KiB", "max_body": "10KiB", "max_headers": 16}}) as made:
        yield made


@pytest.fixture
def pair(small: Pair) -> Iterator[Pair]:
    """One test's leftovers are not another's."""
    yield small
    gateway, upstream = small
    upstream.close_all()
    gateway.disconnect_all()
    gateway.assert_settled()


def timed(**config: Any) -> Any:
    """A gateway with short times: `server` and `timeout`."""
    service = {"timeout": config.get("timeout", {}), "retry": {"attempts": 0}}
    return one_upstream({"server": config.get("server", {}), "services": {"*": service}})


def slug(answer: Message) -> str:
    """What the problem is about."""
    assert answer.get("Content-Type") == "application/problem+json"
    problem = json.loads(answer.body)
    assert problem["status"] == answer.status
    return str(problem["type"].rpartition(":")[2])


def drip(client: Wire, data: bytes, size: int) -> None:
    """In small writes; stops when the other side has closed."""
    for start in range(0, len(data), size):
        try:
            client.send(data[start : start + size])
        except ConnectionError:
            return
        time.sleep(0.0005)


LONG_LINE = b"GET /api/orders/" + b"x" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"
LONG_FIELD = b"GET /api/orders/ HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 5000 + b"\r\n\r\n"
LONG_FIRST_FIELD = b"GET /api/orders/ HTTP/1.1\r\nCookie: " + b"x" * 5000 + b"\r\nHost: a\r\n\r\n"
MANY_FIELDS = b"GET /api/orders/ HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: %b\r\n" % (n, b"x" * 600) for n in range(8)) + b"\r\n"
LONG_CONNECTION = b"GET /api/orders/ HTTP/1.1\r\nHost: a\r\nConnection: " + b"x" * 5000 + b"\r\n\r\n"
LONG_FORWARDED = b"GET /api/orders/ HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: " + b"x" * 5000 + b"\r\n\r\n"
ENDLESS_NAME = b"GET /api/orders/ HTTP/1.1\r\nHost: a\r\n" + b"x" * 9000


@pytest.mark.parametrize("size", [100_000, 700, 64])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (LONG_LINE, (414, "uri_too_long")),
        (LONG_FIELD, (431, "headers_too_large")),
        (LONG_FIRST_FIELD, (431, "headers_too_large")),
        (MANY_FIELDS, (431, "headers_too_large")),
        (LONG_CONNECTION, (431, "headers_too_large")),
        (LONG_FORWARDED, (431, "headers_too_large")),
        (ENDLESS_NAME, (431, "headers_too_large")),
    ],
    ids=["line", "field", "first field", "fields", "connection", "forwarded", "endless"],
)
def test_a_head_that_is_too_large_is_refused(pair: Pair, data: bytes, expected: tuple[int, str], size: int) -> None:
    """In one read, in several, in drips."""
    gateway, upstream = pair
    client = gateway.connect()
    drip(client, data, size)
    answer = client.message()

    assert (answer.status, slug(answer)) == expected
    assert answer.get("Connection") == "close"
    assert client.ended(1)
    assert upstream.nobody()


def head_of(size: int) -> bytes:
    """A request whose head has exactly that size."""
    frame = b"GET /health/live HTTP/1.1\r\nHost: a\r\nX-Long: \r\n\r\n"
    return frame.replace(b"Long: ", b"Long: ".ljust(6 + size - len(frame), b"x"))


def line_of(size: int) -> bytes:
    """A request whose first line has exactly that size, its end included."""
    return b"GET /api/nobody/".ljust(size - len(b" HTTP/1.1\r\n"), b"x") + b" HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("size", [100_000, 64])
def test_a_head_of_just_the_limit_passes(pair: Pair, size: int) -> None:
    """The limit itself is allowed, one byte more is not."""
    gateway, _ = pair
    client = gateway.connect()
    for _ in range(2):
        drip(client, head_of(4096), size)
        assert client.message().status == 200
    drip(client, head_of(4097), size)
    assert client.message().status == 431


@pytest.mark.parametrize("size", [100_000, 64])
@pytest.mark.parametrize(("data", "status"), [(line_of(4096 - 11), 404), (line_of(4096), 431), (line_of(4097), 414)])
def test_the_line_alone_decides_what_is_said(pair: Pair, data: bytes, status: int, size: int) -> None:
    """414 if it could not have fitted whatever stands below it."""
    client = pair[0].connect()
    drip(client, data, size)
    assert client.message().status == status


SMALL_POST = b"POST /health/live HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"


@pytest.mark.parametrize("first", [head_of(100), SMALL_POST])
def test_a_head_behind_another_request_is_weighed_by_itself(pair: Pair, first: bytes) -> None:
    """Pipelined in one read: each may have all of the limit, and none of them more."""
    gateway, _ = pair
    client = gateway.connect().send(first + head_of(4096) + head_of(4096) + head_of(4097) + head_of(100))
    assert client.message().status in (200, 405)
    assert [client.message().status for _ in range(3)] == [200, 200, 431]
    assert client.ended(1)


@pytest.mark.parametrize(("count", "status"), [(16, 200), (17, 431), (100, 431)])
def test_header_fields_are_counted(pair: Pair, count: int, status: int) -> None:
    """Host and the dropped ones, too."""
    gateway, _ = pair
    fields = ["Host: a", "Keep-Alive: x", *(f"X-{n}: 1" for n in range(count - 2))]
    client = gateway.connect().send("\r\n".join(("GET /health/live HTTP/1.1", *fields, "", "")).encode())

    assert client.message().status == status


@pytest.mark.parametrize("size", [100_000, 5_000])
def test_a_declared_body_that_is_too_large_reaches_nobody(pair: Pair, size: int) -> None:
    """413 before the upstream hears of it, and all of the answer arrives although the body comes, too."""
    gateway, upstream = pair
    client = gateway.connect().send(b"POST /api/orders/ HTTP/1.1\r\nHost: a\r\nContent-Length: 10241\r\n\r\n")
    drip(client, b"x" * 10241, size)
    answer = client.message()

    assert (answer.status, slug(answer)) == (413, "payload_too_large")
    assert client.ended(1)
    assert upstream.nobody()


def test_a_chunked_body_that_becomes_too_large_is_stopped(pair: Pair) -> None:
    """The upstream's request stays incomplete."""
    gateway, upstream = pair
    client = gateway.connect().send(b"POST /api/orders/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    server = upstream.accept()
    for _ in range(3):
        client.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")
    answer = client.message()

    assert (answer.status, slug(answer)) == (413, "payload_too_large")
    assert client.ended(1)
    assert b"0\r\n\r\n" not in server.to_end()[-10:]


def test_a_body_of_just_the_limit_passes(pair: Pair) -> None:
    """With and without a declared length."""
    gateway, upstream = pair
    body = b"x" * 10240
    for framing in (b"Content-Length: 10240\r\n\r\n" + body, b"Transfer-Encoding: chunked\r\n\r\n2800\r\n" + body + b"\r\n0\r\n\r\n"):
        client = gateway.connect().send(b"POST /api/orders/ HTTP/1.1\r\nHost: a\r\n" + framing)
        upstream.serve(ok(b"", "Connection: close"))
        assert client.message().status == 200


@pytest.mark.parametrize(
    "behind",
    [b"0\r\n" + b"".join(b"X-%d: %b\r\n" % (n, b"x" * 500) for n in range(20)), b"0\r\nX-Endless: " + b"x" * 20_000, b"4;" + b"x" * 20_000],
    ids=["many trailers", "endless trailer", "endless extension"],
)
def test_what_comes_between_pieces_of_a_body_is_bounded_like_a_head(pair: Pair, behind: bytes) -> None:
    """Trailers would otherwise be a head without a limit."""
    gateway, upstream = pair
    client = gateway.connect().send(b"POST /api/orders/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    server = upstream.accept()
    drip(client, behind, 2000)

    assert client.message().status in (400, 431)
    assert client.ended(1)
    assert not server.to_end().endswith(b"\r\n\r\n0\r\n\r\n")


@pytest.mark.alone
def test_a_head_that_does_not_end_times_out() -> None:
    """408, counted from its first byte: dripping does not help."""
    with timed(server={"header_timeout": "300ms"}) as (gateway, _):
        client = gateway.connect()
        start_s = time.monotonic()
        client.send(b"GET /api/orders/ HTTP/1.1\r\n", b"Host: a\r\n", b"X-A: b\r\n", pause_s=0.1)
        answer = client.message()

        assert (answer.status, slug(answer)) == (408, "request_timeout")
        assert 0.25 < time.monotonic() - start_s < 0.8
        assert client.ended(1)


def test_a_body_that_stands_still_times_out() -> None:
    """408 after the gap between two reads; steady drips may take as long as they need."""
    with timed(server={"body_timeout": "300ms"}) as (gateway, upstream):
        client = gateway.connect().send(b"POST /api/orders/ HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
        server = upstream.accept()
        client.send(*[b"x"] * 5, pause_s=0.15)
        answer = client.message()

        assert (answer.status, slug(answer)) == (408, "request_timeout")
        assert client.ended(1)
        assert server.to_end().endswith(b"\r\n\r\nxxxxx")


def test_an_idle_client_connection_is_closed() -> None:
    """Before the first request and between two; without an answer that could be taken for the next one's."""
    with timed(server={"keep_alive": "200ms"}) as (gateway, _):
        fresh = gateway.connect()
        used = gateway.connect().get("/health/live")
        assert used.message().status == 200

        assert fresh.to_end() == b""
        assert used.to_end() == b""


def test_too_many_connections_are_told_so() -> None:
    """503 before any request; when others leave there is room again."""
    with timed(server={"max_connections": 3}) as (gateway, _):
        inside = [gateway.connect().get("/health/live") for _ in range(3)]
        assert {client.message().status for client in inside} == {200}
        outside = gateway.connect()
        answer = outside.message()

        assert (answer.status, slug(answer), answer.get("Retry-After")) == (503, "overloaded", "1")
        assert outside.ended(3)
        outside.close()
        inside[0].close()
        time.sleep(0.05)
        assert gateway.connect().get("/health/live").message().status == 200
        assert inside[1].get("/health/live").message().status == 200


def black_hole() -> socket.socket:
    """A listener whose queue is full: connections to it are neither accepted nor refused."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(0)
    return sock


@pytest.mark.alone
def test_a_service_that_accepts_no_connection_in_time_is_504() -> None:
    """`timeout.connect`, and the client learns no address."""
    with black_hole() as hole, socket.create_connection(hole.getsockname()):
        config = {"services": {"*": {"timeout": {"connect": "200ms"}, "retry": {"attempts": 0}}}}
        with LiveGateway(config, orders=[hole.getsockname()[1]]) as gateway:
            start_s = time.monotonic()
            answer = gateway.connect().get().message()

            assert (answer.status, slug(answer)) == (504, "connect_timeout")
            assert answer.get("Proxy-Status") == "lbgateway; error=connection_timeout"
            assert time.monotonic() - start_s < 0.6
            assert b"127.0.0.1" not in answer.body
            gateway.assert_settled()


@pytest.mark.parametrize("timeout", [{"response": "200ms"}, {"response": "10s", "total": "200ms"}])
def test_a_service_that_does_not_answer_in_time_is_504(timeout: dict[str, str]) -> None:
    """To the head of the answer, by attempt and altogether; the client's connection stays."""
    with timed(timeout=timeout) as (gateway, upstream):
        client = gateway.connect().get()
        server = upstream.accept()
        server.message()
        server.send(b"HTTP/1.1 200 OK\r\n")
        answer = client.message()

        assert (answer.status, slug(answer)) == (504, "response_timeout")
        assert answer.get("Proxy-Status") == "lbgateway; error=http_response_timeout"
        assert server.ended(1)
        assert client.get("/health/live").message().status == 200


def test_a_body_that_stands_still_is_cut() -> None:
    """`timeout.idle`, the gap between two pieces; an answer that has begun cannot be taken back."""
    with timed(timeout={"idle": "300ms"}) as (gateway, upstream):
        client = gateway.connect().get()
        server = upstream.accept()
        server.message()
        server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", *[b"x"] * 5, pause_s=0.15)
        client.head()

        with pytest.raises(Cut) as cut:
            client.exactly(100)
        assert cut.value.got == b"xxxxx"
        assert server.ended(1)


def test_a_dead_service_is_502_and_a_missing_one_404_and_an_empty_one_503(pair: Pair) -> None:
    """Whose fault it is can be told from the status, the type, and Proxy-Status; addresses cannot."""
    free = Listener()
    free.sock.close()
    with LiveGateway({"services": {"empty": {"instances": []}}}, orders=[free.port]) as gateway:
        client = gateway.connect()
        dead, empty, missing = (client.get(path).message() for path in ("/api/orders/", "/api/empty/", "/api/missing/"))
        gateway.assert_settled()

    assert (dead.status, slug(dead)) == (502, "connect_failed")
    assert (empty.status, slug(empty)) == (503, "no_endpoint")
    assert (missing.status, slug(missing)) == (404, "no_route")
    assert dead.get("Proxy-Status") == "lbgateway; error=connection_refused"
    assert empty.get("Proxy-Status") == "lbgateway; error=destination_unavailable"
    assert (dead.get("Retry-After"), empty.get("Retry-After")) == (None, "1")
    assert b"127.0.0.1" not in dead.head + dead.body
    assert str(free.port).encode() not in dead.head + dead.body
    assert set(json.loads(dead.body)) == {"type", "title", "status", "detail", "request_id"}
    assert json.loads(dead.body)["request_id"] == dead.get("X-Request-Id")
    assert re.fullmatch("[0-9a-f]{32}", dead.get("X-Request-Id") or "")

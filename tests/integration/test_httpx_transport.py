"""``transport: httpx`` where it differs: what httpcore cannot do is dropped or refused, and never hangs."""

from __future__ import annotations

import ast
import contextlib
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbgateway.dataplane.httpx_pool import HttpxPool
from tests.support.gateway_process import GatewayProcess
from tests.support.live_gateway import LiveGateway, one_upstream
from tests.support.transport_cases import EXCEPTIONS, SUITES
from tests.support.wire import Cut, Listener, Wire, ok

Pair = tuple[LiveGateway, Listener]

QUICK = {"transport": "httpx", "retry": {"attempts": 0}, "timeout": {"idle": "300ms", "connect": "300ms"}}


@pytest.fixture
def pair() -> Iterator[Pair]:
    with one_upstream({"services": {"*": QUICK}, "server": {"body_timeout": "300ms"}}) as made:
        yield made


def lines(*parts: str) -> bytes:
    return "\r\n".join((*parts, "", "")).encode("latin-1")


def problem(body: bytes) -> str:
    return str(json.loads(body)["type"]).removeprefix("urn:lbgateway:problem:")


def test_each_exception_is_of_a_case_that_exists() -> None:
    """A renamed case must not be left out silently."""
    folder = Path(__file__).parent
    for name in EXCEPTIONS:
        file, _, case = name.partition("::")
        assert file.removesuffix(".py") in SUITES
        body = ast.parse((folder / file).read_text()).body
        functions = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert case.partition("[")[0] in functions, name


def test_interim_answers_are_dropped(pair: Pair) -> None:
    """The final one comes all the same."""
    gateway, upstream = pair
    client = gateway.connect().get()
    upstream.serve(lines("HTTP/1.1 103 Early Hints", "Link: </a.css>") + ok(b"final"))

    assert client.message().body == b"final"


@pytest.mark.parametrize("framing", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_we_say_ourselves_that_a_body_is_wanted(pair: Pair, framing: str) -> None:
    """As soon as there is a connection that it can go to; the upstream is not asked."""
    gateway, upstream = pair
    client = gateway.connect().send(lines("POST /api/orders/ HTTP/1.1", "Host: a", framing, "Expect: 100-continue"))
    server = upstream.accept()
    assert server.head().get("Expect") is None
    assert client.message().status == 100
    client.send(b"hello" if "Length" in framing else b"5\r\nhello\r\n0\r\n\r\n")
    if "Length" in framing:
        assert server.exactly(5) == b"hello"
    else:
        assert server.until(b"\r\n0\r\n\r\n") == b"5\r\nhello\r\n0\r\n\r\n"
    server.send(ok(b"thanks"))

    assert client.message().body == b"thanks"


def test_a_client_that_sends_its_body_anyway_is_told_nothing(pair: Pair) -> None:
    """It has not waited."""
    gateway, upstream = pair
    client = gateway.connect().send(lines("POST /api/orders/ HTTP/1.1", "Host: a", "Content-Length: 5", "Expect: 100-continue") + b"hello")
    server = upstream.accept()
    assert server.message().body == b"hello"
    server.send(ok(b"thanks"))

    assert client.message().body == b"thanks"


def test_the_first_request_of_a_connection_tells_the_time_that_is_left_as_the_next_one_does() -> None:
    """A connection is made with its first request already in hand."""
    with one_upstream({"services": {"*": QUICK}, "server": {"deadline_header": "X-Left"}}) as (gateway, upstream):
        client, server, told = gateway.connect(), None, []
        for _ in range(2):
            client.get()
            server = server or upstream.accept()
            told.append(server.message().get("X-Left"))
            server.send(ok())
            assert client.message().status == 200

    assert all(each is not None and 0 < int(each) <= 60_000 for each in told), told


def test_trailers_are_dropped_in_both_directions(pair: Pair) -> None:
    """The bodies before them are whole."""
    gateway, upstream = pair
    client = gateway.connect()
    client.send(lines("POST /api/orders/ HTTP/1.1", "Host: a", "TE: trailers", "Connection: TE", "Transfer-Encoding: chunked"))
    client.send(b"1\r\na\r\n" + lines("0", "X-Sum: 1"))
    server = upstream.accept()
    request = server.message()
    server.send(lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"1\r\nb\r\n" + lines("0", "X-Sum: 2"))
    answer = client.message()

    assert (request.body, request.trailers, request.get("TE")) == (b"a", (), None)
    assert (answer.body, answer.trailers) == (b"b", ())


def test_an_upgrade_is_not_asked_for(pair: Pair) -> None:
    """A server may always answer in the protocol that it was asked in (RFC 9110, 7.8), and so it does."""
    gateway, upstream = pair
    client = gateway.connect()
    client.send(lines("GET /api/orders/ HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"))
    server = upstream.accept()
    request = server.message()
    server.send(ok(b"no", "Connection: Upgrade", "Upgrade: websocket", status="426 Upgrade Required"))
    answer = client.message()

    assert (request.get("Upgrade"), request.get("Connection")) == (None, None)
    assert (answer.status, answer.body) == (426, b"no")
    client.get()
    upstream.serve(ok(b"next")) if server.ended(0.05) else server.send(ok(b"next"))
    assert client.message().body == b"next"


def test_an_early_answer_comes_when_all_is_sent(pair: Pair) -> None:
    """Not before, but whole."""
    gateway, upstream = pair
    client = gateway.connect().send(lines("POST /api/orders/ HTTP/1.1", "Host: a", "Content-Length: 6") + b"abc")
    server = upstream.accept()
    server.head()
    server.send(ok(b"early", status="413 Content Too Large"))
    assert client.silent(0.1)
    client.send(b"def")

    assert client.message().body == b"early"


def test_a_client_that_waits_for_an_early_answer_gets_one_of_ours(pair: Pair) -> None:
    """Its body stands still, which is bounded."""
    gateway, upstream = pair
    client = gateway.connect().send(lines("POST /api/orders/ HTTP/1.1", "Host: a", "Content-Length: 6") + b"abc")
    server = upstream.accept()
    server.head()
    server.send(ok(b"early"))

    answer = client.message()
    assert (answer.status, problem(answer.body)) == (408, "request_timeout")


def test_an_upstream_that_answers_early_and_stops_reading_is_bounded(pair: Pair) -> None:
    """Its answer is not seen behind an upload that it does not take."""
    gateway, upstream = pair
    client = gateway.connect().send(lines("POST /api/orders/ HTTP/1.1", "Host: a", "Content-Length: 30000000"))
    client.sock.settimeout(0.2)
    server = upstream.accept()
    server.head()
    server.send(ok(b"early"))
    with contextlib.suppress(TimeoutError, ConnectionError):
        client.send(b"x" * 30_000_000)
    client.sock.settimeout(5)

    answer = client.message()
    assert (answer.status, problem(answer.body)) == (504, "response_timeout")


LENIENT = {
    "LF only": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "list of lengths": lines("HTTP/1.1 200 OK", "Content-Length: 5, 5") + b"hello",
    "two equal lengths": lines("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 5") + b"hello",
    "folded field": lines("HTTP/1.1 200 OK", "X-A: b", " c", "Content-Length: 5") + b"hello",
}


@pytest.mark.parametrize("name", LENIENT)
def test_what_h11_lets_through_is_framed_anew(pair: Pair, name: str) -> None:
    """The client sees one length, one line for each field, and the same body."""
    gateway, upstream = pair
    client = gateway.connect().get()
    upstream.serve(LENIENT[name])
    answer = client.message()

    assert (answer.status, answer.body) == (200, b"hello")
    assert [value for field, value in answer.fields if field.lower() == "content-length"] == ["5"]
    assert b"\n " not in answer.head


def test_an_upstream_of_http_1_0_loses_its_connection(pair: Pair) -> None:
    """Even if it offers to keep it."""
    gateway, upstream = pair
    client = gateway.connect().get()
    server = upstream.serve(lines("HTTP/1.0 200 OK", "Content-Length: 3", "Connection: keep-alive") + b"old")

    assert client.message().body == b"old"
    assert server.ended(1)


def test_a_connect_that_hangs_ends_in_time() -> None:
    """`timeout.connect` covers all that comes before the request: here a tunnel that is never built."""
    with Listener() as silent:
        service = {**QUICK, "scheme": "https", "httpx": {"proxy": f"http://127.0.0.1:{silent.port}"}}
        with LiveGateway({"services": {"*": service}}, orders=[silent.port]) as gateway:
            began_s = time.monotonic()
            answer = gateway.connect().get().message()

            assert (answer.status, problem(answer.body)) == (504, "connect_timeout")
            assert 0.3 <= time.monotonic() - began_s < 2
            gateway.assert_settled()


def test_a_pool_is_replaced_without_losing_what_runs(pair: Pair) -> None:
    """A reload that changes the way: running exchanges end on the old one, new ones take the new one."""
    gateway, upstream = pair
    client = gateway.connect().get("/api/orders/1")
    server = upstream.accept()
    server.message()
    gateway.reload({"services": {"*": {**QUICK, "transport": "native"}}})
    [endpoint] = gateway.endpoints("orders")
    assert not isinstance(endpoint.pool, HttpxPool)
    server.send(ok(b"old way"))
    assert client.message().body == b"old way"
    assert server.ended(1)
    client.get("/api/orders/2")
    upstream.serve(ok(b"new way"))

    assert client.message().body == b"new way"
    assert endpoint.series.failures == 0


def test_what_is_cut_in_the_middle_is_cut_for_the_client(pair: Pair) -> None:
    """Whatever the length was: never a complete answer."""
    gateway, upstream = pair
    client = gateway.connect().get()
    server = upstream.accept()
    server.message()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nonly").close()

    with pytest.raises(Cut):
        client.message()


def test_a_drain_waits_for_what_runs() -> None:
    """SIGTERM while an answer is on its way."""
    with Listener() as upstream:
        config = {
            "discovery": {"provider": "static"},
            "auth": {"default": "none"},
            "services": {"orders": {"instances": [f"127.0.0.1:{upstream.port}"], "transport": "httpx"}},
        }
        with GatewayProcess(config) as gateway, Wire.connect(gateway.port) as client:
            client.get()
            server = upstream.accept()
            server.message()
            server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            client.head()
            gateway.signal(signal.SIGTERM)
            time.sleep(0.2)
            server.send(b"world")

            assert client.exactly(10) == b"helloworld"
            assert gateway.wait() == 0

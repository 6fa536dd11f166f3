"""A real HTTP/2 server behind ``transport: httpx``: in cleartext, over TLS, with a certificate of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.http2_server import NAME, Http2Server
from tests.support.live_gateway import LiveGateway


@pytest.fixture(scope="module")
def server() -> Iterator[Http2Server]:
    with Http2Server() as running:
        yield running


def gateway_to(port: int, **service: Any) -> LiveGateway:
    return LiveGateway({"services": {"orders": {"transport": "httpx", **service}}}, orders=[port])


CLEARTEXT = {"httpx": {"http2": "always"}}


def https(server: Http2Server, **tls: Any) -> dict[str, Any]:
    return {"scheme": "https", "tls": {"ca": server.path("ca.pem"), **tls}}


@pytest.mark.parametrize("kind", ["cleartext", "tls", "mutual"])
def test_the_upstream_is_spoken_to_in_http_2(server: Http2Server, kind: str) -> None:
    """The client speaks HTTP/1.1 and gets its answer in it."""
    client_certificate = {"cert": server.path("client.pem"), "key": server.path("client.key")} if kind == "mutual" else {}
    service = CLEARTEXT if kind == "cleartext" else https(server, **client_certificate)
    with gateway_to(getattr(server, kind), **service) as gateway:
        answer = gateway.connect().get("/api/orders/version").message()

        assert (answer.start, answer.body) == ("HTTP/1.1 200 OK", b"HTTP/2.0")
        gateway.assert_settled()


def test_one_connection_serves_one_client_after_the_other(server: Http2Server) -> None:
    """And Host and the target arrive as the client has written them."""
    with gateway_to(server.cleartext, **CLEARTEXT) as gateway:
        seen = [gateway.connect().get("/api/orders/host?a={b}").message().body.split() for _ in range(3)]

        assert {tuple(each[:2]) for each in seen} == {(b"shop.example", b"/host?a={b}")}
        assert len({each[2] for each in seen}) == 1
        assert [each[3] for each in seen] == [b"1", b"2", b"3"]


def test_several_fields_of_one_name_stay_several(server: Http2Server) -> None:
    """In both directions; names are lower case in HTTP/2."""
    with gateway_to(server.cleartext, **CLEARTEXT) as gateway:
        answer = gateway.connect().get("/api/orders/cookies", "X-One: 1", "Connection: X-Two", "X-Two: 2").message()

        assert [value for name, value in answer.fields if name.lower() == "set-cookie"] == ["a=1", "b=2"]
        assert answer.body == b"1"


@pytest.mark.parametrize(("method", "place", "status", "size"), [("HEAD", "files/large", 200, 0), ("GET", "gone", 204, 0)])
def test_answers_without_a_body(server: Http2Server, method: str, place: str, status: int, size: int) -> None:
    """The connection is ready for the next."""
    server.serve("large", 1 << 20)
    with gateway_to(server.cleartext, **CLEARTEXT) as gateway:
        client = gateway.connect().send(f"{method} /api/orders/{place} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        answer = client.message(bodyless=True)

        assert (answer.status, len(answer.body)) == (status, size)
        assert client.get("/api/orders/version").message().body == b"HTTP/2.0"


def test_a_large_answer_arrives_whole(server: Http2Server) -> None:
    """Larger than all windows and buffers on its way."""
    content = server.serve("large", 40 << 20)
    with gateway_to(server.cleartext, **CLEARTEXT) as gateway:
        assert gateway.connect().get("/api/orders/files/large").message().body == content
        gateway.assert_settled()


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_large_upload_arrives_whole(server: Http2Server, framing: str) -> None:
    """nginx asks for it window by window."""
    size = 4 << 20
    with gateway_to(server.cleartext, **CLEARTEXT) as gateway:
        client = gateway.connect()
        if framing == "length":
            client.send(f"POST /api/orders/upload HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode() + b"x" * size)
        else:
            client.send(b"POST /api/orders/upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            client.send(*[b"10000\r\n" + b"x" * 0x10000 + b"\r\n"] * (size >> 16), b"0\r\n\r\n")

        assert client.message().body == b"taken"
        gateway.assert_settled()


def test_a_client_that_leaves_takes_its_request_along(server: Http2Server) -> None:
    """Its connection ends with it: nothing is left in a window that others need."""
    server.serve("large", 40 << 20)
    with gateway_to(server.cleartext, **CLEARTEXT) as gateway:
        client = gateway.connect().get("/api/orders/files/large")
        client.exactly(100_000)
        client.reset()

        gateway.assert_settled()
        [endpoint] = gateway.endpoints("orders")
        assert (endpoint.series.failures, gateway.call(lambda _: list(endpoint.pool.idle))) == (0, [])


def test_a_reset_stream_is_a_closed_upstream(server: Http2Server) -> None:
    """Whatever its code says."""
    with gateway_to(server.cleartext, retry={"attempts": 0}, **CLEARTEXT) as gateway:
        answer = gateway.connect().get("/api/orders/refused").message()

        assert (answer.status, json.loads(answer.body)["type"]) == (502, "urn:lbgateway:problem:upstream_closed")
        gateway.assert_settled()


def test_a_server_that_comes_back_costs_nobody_a_request(server: Http2Server) -> None:
    """Idle connections died with it; that is noticed where it may be replayed."""
    with gateway_to(server.cleartext, **CLEARTEXT) as gateway:
        client = gateway.connect().get("/api/orders/version")
        assert client.message().status == 200
        server.kill()
        server.start()

        assert client.get("/api/orders/version").message().status == 200
        assert gateway.endpoints("orders")[0].series.failures == 0


UNTRUSTED = {
    "nobody vouches for the server": ("tls", {"scheme": "https"}),
    "it has another name": ("tls", {"server_name": "other.example"}),
    "it wants to know who we are": ("mutual", {}),
}


@pytest.mark.parametrize("why", UNTRUSTED)
def test_without_trust_there_is_no_request(server: Http2Server, why: str) -> None:
    """502 for the client; the reason is for the operator."""
    kind, change = UNTRUSTED[why]
    service = change if "scheme" in change else https(server, **change)
    with gateway_to(getattr(server, kind), retry={"attempts": 0}, **service) as gateway:
        answer = gateway.connect().get("/api/orders/version").message()

        if kind == "mutual":
            assert answer.status == 400  # nginx says it in HTTP
        else:
            assert (answer.status, json.loads(answer.body)["type"]) == (502, "urn:lbgateway:problem:connect_failed")
            assert "CERTIFICATE_VERIFY_FAILED" in str(gateway.endpoints("orders")[0].series.last_error)


@pytest.mark.parametrize("change", [{"server_name": NAME}, {"verify": False, "server_name": "other.example"}])
def test_a_server_is_known_by_the_name_that_it_is_given(server: Http2Server, change: dict[str, Any]) -> None:
    """Or by none at all, where the operator wants it so."""
    with gateway_to(server.tls, **https(server, **change)) as gateway:
        assert gateway.connect().get("/api/orders/version").message().body == b"HTTP/2.0"


def test_http_2_can_be_declined(server: Http2Server) -> None:
    """TLS then negotiates HTTP/1.1."""
    with gateway_to(server.tls, httpx={"http2": "never"}, **https(server)) as gateway:
        assert gateway.connect().get("/api/orders/version").message().body == b"HTTP/1.1"

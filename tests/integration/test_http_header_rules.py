"""Which header fields pass the gateway, which are replaced, and which a client may never set."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.live_gateway import LiveGateway, one_upstream
from tests.support.wire import Listener, Message, ok

Pair = tuple[LiveGateway, Listener]


@pytest.fixture(scope="module")
def plain() -> Iterator[Pair]:
    with one_upstream() as pair:
        yield pair


@pytest.fixture(scope="module")
def behind_proxy() -> Iterator[Pair]:
    """The test's client is a trusted proxy."""
    with one_upstream({"server": {"trusted_proxies": ["127.0.0.0/8"]}}) as pair:
        yield pair


def seen(pair: Pair, *lines: str, path: str = "/api/orders/x?q=1", start: str | None = None) -> Message:
    """The request as the upstream gets it, with `lines` behind Host."""
    gateway, upstream = pair
    with gateway.connect() as client:
        client.send("\r\n".join((start or f"GET {path} HTTP/1.1", "Host: shop.example:8080", *lines, "", "")).encode("latin-1"))
        server = upstream.accept()
        request = server.message()
        server.send(ok(b"", "Connection: close"))
        assert client.message().status == 200
    server.close()
    return request


def answered(pair: Pair, *lines: str, client_lines: tuple[str, ...] = ()) -> Message:
    """The response as the client gets it."""
    gateway, upstream = pair
    with gateway.connect() as client:
        client.get("/api/orders/", *client_lines)
        server = upstream.accept()
        server.message()
        server.send(ok(b"fine", *lines))
        response = client.message()
    upstream.close_all()
    return response


def test_the_request_arrives_with_its_own_fields(plain: Pair) -> None:
    """Method, stripped path, query, Host and ordinary fields are what the client sent."""
    request = seen(plain, "Accept: text/html", "X-Thing: 1", "x-thing: 2", "Cookie: a=b")

    assert request.start == "GET /x?q=1 HTTP/1.1"
    assert request.all("Host") == ["shop.example:8080"]
    assert request.get("Accept") == "text/html"
    assert request.all("X-Thing") == ["1", "2"]
    assert request.get("Cookie") == "a=b"


@pytest.mark.parametrize(
    "line",
    [
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic eDp5",
        "Proxy-Authenticate: Basic",
        "Trailer: X-Sum",
        "Trailers: X-Sum",
        "TE: trailers, deflate",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
        "Upgrade: websocket",
        "Connection: keep-alive",
    ],
)
def test_hop_by_hop_fields_of_a_request_end_here(plain: Pair, line: str) -> None:
    """They speak to the next hop, and that is the gateway (RFC 9110, 7.6.1)."""
    request = seen(plain, line, "X-End: here")

    assert line.partition(":")[0].lower() not in request.names()
    assert request.get("X-End") == "here"


@pytest.mark.parametrize("options", ["X-Private", "close, x-private", "X-PRIVATE , keep-alive", "Cookie, Authorization, x-private"])
def test_fields_named_by_connection_end_here(plain: Pair, options: str) -> None:
    """`Connection` may declare any field to be hop-by-hop."""
    credentials = ("Authorization: Bearer x", "Cookie: a=b")
    request = seen(plain, f"Connection: {options}", "X-Private: 1", "x-private: 2", "X-Public: 3", *credentials)

    assert request.all("X-Private") == []
    assert ({"authorization", "cookie"} <= request.names()) is ("Cookie" not in options)
    assert request.get("X-Public") == "3"
    assert "connection" not in request.names()


@pytest.mark.parametrize("name", ["Host", "X-Forwarded-For", "X-Request-Id", "Via", "X-User-Id", "Content-Length, Transfer-Encoding"])
def test_connection_cannot_take_away_what_the_gateway_adds(plain: Pair, name: str) -> None:
    """What an upstream's trust stands on is written after the client's wishes are dealt with."""
    request = seen(plain, f"Connection: {name}", "Content-Length: 0")

    assert request.get("Content-Length") == "0"
    assert request.all("Host") == ["shop.example:8080"]
    assert request.get("X-Forwarded-For") == "127.0.0.1"
    assert request.get("Via") == "1.1 lbgateway"
    assert re.fullmatch("[0-9a-f]{32}", request.get("X-Request-Id") or "")


@pytest.mark.parametrize(
    "line",
    [
        "Keep-Alive: timeout=5",
        "Proxy-Authenticate: Basic",
        "Connection: X-Private",
        "Connection: close, x-private",
        "Upgrade: h2",
        "Trailer: X-Sum",
        "Trailers: X-Sum",
    ],
)
def test_hop_by_hop_fields_of_a_response_end_here(plain: Pair, line: str) -> None:
    """The same rule in the other direction."""
    response = answered(plain, line, "X-Private: 1", "X-End: here")

    assert line.partition(":")[0].lower() not in response.names()
    assert ("x-private" in response.names()) is ("rivate" not in line)
    assert response.get("X-End") == "here"


def test_an_untrusted_client_is_described_by_the_gateway_alone(plain: Pair) -> None:
    """Whatever it claims about itself is replaced."""
    gateway, _ = plain
    request = seen(
        plain,
        "X-Forwarded-For: 6.6.6.6", "x_forwarded_for: 6.6.6.6", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example",
        "X-Forwarded-Port: 443", "X-Forwarded-Prefix: /evil", "X-Forwarded-User: root", "Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6",
        "X_Real_IP: 6.6.6.6", "X-Request-Id: mine",
    )  # fmt: skip

    assert request.all("X-Forwarded-For") == ["127.0.0.1"]
    assert request.all("X-Forwarded-Proto") == ["http"]
    assert request.all("X-Forwarded-Host") == ["shop.example:8080"]
    assert request.all("X-Forwarded-Port") == [str(gateway.port)]
    assert b"6.6.6.6" not in request.head
    assert b"evil" not in request.head
    assert not {"forwarded", "x-forwarded-user", "x-forwarded-prefix"} & request.names()
    assert request.get("X-Request-Id") != "mine"


def test_a_trusted_proxy_is_believed_and_appended_to(behind_proxy: Pair) -> None:
    """It has seen the client; the gateway has seen the proxy."""
    request = seen(
        behind_proxy,
        "X-Forwarded-For: 203.0.113.7", "x-forwarded-for: 10.0.0.2", "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example",
        "X-Forwarded-Port: 443", "Forwarded: for=203.0.113.7", "X-Request-Id: abc-123", "X-Real-IP: 203.0.113.7",
    )  # fmt: skip

    assert request.all("X-Forwarded-For") == ["203.0.113.7, 10.0.0.2, 127.0.0.1"]
    assert request.all("X-Forwarded-Proto") == ["https"]
    assert request.all("X-Forwarded-Host") == ["shop.example"]
    assert request.all("X-Forwarded-Port") == ["443"]
    assert request.all("Forwarded") == ["for=203.0.113.7, for=127.0.0.1"]
    assert request.all("X-Request-Id") == ["abc-123"]
    assert request.all("X-Real-IP") == ["203.0.113.7"]


@pytest.mark.parametrize("given", ["with space", "x" * 129, '"quoted"', "é"])
def test_a_trusted_proxy_cannot_send_any_request_id(behind_proxy: Pair, given: str) -> None:
    """Ids end up in logs and in JSON: only harmless ones are taken over."""
    assert re.fullmatch("[0-9a-f]{32}", seen(behind_proxy, f"X-Request-Id: {given}").get("X-Request-Id") or "")


@pytest.mark.parametrize("name", ["X-User-Id", "x-user-id", "X-USER-ID", "X_User_Id", "x_user-id", "X-User-Scope", "x_user_scope"])
def test_a_client_never_sets_a_forwarded_claim(plain: Pair, behind_proxy: Pair, name: str) -> None:
    """In no spelling that an upstream could take for it, not even through a trusted proxy."""
    for pair in (plain, behind_proxy):
        assert b"root" not in seen(pair, f"{name}: root").head


def test_an_absolute_target_wins_over_host(plain: Pair) -> None:
    """RFC 9112, 3.2.2: and the upstream gets one Host, the one that was routed by."""
    request = seen(plain, start="GET http://other.example:99/api/orders/x?q HTTP/1.1")

    assert request.start == "GET /x?q HTTP/1.1"
    assert request.all("Host") == ["other.example:99"]
    assert request.all("X-Forwarded-Host") == ["other.example:99"]


def test_both_directions_carry_via_and_one_request_id(plain: Pair) -> None:
    """A request can be found again in three logs."""
    gateway, upstream = plain
    with gateway.connect() as client:
        client.get()
        server = upstream.accept()
        request = server.message()
        server.send(ok(b"", "Via: 1.1 inner", "X-Request-Id: upstreams-own", "Connection: close"))
        response = client.message()
    server.close()

    assert request.all("Via") == ["1.1 lbgateway"]
    assert response.all("Via") == ["1.1 inner", "1.1 lbgateway"]
    assert response.all("X-Request-Id") == request.all("X-Request-Id")


def test_request_ids_differ() -> None:
    """Each request has its own, also on one connection."""
    with one_upstream() as (gateway, upstream), gateway.connect() as client:
        server, ids = None, set()
        for _ in range(3):
            client.get()
            server = server or upstream.accept()
            ids.add(server.message().get("X-Request-Id"))
            server.send(ok())
            client.message()

        assert len(ids) == 3


def test_cookies_stay_apart_and_in_order(plain: Pair) -> None:
    """`Set-Cookie` is the one field that must not be combined."""
    response = answered(plain, "Set-Cookie: a=1; Path=/", "X-Between: 1", "set-cookie: b=2", "Set-Cookie: a=3")

    assert response.all("Set-Cookie") == ["a=1; Path=/", "b=2", "a=3"]


def test_bytes_above_ascii_pass_as_they_are(plain: Pair) -> None:
    """Field values are bytes (RFC 9110, 5.5); it is not for a gateway to decode them."""
    name = "".join(map(chr, range(0xA0, 0x100)))

    assert seen(plain, f"X-Name: {name}").get("X-Name") == name
    assert answered(plain, f"X-Name: {name}").get("X-Name") == name


def test_an_answer_without_date_gets_one(plain: Pair) -> None:
    """A recipient with a clock adds it (RFC 9110, 6.6.1), and keeps one that is there."""
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answered(plain).get("Date") or "")
    assert answered(plain, "date: then").all("Date") == ["then"]


def test_te_trailers_passes_if_it_is_meant_for_the_gateway(plain: Pair) -> None:
    """A client that can take trailers says so to the upstream, too."""
    request = seen(plain, "TE: trailers", "Connection: TE")

    assert (request.get("TE"), request.get("Connection")) == ("trailers", "TE")

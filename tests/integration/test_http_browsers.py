"""What answers say to browsers: CORS and the careful fields, on answers of every kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.live_gateway import LiveGateway, one_upstream
from tests.support.wire import Listener, Message, ok

Pair = tuple[LiveGateway, Listener]

APP = "https://app.example"
CAREFUL = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "SAMEORIGIN", "Referrer-Policy": "strict-origin-when-cross-origin"}
ROUTES = [
    {"prefix": "/api/orders", "service": "orders", "strip_prefix": True},
    {"prefix": "/api/reports", "service": "orders", "methods": ["GET"], "auth": "required"},
    {"prefix": "/api/open", "service": "orders", "cors": {"allow_origins": ["*"], "allow_credentials": False}},
    {"prefix": "/api/plain", "service": "orders", "cors": None, "auth": "required"},
    {"prefix": "/api/framed", "service": "orders", "response_headers": {"set": {"x-frame-options": "DENY"}}},
]
CONFIG = {
    "routes": ROUTES,
    "auth": {"default": "none", "options_public": False, "jwt": {"algorithms": ["HS256"], "secret": "0123456789abcdef0123456789abcdef"}},
    "cors": {"allow_origins": [APP], "allow_credentials": True, "expose_headers": ["X-Total"]},
    "server": {"trusted_proxies": ["127.0.0.0/8"]},
}


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with one_upstream(CONFIG) as pair:
        yield pair


def answer(pair: Pair, path: str, *lines: str, method: str = "GET", upstream: tuple[str, ...] | None = ()) -> Message:
    """The answer to one request; `upstream`: fields of the service's own answer, None if it must not be asked."""
    gateway, listener = pair
    with gateway.connect() as client:
        client.send("\r\n".join((f"{method} {path} HTTP/1.1", "Host: gw", *lines, "", "")).encode())
        if upstream is not None:
            server = listener.accept()
            server.message()
            server.send(ok(b"", "Connection: close", *upstream))
        return client.message()


def test_a_page_may_read_an_answer_and_a_service_has_no_say(pair: Pair) -> None:
    """One voice: what the service says of origins is dropped."""
    theirs = ("Access-Control-Allow-Origin: *", "access-control-allow-methods: X", "Vary: Accept")
    got = answer(pair, "/api/orders/", f"Origin: {APP}", upstream=theirs)

    assert got.all("Access-Control-Allow-Origin") == [APP]
    assert (got.get("Access-Control-Allow-Credentials"), got.get("Access-Control-Expose-Headers")) == ("true", "X-Total")
    assert got.all("Vary") == ["Accept", "Origin"]
    assert got.get("Access-Control-Allow-Methods") is None


@pytest.mark.parametrize("lines", [(), ("Origin: https://evil.example",), ("Origin: null",), (f"Origin: {APP}", f"Origin: {APP}")])
def test_nobody_else_may_and_caches_are_told(pair: Pair, lines: tuple[str, ...]) -> None:
    """Two origins are none."""
    got = answer(pair, "/api/orders/", *lines)

    assert (got.status, got.get("Access-Control-Allow-Origin"), got.get("Vary")) == (200, None, "Origin")


def test_a_preflight_is_answered_without_a_token_and_without_the_service(pair: Pair) -> None:
    """The route is that of the method which is asked for."""
    ask = (f"Origin: {APP}", "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization")
    got = answer(pair, "/api/reports/1", *ask, method="OPTIONS", upstream=None)

    assert (got.status, got.get("Access-Control-Allow-Methods"), got.get("Access-Control-Allow-Headers")) == (204, "GET", "authorization")
    assert got.get("X-Content-Type-Options") == "nosniff"
    refused = answer(pair, "/api/reports/1", f"Origin: {APP}", "Access-Control-Request-Method: PUT", method="OPTIONS", upstream=None)
    assert (refused.status, refused.get("Allow"), refused.get("Access-Control-Allow-Origin")) == (405, "GET", APP)


def test_a_preflight_that_the_gateway_does_not_answer_needs_no_token_either(pair: Pair) -> None:
    """The service does CORS itself; an OPTIONS that is no preflight does need one where `options_public` is off."""
    ask = (f"Origin: {APP}", "Access-Control-Request-Method: PUT")
    got = answer(pair, "/api/plain/", *ask, method="OPTIONS", upstream=("Access-Control-Allow-Origin: x",))

    assert (got.status, got.get("Access-Control-Allow-Origin")) == (200, "x")
    assert answer(pair, "/api/plain/", f"Origin: {APP}", method="OPTIONS", upstream=None).status == 401


def test_a_route_has_rules_of_its_own(pair: Pair) -> None:
    """Over the gateway's, key by key; null switches it off."""
    got = answer(pair, "/api/open/", "Origin: https://anybody.example")

    assert (got.get("Access-Control-Allow-Origin"), got.get("Access-Control-Allow-Credentials"), got.get("Vary")) == ("*", None, None)
    assert got.get("Access-Control-Expose-Headers") == "X-Total"


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/reports/1", 401), ("/api/nothing", 404), ("/elsewhere", 404)],
)
def test_errors_can_be_read_and_are_careful(pair: Pair, path: str, status: int) -> None:
    """A page that may not read why it failed shows its user nothing."""
    got = answer(pair, path, f"Origin: {APP}", upstream=None)

    assert (got.status, got.get("Access-Control-Allow-Origin")) == (status, APP)
    assert {name: got.get(name) for name in CAREFUL} == CAREFUL


@pytest.mark.parametrize("path", ["/api/orders/", "/health", "/admin/upstreams", "/metrics"])
def test_every_answer_is_careful(pair: Pair, path: str) -> None:
    """Services, operators and scrapers alike; HSTS only where TLS is spoken."""
    for lines, hsts in (((), None), (("X-Forwarded-Proto: https",), "max-age=31536000"), (("X-Forwarded-Proto: http",), None)):
        got = answer(pair, path, *lines, upstream=() if path.startswith("/api") else None)

        assert {name: got.get(name) for name in CAREFUL} == CAREFUL
        assert got.get("Strict-Transport-Security") == hsts


def test_what_is_no_request_is_answered_carefully_too(pair: Pair) -> None:
    """400 is an answer like others."""
    assert answer(pair, "/api/orders/", "Content-Length: 1", "Content-Length: 2", upstream=None).get("X-Frame-Options") == "SAMEORIGIN"


def test_a_service_knows_best(pair: Pair) -> None:
    """Its own fields stay, a route's edits too, once each."""
    got = answer(pair, "/api/orders/", upstream=("x-frame-options: DENY", "Referrer-Policy: no-referrer"))
    assert (got.all("X-Frame-Options"), got.all("Referrer-Policy")) == (["DENY"], ["no-referrer"])

    assert answer(pair, "/api/framed/").all("X-Frame-Options") == ["DENY"]


def test_answers_over_one_connection_are_each_dressed_for_their_client(pair: Pair) -> None:
    """What is remembered of an answer's head is not what was said to somebody else."""
    gateway, listener = pair
    with gateway.connect() as client:
        server = None
        for origin, proto in ((APP, "http"), (APP, "https"), ("https://evil.example", "http"), (APP, "http")):
            client.send(f"GET /api/orders/ HTTP/1.1\r\nHost: gw\r\nOrigin: {origin}\r\nX-Forwarded-Proto: {proto}\r\n\r\n".encode())
            server = server or listener.accept()
            server.message()
            server.send(ok(b"fine"))
            got = client.message()
            assert got.get("Access-Control-Allow-Origin") == (APP if origin == APP else None)
            assert (got.get("Strict-Transport-Security") is not None) is (proto == "https")
        assert server is not None
        server.close()


def test_it_can_be_switched_off() -> None:
    """Whoever has a proxy in front that does it."""
    with one_upstream({"security_headers": False}) as pair:
        assert not CAREFUL.keys() & {name.title() for name in answer(pair, "/api/orders/").names()}

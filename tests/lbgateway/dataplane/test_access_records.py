"""What the access log is told, in the shape of `AccessRecord`: playbooks with a list in place of the log."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from lbgateway.dataplane.access_records import log_refusal, user_agent
from lbgateway.dataplane.head import RequestHead
from lbgateway.errors import BadRequest
from tests.support.playbook import World, get, ok

SECRET = "a secret of thirty-two bytes or more"
AUTH = "auth: {default: optional, jwt: {algorithms: [HS256], required_claims: [sub], secret: '" + SECRET + "'}}\n"
PROXIES = "server: {trusted_proxies: [192.0.2.0/24]}\n"


class Records(list[Any]):
    """Stands in for the access log: a list has the one method that the data plane calls."""


def logged(world: World) -> Records:
    world.plane.access_log = records = Records()  # type: ignore[assignment]  # `append` is all that is called
    return records


def test_the_record_of_an_exchange():
    """The target is as received."""
    world = World(orders=1)
    records = logged(world)
    client = world.client().sends(get("/api/orders/1?x=2", "User-Agent: curl/8"))
    world.connects().sends(ok(b"fine"))
    [record] = records
    answer = client.got()
    assert record[2:11] == ("192.0.2.7", "GET", b"shop.example", b"/api/orders/1?x=2", "/api/{service}", "orders", "orders-1", 200, None)
    assert record[13:18] == (1, 0, len(answer), b"curl/8", False)
    assert record[18:] == ("192.0.2.7", None, None, None, 0)
    assert 0.0 <= record[12] <= record[11]
    assert len(record[1]) == 32


def test_the_record_of_an_exchange_that_found_no_endpoint():
    """Names what it knows, and the slug of what was answered."""
    world = World(orders=0)
    records = logged(world)
    world.client().sends(get("/api/orders/1"))
    [record] = records
    assert record[6:11] == ("/api/{service}", "orders", None, 503, "no_endpoint")
    assert record[12:14] == (None, 0)


@pytest.mark.parametrize(
    ("path", "service"), [("/api/orders/1", "orders"), ("/api/Orders/1", "orders"), ("/api/nobody/1", None), ("/own/x", "orders")]
)
def test_the_record_of_an_exchange_that_was_refused_before_it_got_there(path, service):
    """For which service it was is known all the same, as far as there is one; the numbers say the same."""
    routes = "routes: [{prefix: '/api/{service}', auth: required}, {prefix: /own, service: orders, auth: required}]\n"
    world = World(AUTH + routes + "services: {orders: {}}\n", orders=1)
    records = logged(world)
    world.client().sends(get(path))
    [record] = records
    label = "/own" if path.startswith("/own") else "/api/{service}"
    assert record[6:11] == (label, service, None, 401, "unauthenticated")
    assert world.plane.metrics.routes[label, service or ""].requests == {("GET", 401): 1}


def test_the_record_of_an_exchange_that_no_route_takes():
    """Counted among the requests, under no route."""
    world = World()
    records = logged(world)
    world.client().sends(get("/nowhere"))
    [record] = records
    assert record[6:11] == (None, None, None, 404, "no_route")
    assert world.plane.unrouted.requests == {("GET", 404): 1}
    assert world.plane.unrouted.duration.count == 1


def test_the_record_of_what_was_no_request():
    """Counted by its slug, under no route."""
    world = World()
    records = logged(world)
    client = world.client().sends(b"GET /a%2fb HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: odd\r\n\r\n")
    [record] = records
    assert record[2:11] == ("192.0.2.7", "GET", b"shop.example", b"/a%2fb", None, None, None, 400, "bad_request")
    assert record[11:] == (0.0, None, 0, 0, len(client.got()), b"odd", False, "192.0.2.7", None, None, None, 0)
    assert world.plane.metrics.errors == {"bad_request": 1}
    assert world.plane.unrouted.requests == {("GET", 400): 1}


def test_without_a_log_refusals_are_still_counted():
    """The metrics depend on no log."""
    world = World()
    log_refusal(BadRequest(), b"1", world.client().protocol, RequestHead(), 0)
    assert world.plane.metrics.errors == {"bad_request": 1}
    assert world.plane.unrouted.requests == {("other", 400): 1}


@pytest.mark.parametrize(
    ("peer", "target", "client"),
    [
        ("192.0.2.7", "/api/orders/1", "203.0.113.9"),
        ("192.0.2.7", "/a%2fb", "203.0.113.9"),
        ("198.51.100.1", "/api/orders/1", "198.51.100.1"),
        ("198.51.100.1", "/a%2fb", "198.51.100.1"),
    ],
)
def test_the_client_is_whom_a_trusted_proxy_names_and_the_peer_is_the_proxy(peer: str, target: str, client: str):
    """Of a request and of what was none alike; anybody else is the client, whatever it says."""
    world = World(PROXIES, orders=1)
    records = logged(world)
    world.client(peer).sends(get(target, "X-Forwarded-For: 6.6.6.6, 203.0.113.9"))
    for asked in world.asked:
        asked.succeeds().sends(ok())
    [record] = records
    assert (record[2], record[18]) == (client, peer)


def test_the_subject_is_the_one_that_was_proved():
    """And nobody where nobody asked, or nobody was believed."""
    world = World(AUTH, orders=1)
    records = logged(world)
    client = world.client().sends(get("/api/orders/1", f"Authorization: Bearer {jwt.encode({'sub': 'ann'}, SECRET, algorithm='HS256')}"))
    upstream = world.connects().sends(ok())
    client.sends(get("/api/orders/1"))
    upstream.sends(ok())
    client.sends(get("/api/orders/1", f"Authorization: Bearer {jwt.encode({'sub': 'eve'}, 'x' * 40, algorithm='HS256')}"))
    assert [(record[9], record[19]) for record in records] == [(200, "ann"), (200, None), (401, None)]


def test_the_certificate_is_that_of_the_connection():
    """Its subject, worked out once when the connection began."""
    world = World(orders=1)
    records = logged(world)
    shown = {"subject": ((("organizationName", "Shop"),), (("commonName", "billing"),))}
    world.client(sslcontext=object(), peercert=shown).sends(get("/api/orders/1"))
    world.connects().sends(ok())
    [record] = records
    assert record[20] == "CN=billing,O=Shop"


@pytest.mark.parametrize(
    ("fields", "agent"),
    [
        ([], b""),
        ([(b"Accept", b"*/*")], b""),
        ([(b"User-Agent", b"curl/8")], b"curl/8"),
        ([(b"Accept", b"*/*"), (b"USER-AGENT", b"x"), (b"X", b"y")], b"x"),
        ([(b"X-Note", b"user-agent")], b""),
        ([(b"user-agenx", b"no")], b""),
        ([(b"User-Agent", b"first"), (b"User-Agent", b"second")], b"first"),
    ],
)
def test_the_client_names_its_software(fields: list[tuple[bytes, bytes]], agent: bytes):
    """In any spelling; what merely looks like it is not taken."""
    head = RequestHead()
    head.lines = [b"", *(part for name, value in fields for part in (name, b": ", value, b"\r\n"))]
    assert user_agent(head) == agent

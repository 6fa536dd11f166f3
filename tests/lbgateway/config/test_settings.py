"""The whole."""

import json

import pytest

from lbgateway.config import Settings
from lbgateway.config.settings import mask_header
from tests.lbgateway.config.reading import settings_of

SECRET = "0123456789abcdef0123456789abcdef"
LAYERS = """
    auth: {default: none}
    services:
      "*": {balancer: p2c, timeout: {connect: 2s, response: 5s}, retry: {on: [connect]}}
      orders: {timeout: {response: 7s}, retry: {attempts: 0}}
    server: {max_body: 1MiB}
    routes:
      - {service: orders, timeout: {idle: 1s}, retry: {on: [reset]}}
      - {prefix: /big, service: orders, max_body: null}
      - {prefix: /small, service: orders, max_body: 1KiB}
"""


def test_a_services_settings_come_in_layers():
    """Built-in, then "*", then its own, key by key; lists replace."""
    settings = settings_of(LAYERS)
    orders, other = settings.service("orders"), settings.service("other")

    assert (orders.balancer, orders.timeout.connect, orders.timeout.response, orders.timeout.idle) == ("p2c", 2.0, 7.0, 60.0)
    assert (orders.retry.on, orders.retry.attempts) == (("connect",), 0)
    assert (other.balancer, other.timeout.response, other.retry.attempts) == ("p2c", 5.0, 2)
    assert settings.service("another") is other


def test_a_route_has_the_last_word():
    """Over timeout, retry and the size of bodies; null takes a limit away."""
    settings = settings_of(LAYERS)
    plain, big, small = settings.routes

    service = settings.route_service(plain, "orders")

    assert (service.timeout.idle, service.timeout.response, service.timeout.connect) == (1.0, 7.0, 2.0)
    assert (service.retry.on, service.retry.attempts) == (("reset",), 0)
    assert [settings.route_max_body(route) for route in (plain, big, small)] == [2**20, None, 1024]


def test_without_routes_there_is_the_default_one():
    """With routes there is not."""
    assert [route.prefix for route in settings_of("auth: {default: none}").routes] == ["/api/{service}"]
    assert settings_of("auth: {default: none}").has_default_route
    assert not settings_of(LAYERS).has_default_route
    assert settings_of("auth: {default: none}\nroutes: []").routes == ()


def test_a_routes_auth_is_its_own_or_the_default():
    """The effective one decides."""
    settings = settings_of("auth: {default: none}\nroutes: [{service: a}, {prefix: /b, service: b, auth: optional}]")

    assert [settings.route_auth(route) for route in settings.routes] == ["none", "optional"]


def test_settings_can_be_built_without_a_file():
    """All defaults."""
    assert Settings().service("any").balancer == "ewma"
    assert Settings().warnings == ()
    assert settings_of(LAYERS).named_services() == ["orders"]


def test_the_masked_settings_show_no_secret(tmp_path):
    """Wherever it may stand: as a secret, in an address, in a header."""
    settings = settings_of(
        f"""
        discovery: {{consul: {{token: hunter2, url: "http://user:hunter2@consul:8500"}}}}
        auth: {{jwt: {{secret: {SECRET}}}}}
        admin: {{token: hunter2}}
        routes:
          - {{service: a, headers: {{X-Api-Key: hunter2}}, request_headers: {{set: {{Authorization: hunter2}}, add: {{X-A: plain}}}}}}
        """
    )

    shown = json.dumps(settings.masked())

    assert "hunter2" not in shown
    assert SECRET not in shown
    assert "http://***@consul:8500" in shown
    assert '"X-A": "plain"' in shown
    assert "hunter2" not in repr(settings.admin) + repr(settings.auth)


def test_the_masked_settings_are_the_effective_ones():
    """What is in force for each service, in the file's own spelling; of a route what it says itself."""
    shown = settings_of(LAYERS).masked()

    assert shown["services"]["orders"]["timeout"]["connect"] == "2s"
    assert shown["services"]["*"]["balancer"] == "p2c"
    assert shown["server"]["max_body"] == "1MiB"
    assert shown["routes"][0]["timeout"] == {"idle": "1s"}
    assert shown["routes"][0]["retry"] == {"on": ["reset"]}


@pytest.mark.parametrize(
    "text", [LAYERS, "auth: {default: none}", "auth: {default: none}\nserver: {trusted_proxies: [10.0.0.0/8], max_head: 8KiB}"]
)
def test_what_is_shown_can_be_read_back(text):
    """And shows the same again."""
    shown = settings_of(text).masked()

    assert settings_of(json.dumps(shown)).masked() == shown


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("X-Beta", "1", "1"),
        ("Authorization", "x", "***"),
        ("X-API-Key", "x", "***"),
        ("Cookie", "x", "***"),
        ("X-Url", "http://u:p@h", "http://***@h"),
    ],
)
def test_a_header_is_masked_by_its_name(name, value, shown):
    """A credential announces itself."""
    assert mask_header(name, value) == shown


@pytest.mark.parametrize(
    ("above", "own", "result"),
    [
        ("{service: other}", "{status: 503, body: x}", {"service": None, "status": 503, "body": "x"}),
        ("{status: 503, body: x}", "{service: other}", {"service": "other", "status": None, "body": ""}),
        ("{status: 503, body: x}", "{status: 500}", {"service": None, "status": 500, "body": "x"}),
    ],
)
def test_a_fallback_takes_the_place_of_one_of_the_other_kind(above, own, result):
    """Merged key by key, they would be a service and an answer at once."""
    text = f"auth: {{default: none}}\nservices: {{'*': {{breaker: {{fallback: {above}}}}}, orders: {{breaker: {{fallback: {own}}}}}}}"
    breaker = settings_of(text).service("orders").breaker

    assert breaker is not None
    assert breaker.fallback is not None
    assert breaker.fallback.model_dump(exclude={"content_type"}) == result

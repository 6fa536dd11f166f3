"""`routes`, each by itself."""

import pytest

from lbgateway.config.route import DEFAULT_ROUTE
from tests.lbgateway.config.reading import errors_of, settings_of


def test_the_default_route_takes_the_service_from_the_path():
    """And strips what it matched."""
    assert (DEFAULT_ROUTE.prefix, DEFAULT_ROUTE.strip_prefix, DEFAULT_ROUTE.by_name) == ("/api/{service}", True, True)


def test_a_route_says_nothing_by_itself():
    """Everything else comes from the service or the whole."""
    route = settings_of("auth: {default: none}\nroutes: [{service: Orders}]").routes[0]

    assert (route.prefix, route.strip_prefix, route.service, route.methods, route.auth, route.by_name) == (
        "/",
        False,
        "orders",
        None,
        None,
        False,
    )


def test_a_full_route_is_read():
    """All keys that this version knows to do."""
    route = settings_of("""
        auth: {default: none}
        routes:
          - {host: Shop.Example, prefix: /v1/orders/, methods: [GET], headers: {X-Beta: 1}, service: orders, strip_prefix: true,
             add_prefix: /internal, auth: none, timeout: {response: 2s}, retry: {attempts: 0}, max_body: 1MiB,
             request_headers: {set: {X-A: a}, add: {X-B: b}, remove: [X-C]}, response_headers: {remove: [Server]}}
    """).routes[0]

    assert (route.host, route.prefix, route.headers, route.add_prefix) == ("shop.example", "/v1/orders", {"X-Beta": "1"}, "/internal")
    assert (route.timeout.response, route.retry.attempts, route.max_body) == (2.0, 0, 2**20)
    assert (route.request_headers.set, route.response_headers.remove) == ({"X-A": "a"}, ("Server",))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{prefix: /{service}/x}", "prefix: {service} must be the whole last segment, as in /api/{service}"),
        ("{prefix: '/api/v-{service}'}", "prefix: {service} must be the whole last segment, as in /api/{service}"),
        ("{prefix: '/{name}', service: a}", "prefix: the only placeholder is {service}, once"),
        ("{prefix: api, service: a}", "prefix: must begin with a slash: /api"),
        ("{methods: [], service: a}", "methods: an empty list would match nothing; leave the key out to match all methods"),
        ("{auth: maybe, service: a}", "auth: must be one of required, optional, none"),
        ("{redirect: {to: //evil.example}}", "redirect.to: must be a path such as /new, or an address such as https://shop.example/new"),
        ("{redirect: {to: 'ftp://x'}}", "redirect.to: must be a path such as /new, or an address such as https://shop.example/new"),
        ("{redirect: {to: /ä}}", "redirect.to: must be printable ASCII without spaces; escape other characters with %"),
        ("{redirect: {to: '/{host}'}}", "redirect.to: the only placeholder is {path}"),
        ("{redirect: {to: /x, status: 200}}", "redirect.status: must be one of 301, 302, 303, 307, 308"),
        (
            "{request_headers: {set: {Host: x}}, service: a}",
            "request_headers.set.Host: Host is written by the gateway itself and cannot be used here",
        ),
        ("{headers: {X-A: ' x'}, service: a}", "headers.X-A: a header value cannot begin or end with a space"),
        ("{serivce: a}", "serivce: unknown key; did you mean `service`?"),
    ],
)
def test_mistakes_are_told(text, sentence):
    """One sentence, at the key."""
    quoted = text.replace("/{service}/x", "'/{service}/x'")
    assert errors_of(f"auth: {{default: none}}\nroutes:\n  - {quoted}") == [f"gw.yaml:3: routes[0].{sentence}"]


@pytest.mark.parametrize("to", ["/new", "/new?a=b", "https://shop.example", "https://shop.example{path}", "{path}"])
def test_a_redirect_leads_to_a_path_or_an_address(to):
    """With or without the rest of the path."""
    assert errors_of(f"auth: {{default: none}}\nroutes:\n  - {{redirect: {{to: '{to}'}}}}") == []

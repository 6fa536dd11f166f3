"""Checks between keys."""

import pytest

from tests.lbgateway.config.reading import errors_of, settings_of

OPEN = "auth: {default: none}\n"
ADVICE = "set auth.jwt (for example {secret: ${JWT_SECRET}}), or auth.default: none to let everybody in"


def test_the_built_in_route_needs_something_that_checks_tokens():
    """Closed by default, and the way out is named; the place is the file's first line."""
    expected = f"gw.yaml:1: routes: the built-in route /api/{{service}} requires a token, but nothing can check one: {ADVICE}"

    assert errors_of("") == [expected]
    assert errors_of("\n\nserver: {port: 1}\nauth: {}") == [expected]


def test_a_written_route_that_requires_a_token_is_told_at_its_line():
    """Whether it says so itself or the default does; an unused default says nothing."""
    assert errors_of(
        "routes:\n  - {service: a}\n  - {prefix: /b, service: b, auth: required}\n  - {prefix: /c, service: c, auth: none}"
    ) == [
        f"gw.yaml:2: routes[0]: requires a token (auth.default is required), but nothing can check one: {ADVICE}",
        f"gw.yaml:3: routes[1]: requires a token (auth: required), but nothing can check one: {ADVICE}",
    ]
    assert errors_of("routes:\n  - {service: a, auth: none}\n  - {prefix: /b, service: b, auth: optional}") == []
    assert errors_of("routes: []") == []


@pytest.mark.parametrize(
    ("jwt", "said"),
    [
        ("{secret: short}", "gw.yaml:1: auth.jwt.secret: too short: HS256 needs at least 32 bytes"),
        (
            "{secret: 0123456789abcdef0123456789abcdef, algorithms: [HS256, HS512]}",
            "gw.yaml:1: auth.jwt.secret: too short: HS512 needs at least 64 bytes",
        ),
        ("{issuer: me}", "gw.yaml:1: auth.jwt: needs a `secret` to check tokens with, such as secret: ${JWT_SECRET}"),
        ("{secret: 0123456789abcdef0123456789abcdef, algorithms: []}", "gw.yaml:1: auth.jwt.algorithms: must name at least one algorithm"),
    ],
)
def test_a_token_check_needs_a_good_secret(jwt, said):
    """As long as the hash (RFC 7518, section 3.2)."""
    assert errors_of(f"auth: {{jwt: {jwt}}}".replace("${", "$${")) == [said]


def test_two_claims_cannot_share_a_header():
    """One would hide the other."""
    assert errors_of("auth: {default: none, forward_claims: {tenant: x-user-ID}}") == [
        "gw.yaml:1: auth.forward_claims.tenant: x-user-ID already carries the claim `sub`"
    ]


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ("{prefix: /a}", ": leads nowhere: give it `service`, `redirect`, or a prefix ending in /{service}"),
        ("{service: a, redirect: {to: /b}}", ".redirect: a route has a redirect or a service, not both"),
        ("{prefix: '/a/{service}', redirect: {to: /b}}", ".redirect: a route has a redirect or a service, not both"),
        ("{prefix: '/a/{service}', service: a}", ".service: the prefix already takes the service from the path ({service})"),
    ],
)
def test_a_route_leads_to_exactly_one_place(route, said):
    """A service, a service by name, or elsewhere."""
    assert errors_of(f"{OPEN}routes:\n  - {route}") == [f"gw.yaml:3: routes[0]{said}"]


@pytest.mark.parametrize(
    ("one", "other", "in_common"),
    [
        ("prefix: /a", "prefix: /a/", "any host /a"),
        ("prefix: /a", "prefix: '/%61'", "any host /a"),
        ("host: X.example", "host: x.example.", "x.example /"),
        ("methods: [GET, POST]", "methods: [POST]", "any host / POST"),
        ("headers: {X-A: 1}", "headers: {x-a: 1}", "any host / with X-A: 1, x-a: 1"),
        ("headers: {X-Api-Key: hunter2}", "headers: {X-Api-Key: hunter2}", "any host / with X-Api-Key: ***"),
        ("headers: {X-A: 1}", "headers: {X-B: 2}", "any host / with X-A: 1, X-B: 2"),
    ],
)
def test_a_tie_is_told_at_the_second_route(one, other, in_common):
    """With a request that both would take."""
    text = f"{OPEN}routes:\n  - {{{one}, service: a}}\n  - {{{other}, service: b}}"

    assert errors_of(text) == [
        f"gw.yaml:4: routes[1]: matches the same requests as the route in line 3 ({in_common}); neither is more specific"
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("prefix: /a", "prefix: /a/b"),
        ("prefix: /a", "prefix: /a, host: x.example"),
        ("prefix: /a", "prefix: /a, methods: [GET]"),
        ("methods: [GET]", "methods: [POST]"),
        ("headers: {X-A: 1}", "headers: {X-A: 2}"),
        ("headers: {X-A: 1}", "headers: {X-A: 1, X-B: 1}"),
        ("methods: [GET]", "headers: {X-A: 1}"),
        ("host: '*.example'", "host: x.example"),
    ],
)
def test_routes_of_different_rank_do_not_tie(one, other):
    """The more specific one wins."""
    assert errors_of(f"{OPEN}routes:\n  - {{{one}, service: a}}\n  - {{{other}, service: b}}") == []


def test_with_the_static_provider_the_file_knows_every_service():
    """A misspelt name is found at once; with Consul nobody can know."""
    services = "services: {orders: {instances: ['a:1']}}\nroutes: [{service: oders}]\nhealth: {required: [orders, redis, odrers]}"
    text = f"{OPEN}discovery: {{provider: %s}}\n{services}"

    assert errors_of(text % "static") == [
        "gw.yaml:4: routes[0].service: no service has the name `oders`; did you mean `orders`?",
        "gw.yaml:5: health.required[2]: no service has the name `odrers`; did you mean `orders`?",
    ]
    assert errors_of(text % "consul") == []


def test_instances_belong_to_a_named_service():
    """They would be everybody's."""
    assert errors_of(f"{OPEN}services: {{'*': {{instances: ['a:1']}}}}") == [
        "gw.yaml:2: services.*.instances: instances belong to a service with a name"
    ]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            "discovery: {provider: static}\nservices:\n  orders: {}",
            "gw.yaml:4: services.orders: has no instances: every request to it will be answered 503",
        ),
        (
            "services:\n  orders: {instances: ['a:1']}",
            "gw.yaml:3: services.orders.instances: is not used: discovery.provider is consul, not static",
        ),
        (
            "routes:\n  - {prefix: /metrics/x, service: a}",
            "gw.yaml:3: routes[0].prefix: is never reached: /metrics belongs to the gateway itself",
        ),
        ("routes:\n  - {prefix: /metricsx, service: a}", None),
        ("routes:\n  - {service: a}", None),
        ("metrics: {enabled: false}\nroutes:\n  - {prefix: /metrics/x, service: a}", None),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(text, warning):
    """It is allowed, and said."""
    assert settings_of(OPEN + text).warnings == (() if warning is None else (warning,))


@pytest.mark.parametrize(
    "text",
    [
        "auth: {jwt: {secert: x}}",
        "auth: {default: neither}",
        "routes: none",
        "auth: {default: none}\nservices: {orders: {instance: []}}\ndiscovery: {provider: static}\nroutes: [{service: orders}]",
        "auth: {default: none}\nroutes: [{prefix: x}, {prefix: /, service: a}]",
        "auth: ${GONE}",
    ],
)
def test_one_mistake_is_one_error(text):
    """What only follows from it would hide it."""
    assert len(errors_of(text)) == 1

"""Checks between keys."""

import pytest

from tests.lbgateway.config.reading import errors_of

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
        (
            "{issuer: me}",
            "gw.yaml:1: auth.jwt: needs a `secret`, a `public_key` or a `jwks_url` to check tokens with, such as secret: ${JWT_SECRET}",
        ),
        ("{secret: 0123456789abcdef0123456789abcdef, algorithms: []}", "gw.yaml:1: auth.jwt.algorithms: must name at least one algorithm"),
    ],
)
def test_a_token_check_needs_a_good_secret(jwt, said):
    """As long as the hash (RFC 7518, section 3.2)."""
    assert errors_of(f"auth: {{jwt: {jwt}}}".replace("${", "$${")) == [said]


def test_two_claims_cannot_share_a_header():
    """One would hide the other."""
    for name in ("x-user-ID", "X_User_Id"):
        assert errors_of(f"auth: {{default: none, forward_claims: {{tenant: {name}}}}}") == [
            f"gw.yaml:1: auth.forward_claims.tenant: {name} already carries the claim `sub`"
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


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:8500", "http://192.0.2.7:8500", "http://127.0.0.1:8500/consul", "http://consul.example"]
)
def test_the_embedded_registry_listens_on_this_machine_only(url):
    """Whoever reaches it can make it send requests; another provider may have its Consul anywhere."""
    text = f"{OPEN}discovery:\n  provider: embedded\n  consul: {{url: '{url}'}}"

    assert errors_of(text) == [
        "gw.yaml:4: discovery.consul.url: the embedded registry listens here, on this machine and without TLS: such as http://127.0.0.1:8500"
    ]
    assert errors_of(text.replace("embedded", "consul")) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:8500", "http://127.0.0.9", "http://localhost:1/", "http://[::1]:8500"])
def test_the_embedded_registry_may_have_any_loopback_address(url):
    """Names and IPv6 among them."""
    assert errors_of(f"{OPEN}discovery: {{provider: embedded, consul: {{url: '{url}'}}}}") == []


def test_instances_belong_to_a_named_service():
    """They would be everybody's."""
    assert errors_of(f"{OPEN}services: {{'*': {{instances: ['a:1']}}}}") == [
        "gw.yaml:2: services.*.instances: instances belong to a service with a name"
    ]


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


@pytest.mark.parametrize(
    ("services", "said"),
    [
        ("orders: {scheme: https, transport: httpx}", []),
        ("'*': {scheme: https, transport: httpx, httpx: {proxy: none}}\n  orders: {}", []),
        ("orders: {transport: httpx, httpx: {http2: always, proxy: 'socks5://127.0.0.1:1080'}}", []),
        ("orders: {scheme: https, tls: {verify: false}}", []),
        ("orders: {httpx: {http2: always}}", ["orders.httpx: is for transport: httpx, and this service's is native"]),
        ("orders: {transport: httpx, tls: {verify: false}}", ["orders.tls: is for scheme: https, and this service's is http"]),
        ("orders: {transport: httpx, scheme: https, tls: {key: gw.key}}", ["orders.tls.key: there is no file gw.key"]),
        (
            "orders: {transport: httpx, httpx: {proxy: 'ftp://me:pw@a'}}",
            ["orders.httpx.proxy: not a proxy such as http://proxy.example:3128 or socks5://127.0.0.1:1080, nor `none`"],
        ),
        ("orders: {transport: httpx, httpx: {http2: sometimes}}", ["orders.httpx.http2: must be one of auto, always, never"]),
    ],
)
def test_the_way_to_a_service_must_fit_together(services, said):
    """Each mistake at the key that shows it, and no password in it."""
    errors = errors_of(f"{OPEN}services:\n  {services}")
    assert [error.partition(": services.")[2] for error in errors] == said


def test_certificates_are_looked_at_before_they_are_used(tmp_path):
    """A reload with a broken one changes nothing."""
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    [error] = errors_of(f"{OPEN}services: {{orders: {{scheme: https, transport: httpx, tls: {{ca: {file}}}}}}}")
    assert error.startswith("gw.yaml:2: services.orders.tls.ca: cannot be used: ")


def test_oauth_ties_with_no_route_and_leads_to_a_service_that_exists():
    """Like every other route."""
    text = "auth: {default: none}\ndiscovery: {provider: static}\nservices: {auth: {instances: [127.0.0.1:1]}}\n"

    assert errors_of(text + "oauth: {service: auth}\nroutes: [{prefix: /oauth, service: auth}]") == [
        "gw.yaml:5: routes[0]: matches the same requests as `oauth` (/oauth); neither is more specific"
    ]
    assert errors_of(text + "oauth: {service: auht}") == ["gw.yaml:4: oauth.service: no service has the name `auht`; did you mean `auth`?"]


def test_a_door_that_nobody_may_pass_is_an_error():
    """Preambles are believed of trusted proxies only."""
    assert errors_of(OPEN + "server: {proxy_protocol: true}\n") == [
        "gw.yaml:2: server.proxy_protocol: lets in nobody but server.trusted_proxies, and there are none: name your proxies"
    ]
    assert errors_of(OPEN + "server: {proxy_protocol: true, trusted_proxies: [10.0.0.0/8]}\n") == []


@pytest.mark.parametrize(
    ("server", "listen", "taken"),
    [
        ("127.0.0.1", "127.0.0.1:8080", True),
        ("127.0.0.1", "0.0.0.0:8080", True),
        ("'::'", "127.0.0.1:8080", True),
        ("127.0.0.1", "127.0.0.1:8081", False),
        ("127.0.0.1", "127.0.0.2:8080", False),
        ("127.0.0.1", "'[::1]:8080'", False),
    ],
)
def test_a_port_has_one_door(server, listen, taken):
    """What the kernel would refuse at the start is an error of the file."""
    said = errors_of(f"{OPEN}server: {{host: {server}}}\nadmin: {{listen: {listen}}}\n")
    where = f"({server.strip(chr(39))}:8080)"
    assert said == ([f"gw.yaml:3: admin.listen: is where server.port already listens {where}: give it another port"] if taken else [])

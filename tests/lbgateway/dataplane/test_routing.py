"""The route table."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbgateway.config import ConfigErrors, load_text
from lbgateway.dataplane.compiling import compile_routes
from lbgateway.dataplane.routing import KNOWN, Route, bare_host
from lbgateway.errors import MethodNotAllowed, NoRoute
from tests.lbgateway.dataplane.tables import FIELDS, naive, table_of

TABLE = table_of("""
auth: {default: none}
routes:
  - {prefix: '/api/{service}', strip_prefix: true}
  - {prefix: /api/orders, service: orders}
  - {prefix: /api/orders/v1, service: orders-v1, methods: [GET, PUT]}
  - {prefix: /api/orders, service: beta, headers: {X-Beta: 1}}
  - {prefix: /api/orders, service: writes, methods: [POST]}
  - {host: shop.example, service: shop}
  - {host: '*.shop.example', service: any-shop}
  - {host: '*.eu.shop.example', service: eu-shop}
  - {host: api.example, prefix: /v1, service: v1, methods: [GET]}
  - {prefix: /v1, service: everyone, methods: [DELETE]}
""")


def asked(host: bytes, path: bytes, method: bytes = b"GET", lines: list[bytes] | None = None) -> str:
    """The service that answers, or the refusal's slug with its ``Allow``."""
    fields = [b""] if lines is None else lines
    route = TABLE.match(host, path, method, fields)
    if route is not None:
        return route.service_of(path)
    refusal = TABLE.refusal(host, path, method, fields)
    return f"{refusal.slug} {refusal.headers.decode().strip()}".strip()


@pytest.mark.parametrize(
    ("host", "path", "service"),
    [
        (b"x", b"/api/users/1", "users"),
        (b"x", b"/api/users", "users"),
        (b"x", b"/api/Users/", "users"),
        (b"x", b"/api/orders", "orders"),
        (b"x", b"/api/orders/", "orders"),
        (b"x", b"/api/orders/v1", "orders-v1"),
        (b"x", b"/api/orders/v1/x/y/z", "orders-v1"),
        (b"x", b"/api/orders/v12", "orders"),
        (b"x", b"/api/ordersX", "ordersx"),
        (b"x", b"/api", "no_route"),
        (b"x", b"/api/", "no_route"),
        (b"x", b"/", "no_route"),
        (b"x", b"*", "no_route"),
        (b"x", b"/apix/orders", "no_route"),
        (b"shop.example", b"/api/users", "shop"),
        (b"shop.example", b"*", "no_route"),
        (b"SHOP.example.:8080", b"/", "shop"),
        (b"a.shop.example", b"/", "any-shop"),
        (b"a.b.shop.example:80", b"/", "any-shop"),
        (b"a.eu.shop.example", b"/", "eu-shop"),
        (b"notshop.example", b"/", "no_route"),
        (b"api.example", b"/v1/x", "v1"),
        (b"api.example", b"/api/users", "users"),
    ],
)
def test_the_most_specific_route_wins(host, path, service):
    """Host, then whole segments of the longest prefix, a literal one before a name."""
    assert asked(host, path) == service


@pytest.mark.parametrize(
    ("path", "method", "lines", "service"),
    [
        (b"/api/orders", b"POST", None, "writes"),
        (b"/api/orders", b"GET", FIELDS, "beta"),
        (b"/api/orders", b"POST", FIELDS, "writes"),
        (b"/api/orders/v1", b"POST", None, "writes"),
        (b"/api/orders/v1", b"DELETE", FIELDS, "beta"),
    ],
)
def test_methods_and_headers_decide_at_last(path, method, lines, service):
    """Methods before headers; what does not fit falls back to a shorter prefix."""
    assert asked(b"x", path, method, lines) == service


@pytest.mark.parametrize(
    ("host", "path", "method", "answer"),
    [
        (b"x", b"/v1", b"GET", "method_not_allowed Allow: DELETE"),
        (b"api.example", b"/v1", b"POST", "method_not_allowed Allow: DELETE, GET"),
        (b"api.example", b"/v1", b"DELETE", "everyone"),
        (b"x", b"/v2", b"GET", "no_route"),
    ],
)
def test_405_only_if_no_other_route_matches(host, path, method, answer):
    """And then with all methods that would."""
    assert asked(host, path, method) == answer


def test_the_default_route_reaches_every_service():
    """Without a single route in the file."""
    table = table_of("auth: {default: none}")

    route = table.match(None, b"/api/orders/7", b"PATCH", [b""])

    assert route is not None
    assert (route.service_of(b"/api/orders/7"), route.forward_path(b"/api/orders/7"), route.label) == ("orders", b"/7", "/api/{service}")
    assert isinstance(table.refusal(None, b"/x", b"GET", [b""]), NoRoute)


def test_an_empty_table_has_no_route():
    """`routes: []` serves nothing."""
    table = table_of("routes: []")

    assert table.match(b"x", b"/", b"GET", [b""]) is None
    assert repr(table) == "<RouteTable 0 routes, 0 hosts>"


@pytest.mark.parametrize(
    ("host", "bare"),
    [(b"A.b:80", b"a.b"), (b"a.b.", b"a.b"), (b"a.b.:80", b"a.b"), (b"[::1]:80", b"[::1]"), (b"[::A]", b"[::a]"), (b"", b"")],
)
def test_of_a_host_only_the_name_counts(host, bare):
    """Neither port nor case nor the last dot."""
    assert bare_host(host) == bare


def test_a_route_holds_what_is_in_force():
    """Built-in, service and route merged; for a route by name also for each service that differs."""
    table = table_of("""
auth: {default: none, options_public: false}
server: {max_body: 1MiB}
services: {orders: {timeout: {response: 7s}, retry: {per_try_timeout: 2s}}, users: {balancer: p2c}, "*": {timeout: {connect: 3s}}}
routes:
  - {prefix: '/api/{service}', timeout: {idle: 9s}}
  - {prefix: /o, service: orders, retry: {attempts: 0, on: [reset]}, max_body: 1KiB, auth: optional}
""")

    orders = table.match(b"", b"/api/Orders/1", b"GET", [b""])
    users = table.match(b"", b"/api/users", b"GET", [b""])
    written = table.match(b"", b"/o", b"GET", [b""])

    assert orders is not None
    assert users is not None
    assert written is not None
    assert (orders.timeout.response, orders.timeout.connect, orders.timeout.idle) == (2.0, 2.0, 9.0)
    assert (orders.service_of(b"/api/Orders/1"), orders.label) == ("orders", "/api/{service}")
    assert (users.timeout.response, users.timeout.connect, users.timeout.idle) == (30.0, 3.0, 9.0)
    assert (users.retry.attempts, users.retry.budget, users.retry.min_per_second, users.retry.backoff) == (2, 0.2, 10.0, 0.025)
    assert users is table.routes[0]
    assert (written.retry.attempts, written.retry.on, written.max_body, users.max_body) == (0, frozenset(("reset",)), 1024, 2**20)
    assert (written.auth, users.auth, users.options_public) == ("optional", "none", False)
    assert list(table) == [table.routes[0], orders, table.routes[1]]


def test_policies_are_composed_for_every_route_a_match_can_give():
    """A redirect answers after them."""

    def refuse_all(_exchange: object) -> None:
        return None

    given_settings = load_text(
        "auth: {default: none}\nservices: {a: {retry: {attempts: 0}}}\nroutes: [{prefix: '/{service}'}, {prefix: /x, redirect: {to: /y}}]",
        "gw",
        {},
    )
    table = compile_routes(given_settings, lambda _route: (refuse_all,))

    assert [route.admit[0] for route in table] == [refuse_all] * 3
    assert [len(route.admit) for route in table] == [1, 1, 2]


def test_operators_see_the_routes_as_they_wrote_them():
    """In the order of the file, with the effective auth; a condition that is a credential is masked."""
    first, second = table_of("""
auth: {default: none}
routes:
  - {host: shop.example, prefix: /v1/, methods: [GET], headers: {X-Api-Key: hunter2}, service: orders, strip_prefix: true, add_prefix: /in}
  - {prefix: /old, redirect: {to: /new}, auth: optional}
""").describe()

    assert first == {
        "host": "shop.example", "prefix": "/v1", "methods": ["GET"], "headers": {"X-Api-Key": "***"}, "service": "orders",
        "strip_prefix": True, "add_prefix": "/in", "redirect": None, "auth": "none", "scopes": [], "limit": None, "cors": None,
        "source": "file", "error": None, "tag": None,
    }  # fmt: skip
    assert (second["redirect"], second["auth"]) == ({"to": "/new", "status": 308}, "optional")
    assert table_of("auth: {default: none}").describe()[0]["source"] == "built-in"


def test_a_refusal_by_method_names_what_is_allowed():
    """RFC 9110, 15.5.6, asks for it."""
    refusal = TABLE.refusal(b"x", b"/v1", b"GET", [b""])

    assert isinstance(refusal, MethodNotAllowed)


def test_the_table_needs_no_library_of_configuration():
    """It is asked by every request; what reads files stays outside."""
    heavy = "('pydantic', 'yaml', 'httpx', 'fastapi')"
    code = f"import sys, lbgateway.dataplane.routing, lbgateway.dataplane.target; print([m for m in {heavy} if m in sys.modules])"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


SEGMENTS = st.sampled_from(["a", "b", "api"])
PREFIXES = st.one_of(
    st.just("/"),
    st.lists(SEGMENTS, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts)),
    st.lists(SEGMENTS, max_size=2).map(lambda parts: "/".join(["", *parts, "{service}"])),
)
ROUTES = st.lists(
    st.fixed_dictionaries(
        {"prefix": PREFIXES},
        optional={
            "host": st.sampled_from(["x.example", "*.example", "*.x.example"]),
            "methods": st.sampled_from([["GET"], ["POST"], ["GET", "PUT"]]),
            "headers": st.sampled_from([{"X-Beta": "1"}, {"X-More": "a b"}, {"X-Beta": "2"}]),
        },
    ),
    max_size=8,
)
PATHS = st.lists(st.sampled_from(["a", "b", "api", "c", "A"]), max_size=5).flatmap(
    lambda parts: st.sampled_from(["/" + "/".join(parts), "/" + "/".join([*parts, ""])])
)


@settings(max_examples=300, deadline=None)
@given(
    ROUTES,
    st.sampled_from(["x.example", "y.example", "a.x.example", "other"]),
    PATHS.filter(lambda path: "//" not in path),
    st.sampled_from(["GET", "POST", "DELETE"]),
)
def test_the_tree_agrees_with_a_naive_reading(routes, host, path, method):
    """Whatever the table: the same route, or the same refusal, as looking at all routes one by one."""
    written = [route if route["prefix"].endswith("{service}") else {**route, "service": f"s{index}"} for index, route in enumerate(routes)]
    try:
        found = load_text(str({"auth": {"default": "none"}, "routes": written}), "gw.yaml", {})
    except ConfigErrors:
        return  # ties, which the table never sees
    table = compile_routes(found)
    expected = naive(list(found.routes), host, path, method, {"x-beta": "1", "x-more": "a b"})

    route = table.match(host.encode(), path.encode(), method.encode(), FIELDS)

    if isinstance(expected, int):
        assert route is table.routes[expected]
        return
    assert route is None
    refusal = table.refusal(host.encode(), path.encode(), method.encode(), FIELDS)
    assert refusal.headers.decode() == ("" if expected is None else f"Allow: {', '.join(expected)}\r\n")


def test_a_thousand_routes_cost_as_much_as_one():
    """A lookup walks the path, not the table: so many Python calls, whatever the size."""
    few = table_of("auth: {default: none}\nroutes: [{prefix: /v1/s7/x, service: s7}]")
    many = table_of("auth: {default: none}\nroutes:\n" + "".join(f"  - {{prefix: /v1/s{n}/x, service: s{n}}}\n" for n in range(1000)))

    assert calls_of(few.match) == calls_of(many.match) <= 3
    assert calls_of(few.match) == calls_of(many.match) <= 1, "the second time it is remembered"


def calls_of(match) -> int:
    """Python calls of one warm match."""
    calls = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        route: Route | None = match(b"x", b"/v1/s7/x/y", b"GET", [b""])
    finally:
        sys.setprofile(None)
    assert route is not None
    return calls


def test_what_is_remembered_of_paths_is_bounded_and_right():
    """More paths than are remembered, asked twice and in another order: each time the route that the table finds."""
    table = table_of("auth: {default: none}\nroutes: [{prefix: /a, service: a}, {prefix: /a/b, service: b}]")
    paths = [b"/a/%d" % number for number in range(KNOWN + 5)] + [b"/a/b/%d" % number for number in range(KNOWN)] + [b"/a/" + b"x" * 500]
    for path in (*paths, *reversed(paths), b"/c"):
        route = table.match(b"x", path, b"GET", [b""])
        assert (route and route.service) == (None if path == b"/c" else "b" if path.startswith(b"/a/b/") else "a")

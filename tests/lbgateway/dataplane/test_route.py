"""One compiled route."""

import pytest

from lbgateway.dataplane.route import HeaderEdits, PublicPaths, Redirect, Route, make_edits
from lbgateway.dataplane.target import Target
from tests.lbgateway.dataplane.tables import FIELDS, table_of


def only(text: str) -> Route:
    return table_of(f"auth: {{default: none}}\nroutes: [{text}]").routes[0]


@pytest.mark.parametrize(
    ("route", "path", "forwarded"),
    [
        ("{prefix: /api/orders, service: a, strip_prefix: true}", b"/api/orders/x", b"/x"),
        ("{prefix: /api/orders, service: a, strip_prefix: true}", b"/api/orders", b"/"),
        ("{prefix: /api/orders, service: a, strip_prefix: true}", b"/api/orders/", b"/"),
        ("{prefix: /api/orders/, service: a, strip_prefix: true}", b"/api/orders/x", b"/x"),
        ("{prefix: /api/orders, service: a}", b"/api/orders/x", b"/api/orders/x"),
        ("{prefix: /, service: a, strip_prefix: true}", b"/x/", b"/x/"),
        ("{prefix: /, service: a, strip_prefix: true, add_prefix: /v2}", b"/x", b"/v2/x"),
        ("{prefix: /v1, service: a, strip_prefix: true, add_prefix: /internal}", b"/v1/x", b"/internal/x"),
        ("{prefix: /v1, service: a, strip_prefix: true, add_prefix: /internal/}", b"/v1", b"/internal/"),
        ("{prefix: /v1, service: a, add_prefix: /internal}", b"/v1/x", b"/internal/v1/x"),
        ("{prefix: /v1, service: a, add_prefix: /}", b"/v1/x", b"/v1/x"),
        ("{prefix: '/api/{service}', strip_prefix: true}", b"/api/orders/x/y", b"/x/y"),
        ("{prefix: '/api/{service}', strip_prefix: true}", b"/api/orders", b"/"),
        ("{prefix: '/api/{service}', strip_prefix: true}", b"/api/orders/", b"/"),
        ("{prefix: '/api/{service}'}", b"/api/orders/x", b"/api/orders/x"),
        ("{prefix: '/{service}', strip_prefix: true, add_prefix: /in}", b"/orders/x", b"/in/x"),
    ],
)
def test_the_forwarded_path(route, path, forwarded):
    """The whole matched prefix is stripped; what is added comes before."""
    assert only(route).forward_path(path) == forwarded


@pytest.mark.parametrize(
    ("route", "path", "service"),
    [
        ("{prefix: '/api/{service}'}", b"/api/orders/x", "orders"),
        ("{prefix: '/api/{service}'}", b"/api/Orders", "orders"),
        ("{prefix: '/{service}'}", b"/a%3Ab/", "a%3ab"),
        ("{prefix: /v1, service: Orders}", b"/v1/users", "orders"),
        ("{prefix: /old, redirect: {to: /new}}", b"/old", ""),
    ],
)
def test_the_service_of_a_path(route, path, service):
    """Written in the route, or the path's own word in the registry's case."""
    assert only(route).service_of(path) == service


@pytest.mark.parametrize(
    ("to", "path", "query", "location"),
    [
        (b"/new", b"/x", b"", b"/new"),
        (b"/new", b"/x", b"?a=1", b"/new?a=1"),
        (b"/new?b=2", b"/x", b"?a=1", b"/new?b=2&a=1"),
        (b"https://shop.example{path}", b"/x", b"?a", b"https://shop.example/x?a"),
    ],
)
def test_a_redirect_keeps_the_query(to, path, query, location):
    """And the path where it is asked to."""
    assert Redirect(to, 308).location(path, query) == location


class AskedFor:
    """As much of an exchange as a redirect looks at."""

    def __init__(self, path: bytes, query: bytes = b"") -> None:
        self.target = Target(path, query, b"")


def test_a_redirect_answers_as_the_last_policy():
    """With the path as it would have been forwarded."""
    route = only("{prefix: /old, strip_prefix: true, redirect: {to: '/new{path}', status: 301}}")
    (lead,) = route.admit

    answer = lead(AskedFor(b"/old/x", b"?a"))

    assert answer is not None
    assert (answer.status, answer.slug, answer.headers) == (301, "redirected", b"Location: /new/x?a\r\n")
    assert only("{service: a}").admit == ()
    assert only("{service: a}").lead_elsewhere(AskedFor(b"/")) is None


def test_header_edits_drop_names_and_append_lines():
    """In any case; what is before the start stays."""
    edits = make_edits({"X-A": "1"}, {"X-B": "2"}, ("X-C",))
    assert edits is not None
    lines = [b"", b"x-a", b": ", b"0", b"\r\n", b"X-c", b": ", b"0", b"\r\n", b"x-b", b": ", b"0", b"\r\n"]

    assert b"".join(edits.apply(lines, start=1)) == b"x-b: 0\r\nX-A: 1\r\nX-B: 2\r\n"
    assert edits.apply(lines, start=1)[0] == b""
    assert len(lines) == 13
    assert HeaderEdits(frozenset((b"x-a",)), b"").apply(lines[1:5]) == []
    assert b"".join(edits.dropping(lines[1:])) == b"x-b: 0\r\n"
    assert edits.dropping_from(b"X-Id: a: b\r\nX_C: 1\r\nX-Name: \xc3\xa9\r\n") == b"X-Id: a: b\r\nX-Name: \xc3\xa9\r\n"
    assert edits.dropping_from(b"") == b""
    assert make_edits({}, {}, ()) is None


@pytest.mark.parametrize("name", [b"X-Shop", b"x_shop", b"X.SHOP", b"X~Shop"])
@pytest.mark.parametrize("edits", [make_edits({"X-Shop": "main"}, {}, ()), make_edits({}, {}, ("X_Shop",))])
def test_a_name_is_replaced_or_removed_in_every_spelling_that_services_mix_up(edits, name):
    """A client cannot say beside the gateway what the gateway says, or what it takes away."""
    lines = [b"", name, b": ", b"other", b"\r\n", b"X-Shops", b": ", b"2", b"\r\n"]

    assert b"other" not in b"".join(edits.apply(lines, start=1))
    assert b"X-Shops: 2" in b"".join(edits.apply(lines, start=1))


@pytest.mark.parametrize(
    ("path", "public"),
    [(b"/health", True), (b"/health/", False), (b"/docs", True), (b"/docs/x", True), (b"/docsx", False), (b"/", False)],
)
def test_public_paths_are_exact_or_whole_segments(path, public):
    """A prefix covers itself and what is below it."""
    assert (path in PublicPaths(frozenset((b"/health",)), (b"/docs",))) is public
    assert path in PublicPaths(frozenset(), (b"",))


def test_a_route_knows_only_the_public_paths_below_it():
    """Most have none, and never look."""
    text = """
auth: {default: none, public_paths: {exact: [/api/auth/login], prefixes: [/docs, /api/open/x]}}
routes: [{prefix: '/api/{service}'}, {prefix: /docs/internal, service: d}, {prefix: /shop, service: s}, {prefix: /api/open, service: o}]
"""
    by_name, docs, shop, opened = table_of(text).routes

    assert by_name.is_public(b"/api/auth/login")
    assert not by_name.is_public(b"/api/auth/logout")
    assert docs.is_public(b"/docs/internal/x")
    assert shop.public is None
    assert not shop.is_public(b"/docs")
    assert opened.is_public(b"/api/open/x/y")
    assert not opened.is_public(b"/api/open/y")


@pytest.mark.parametrize(
    ("conditions", "met"),
    [
        ("{X-Beta: 1}", True),
        ("{x-beta: 1}", True),
        ("{X-Beta: 2}", False),
        ("{X-Beta: 1, X-More: a b}", True),
        ("{X-Beta: 1, X-None: a}", False),
        ("{}", True),
    ],
)
def test_header_conditions_are_all_to_be_met(conditions, met):
    """Names in any case, values as they are."""
    assert only(f"{{service: a, headers: {conditions}}}").meets_headers(FIELDS) is met


def test_a_route_tells_what_it_is():
    """Its label is what the operator wrote."""
    assert repr(only("{host: shop.example, prefix: /v1, service: a}")) == "<Route shop.example/v1 -> a>"
    assert repr(only("{redirect: {to: /x}}")) == "<Route / -> redirect>"
    assert repr(only("{prefix: '/{service}'}")) == "<Route /{service} -> {service}>"

"""What services may claim. The properties are the point: no set of tags takes a path of another service."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.composition.claims import Refusal, Taken, claim
from lbgateway.composition.compose import compose
from lbgateway.composition.declaration import Declaration
from lbgateway.composition.overlap import covers, segments_of
from lbgateway.config import RouteSettings, Settings
from lbgateway.dataplane.compiling import RouteCompiler
from lbgateway.dataplane.routing import Route, RouteTable
from tests.lbgateway.composition.registrations import asks, settings_of

BY_NAME = "routes:\n  - {prefix: '/api/{service}', strip_prefix: true, auth: optional, max_body: 1KiB}\n"


def judged(
    service: str, *tags: str, routes: str = BY_NAME, granted: tuple[str, ...] = (), others: tuple[Declaration, ...] = ()
) -> RouteSettings:
    """The claim of the only wish; `Refusal` if it has to be one."""
    taken = Taken()
    for other in others:
        taken.add(other.wishes[0].route)
    [wish] = asks(service, *tags, granted=("auth",)).wishes
    return claim(wish, settings_of(routes).routes, taken, granted=granted, exposed=frozenset(("orders", "billing", "users")))


@pytest.mark.parametrize(
    ("prefix", "granted"),
    [
        ("/api/orders", ()),
        ("/api/orders/v2", ()),
        ("/shop", ("/shop",)),
        ("/shop/a", ("/shop",)),
        ("/api/legacy", ("/api/legacy",)),
        ("/", ("/",)),
    ],
)
def test_a_service_may_claim_its_own_and_what_is_granted(prefix, granted):
    """And everything below."""
    assert judged("orders", f"prefix={prefix}", granted=granted).prefix == prefix


@pytest.mark.parametrize(
    ("tags", "granted", "message"),
    [
        (("prefix=/shop",), (), "orders may claim /api/orders, and nothing else; an operator may grant more: "),
        (("prefix=/shop",), ("/a",), "orders may claim /api/orders and /a, and nothing else; an operator may grant more: "),
        (("prefix=/shop",), ("/a",), "discovery.consul.tag_prefixes: {orders: [/a, /shop]}"),
        (("prefix=/api/ordersX",), (), "may claim /api/orders, and nothing else"),
        (("prefix=/api",), (), "may claim /api/orders, and nothing else"),
        (("prefix=/shopping",), ("/shop",), "may claim /api/orders and /shop, and nothing else"),
        (("prefix=/api/orders/{service}",), (), "without a placeholder"),
        (("prefix=/api/billing",), ("/api",), "from the route /api/{service}, which an operator wrote"),
        (("prefix=/api/BILLING/x",), ("/api",), "from the route /api/{service}"),
        (("prefix=/", "host=shop.example"), ("/",), "from the route /api/{service}"),
    ],
)
def test_more_is_refused(tags, granted, message):
    """Another service's path is not for the taking, not even where a grant is wide; nor is a host a way around."""
    with pytest.raises(Refusal) as refusal:
        judged("orders", *tags, granted=granted)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("operators", "refused"),
    [
        ("{prefix: /shop, service: web}", True),
        ("{prefix: /shop, service: orders}", True),
        ("{prefix: /shop/fixed, service: web, methods: [GET]}", False),
        ("{prefix: /shop/a, service: web}", True),
        ("{prefix: /shop, service: web, methods: [GET]}", True),
        ("{prefix: /shop, service: web, methods: [PUT], headers: {X-A: 1}}", True),
        ("{prefix: /shop/a/b, service: web}", False),
        ("{host: a.example, prefix: /shop, service: web}", False),
        ("{prefix: /, service: web}", False),
        ("{prefix: /, service: web, methods: [GET]}", True),
        ("{prefix: /other, service: web}", False),
    ],
)
def test_operators_routes_keep_their_requests(operators, refused):
    """Broader ones are made more precise; all that lies in what was granted stays as it was written."""
    routes = f"routes:\n  - {operators}\n"
    if refused:
        with pytest.raises(Refusal, match="which an operator wrote"):
            judged("orders", "prefix=/shop/a", routes=routes, granted=("/shop",))
    else:
        assert judged("orders", "prefix=/shop/a", routes=routes, granted=("/shop",)).prefix == "/shop/a"


@pytest.mark.parametrize(("name", "refused"), [("billing", True), ("nobody", False), ("orders", False)])
def test_a_name_in_the_path_belongs_to_whom_it_names(name, refused):
    """While there is such a service; a grant may lie below the name of one that is gone."""
    arguments = {"routes": "routes:\n  - {prefix: '/{service}'}\n", "granted": (f"/{name}",)}
    if refused:
        with pytest.raises(Refusal, match=r"from the route /\{service\}"):
            judged("orders", f"prefix=/{name}/a", **arguments)
    else:
        assert judged("orders", f"prefix=/{name}/a", **arguments).prefix == f"/{name}/a"


def test_a_host_is_no_way_around_a_route():
    """On that host it would win over a longer prefix."""
    routes = "routes:\n  - {prefix: /shop/fixed, service: web}\n"
    with pytest.raises(Refusal, match="from the route /shop/fixed"):
        judged("orders", "prefix=/shop", "host=shop.example", routes=routes, granted=("/shop",))


def test_who_came_first_stays():
    """The other one gets what is left, if that is less."""
    first = asks("billing", "prefix=/shop/a")
    with pytest.raises(Refusal, match="from billing, which came first, at /shop/a"):
        judged("orders", "prefix=/shop/a/b", granted=("/shop",), others=(first,))
    assert judged("orders", "prefix=/shop", granted=("/shop",), others=(first,)).prefix == "/shop"
    with pytest.raises(Refusal, match="claimed twice"):
        judged("billing", "prefix=/shop/a", granted=("/shop",), others=(first,))


def test_below_the_services_own_path_the_guards_stay():
    """A tag makes nothing laxer, unless an operator lets it."""
    refined = judged("orders", "prefix=/api/orders/v2")
    assert (refined.auth, refined.max_body, refined.strip_prefix) == ("optional", 1024, False)
    assert judged("orders", "prefix=/api/orders", "auth=none").auth == "none"
    assert judged("orders", "methods=GET").strip_prefix is True
    assert judged("orders", "methods=GET", "strip_prefix=false").strip_prefix is False
    assert judged("orders", "prefix=/shop", granted=("/shop",)).auth is None


# -- properties ------------------------------------------------------------------------------------

SERVICES = ("orders", "billing", "users", "web")
FILE = """
discovery: {consul: {tag_prefixes: {orders: [/shop, /api], billing: [/shop, /], users: [/shop/u]}}}
routes:
  - {prefix: '/api/{service}'}
  - {prefix: /shop/fixed, service: fixed}
  - {prefix: /, service: web}
  - {host: a.example, prefix: /only, service: only, methods: [GET]}
"""
SETTINGS = settings_of(FILE)
PREFIXES = ("/", "/api", "/api/orders", "/api/billing", "/api/users/x", "/shop", "/shop/u", "/shop/fixed", "/shop/fixed/x", "/only")
TAGS = st.lists(st.sampled_from([f"prefix={prefix}" for prefix in PREFIXES]), min_size=1, max_size=3, unique=True)
EXTRA = st.lists(st.sampled_from(["host=a.example", "host=*.example", "methods=GET", "methods=PUT"]), max_size=2, unique=True)
ORDERS = st.permutations(SERVICES)
REQUESTS = [
    (host, path, method)
    for host in (b"a.example", b"b.example", b"c")
    for path in ("/", "/api/orders/1", "/api/billing", "/api/users/x", "/api/Users/x/y", "/shop/1", "/shop/u", "/shop/fixed/x", "/only/x")
    for method in (b"GET", b"PUT")
]


@st.composite
def registrations(draw: st.DrawFn) -> list[Declaration]:
    return [
        asks(name, *draw(TAGS), *draw(EXTRA), came=index)
        for index, name in enumerate(draw(ORDERS)[: draw(st.integers(1, 4))])
    ]  # fmt: skip


def table_of(settings: Settings, declared: list[Declaration]) -> RouteTable:
    composition = compose(settings, declarations=declared, exposed=frozenset(SERVICES))
    return RouteCompiler().compile(composition.settings, composition.sources)


def found(table: RouteTable, request: tuple[bytes, str, bytes]) -> Route | None:
    host, path, method = request
    return table.match(host, path.encode(), method, [b""])


PLAIN = table_of(SETTINGS, [])


@given(registrations())
def test_no_set_of_tags_takes_a_path_of_another_service(declared: list[Declaration]) -> None:
    """Whoever has a request by the file keeps it, except where a broad route is made more precise within a grant."""
    table = table_of(SETTINGS, declared)
    for request in REQUESTS:
        before, now = found(PLAIN, request), found(table, request)
        assert before is not None, request
        assert now is not None, request
        if now.view["source"] != "tags":
            assert now.label == before.label
            continue
        service, segments = now.service or "", segments_of(request[1])
        granted = [f"/api/{service}", *SETTINGS.discovery.consul.tag_prefixes.get(service, ())]
        assert any(covers(segments_of(grant), segments_of(now.view["prefix"])) for grant in granted)
        assert covers(segments_of(now.view["prefix"]), segments)
        if before.by_name:
            assert before.service_of(request[1].encode()) == service
        else:
            assert before.label == "/", "only the broadest route may be made more precise"


@given(registrations())
def test_a_newcomer_takes_nothing_from_who_was_there(declared: list[Declaration]) -> None:
    """Requests that a tag leads to a service go there still when the next one has registered."""
    before, now = table_of(SETTINGS, declared[:-1]), table_of(SETTINGS, declared)
    for request in REQUESTS:
        old, new = found(before, request), found(now, request)
        if old is not None and new is not None and old.view["source"] == "tags":
            assert new.service == old.service

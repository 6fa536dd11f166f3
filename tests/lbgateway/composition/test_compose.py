"""File over store over tags."""

from __future__ import annotations

import pytest

from lbgateway.composition.compose import Composition, compose
from lbgateway.composition.declaration import declare
from lbgateway.config import load_text
from lbgateway.config.fragment import load_fragment
from tests.lbgateway.composition.registrations import asks, instance, settings_of


def routes_of(composition: Composition) -> list[tuple[str, str, str | None]]:
    pairs = zip(composition.settings.routes, composition.sources, strict=True)
    return [(source, route.prefix, route.service) for route, source in pairs]


def wrong(composition: Composition) -> list[tuple[str, str, str]]:
    return [(each.source, each.tag or each.route.prefix, each.error) for each in composition.refused]


def test_alone_the_file_is_in_force():
    """And the built-in route, where it gives none."""
    assert routes_of(compose(settings_of())) == [("built-in", "/api/{service}", None)]
    assert routes_of(compose(settings_of("routes: [{prefix: /a, service: a}]"))) == [("file", "/a", "a")]
    assert routes_of(compose(settings_of("routes: []"))) == []


def test_routes_of_all_sources_stand_side_by_side():
    """In this order."""
    stored = load_fragment("routes: [{prefix: /kv, service: a}]", "kv:k")
    composed = compose(settings_of(), stored, [asks("orders", "prefix=/api/orders")])
    assert routes_of(composed) == [("built-in", "/api/{service}", None), ("kv", "/kv", "a"), ("tags", "/api/orders", "orders")]
    assert wrong(composed) == []


def test_the_store_may_replace_the_built_in_route():
    """Which is there for want of a better one."""
    stored = load_fragment("routes: [{prefix: '/api/{service}', auth: optional}]", "kv:k")
    composed = compose(settings_of(), stored)
    assert [(route.auth, source) for route, source in zip(composed.settings.routes, composed.sources, strict=True)] == [("optional", "kv")]


def test_a_disabled_route_replaces_nothing():
    """Nobody could pass the one from the store."""
    stored = load_fragment("routes: [{prefix: '/api/{service}', auth: required}]", "kv:k")
    assert routes_of(compose(settings_of(), stored)) == [("built-in", "/api/{service}", None)]


@pytest.mark.parametrize(
    ("file", "route", "error"),
    [
        ("", "{prefix: /a, service: a, scopes: [x]}", "scopes: are asked of nobody, because the route's auth is none"),
        ("cors: {allow_origins: ['*']}", "{prefix: /a, service: a, cors: {allow_credentials: true}}", "cors: allow_credentials with"),
        ("cors: {allow_origins: ['*']}", "{prefix: /a, service: a}", None),
    ],
)
def test_what_does_not_fit_the_file_is_disabled(file, route, error):
    """By itself the route is fine, so no other one is concerned."""
    stored = load_fragment(f"routes: [{route}, {{prefix: /b, service: b}}]", "kv:k")
    composed = compose(settings_of(file), stored)
    assert [prefix for _, prefix, _ in routes_of(composed)] == ["/api/{service}", *(["/a"] if error is None else []), "/b"]
    assert [error in told for _, _, told in wrong(composed)] == ([] if error is None else [True])


def test_where_routes_tie_the_file_stays():
    """The other one is disabled, with its line; methods that differ are no tie."""
    stored = load_fragment("routes:\n  - {prefix: /a, service: kv}\n  - {prefix: /a, service: kv, methods: [PUT]}\n", "kv:k")
    composed = compose(settings_of("routes: [{prefix: /a, service: a}]"), stored)
    assert routes_of(composed) == [("file", "/a", "a"), ("kv", "/a", "kv")]
    assert wrong(composed) == [("kv", "/a", "kv:k:2: matches the same requests as a route of the file (any host /a), which wins")]


def test_what_nobody_can_pass_is_disabled():
    """From the store and from tags; in the file it is an error already."""
    grants = "discovery: {consul: {tag_prefixes: {orders: [/shop]}}}"
    base = load_text(f"{grants}\nroutes: [{{prefix: '/api/{{service}}', auth: none}}]", "gw.yaml", {})
    stored = load_fragment("routes: [{prefix: /a, service: a}, {prefix: /b, service: b, auth: none}]", "kv:k")
    composed = compose(base, stored, [asks("orders", "prefix=/shop", "prefix=/api/orders")])
    assert routes_of(composed)[1:] == [("kv", "/b", "b"), ("tags", "/api/orders", "orders")]
    assert [(source, prefix) for source, prefix, error in wrong(composed) if "nothing can check one" in error] == [
        ("kv", "/a"),
        ("tags", "/shop"),
    ]


@pytest.mark.parametrize(
    ("file", "store", "tags", "effective"),
    [
        ("{}", "{}", ("balancer=random",), ("random", 30.0, 60.0)),
        ("{}", "{orders: {balancer: p2c}}", ("balancer=random",), ("p2c", 30.0, 60.0)),
        ("{orders: {balancer: weighted}}", "{orders: {balancer: p2c}}", ("balancer=random",), ("weighted", 30.0, 60.0)),
        (
            "{orders: {timeout: {response: 1s}}}",
            "{orders: {timeout: {response: 2s, idle: 2s}}}",
            ("timeout.idle=3s", "balancer=random"),
            ("random", 1.0, 2.0),
        ),
        ("{'*': {balancer: weighted}}", "{'*': {balancer: p2c, timeout: {idle: 9s}}}", ("timeout.response=2s",), ("weighted", 2.0, 9.0)),
        ("{'*': {balancer: weighted}}", "{}", ("balancer=random",), ("random", 30.0, 60.0)),
    ],
)
def test_settings_are_merged_key_by_key(file, store, tags, effective):
    """``"*"`` are defaults, wherever they were written: what is said of the service itself comes after."""
    composed = compose(settings_of(f"services: {file}"), load_fragment(f"services: {store}", "kv:k"), [asks("orders", *tags)])
    service = composed.settings.service("orders")
    assert (service.balancer, service.timeout.response, service.timeout.idle) == effective


def test_operators_name_services_and_tags_do_not():
    """A tag that is gone must not leave a service exposed."""
    stored = load_fragment("services: {'*': {}, kv: {}}\nroutes: [{prefix: /kv, service: kv-route}]", "kv:k")
    base = settings_of("services: {'*': {}, file: {}}\nroutes: [{prefix: /a, service: a}]")
    composed = compose(base, stored, [asks("orders", "prefix=/api/orders")])
    assert composed.named == {"file", "kv"}
    assert composed.led_to == {"a", "kv-route"}


def test_a_service_that_stands_in_for_another_one_is_led_to():
    """Where the file or the store says so; a tag leads nowhere but to its own service."""
    fallback = "breaker: {fallback: {service: %s}}"
    base = settings_of("services: {orders: {%s}, users: {breaker: false}}" % (fallback % "older"))
    composed = compose(base, load_fragment("services: {'*': {%s}}" % (fallback % "spare"), "kv:k"))
    assert composed.led_to == {"older", "spare"}


def test_words_that_are_not_in_force_are_told_with_their_route():
    """Or with where the service is reached by default."""
    told = [asks("orders", "prefix=/api/orders/v1", "x=1"), asks("users", "balancer=bogus"), asks("odd name", "x=1")]
    composed = compose(settings_of(), declarations=told)
    assert [(each.route.service, each.route.prefix, each.tag) for each in composed.refused] == [
        ("orders", "/api/orders/v1", "lbgateway.x=1"),
        ("users", "/api/users", "lbgateway.balancer=bogus"),
        ("odd name", "/api/odd name", "lbgateway.x=1"),
    ]


def test_what_did_not_change_is_the_same_object():
    """So that compiling can leave it alone, however many services there are."""
    base, stored = settings_of("services: {'*': {balancer: p2c}}"), load_fragment("{}", "kv:k")
    users, orders = asks("users", "timeout.idle=3s"), asks("orders", "timeout.idle=4s")
    first = compose(base, stored, [users, orders]).settings
    found = first.service("users"), first.service("orders"), first.service("others")
    second = compose(base, stored, [users, asks("orders", "timeout.idle=5s")], before=first).settings
    assert second.service("users") is found[0]
    assert second.service("orders").timeout.idle == 5.0
    assert second.service("others") is found[2]
    assert first.service("orders").timeout.idle == 4.0


def test_a_deploy_in_progress_is_told():
    """The route is in force, the other word is shown."""
    words = ("lbgateway.prefix=/api/orders/a", "lbgateway.prefix=/api/orders/b")
    told = declare("orders", [instance("orders", number, word) for number, word in enumerate(words, 1)])
    assert told is not None
    composed = compose(settings_of(), declarations=[told])
    assert routes_of(composed)[1:] == [("tags", "/api/orders/b", "orders")]
    assert [each.tag for each in composed.refused] == ["lbgateway.prefix=/api/orders/a"]


def test_oauth_is_a_public_route_of_the_file():
    """Its service is named by it; a route of the store that wants the same stays out."""
    stored = load_fragment("routes: [{prefix: /oauth, service: evil}]", "kv:k")
    composed = compose(settings_of("oauth: {service: auth}"), stored)

    assert routes_of(composed) == [("built-in", "/api/{service}", None), ("file", "/oauth", "auth")]
    assert composed.settings.routes[1].auth == "none"
    assert (composed.named, composed.led_to) == (frozenset(), {"auth"})
    assert [prefix for _, prefix, _ in wrong(composed)] == ["/oauth"]

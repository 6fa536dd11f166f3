"""What operators are told of a new configuration."""

from __future__ import annotations

from lbgateway.composition.changes import MOST, changes, tell_of, tell_refused
from lbgateway.composition.compose import NOTHING, Composition, compose
from lbgateway.config.fragment import load_fragment
from lbgateway.telemetry.events import Events
from tests.lbgateway.composition.registrations import asks, settings_of


def composed(text: str = "", stored: str = "", *tags: str) -> Composition:
    fragment = load_fragment(stored, "kv:routes") if stored else NOTHING
    declared = [asks("orders", *tags, granted=("balancer",))] if tags else []
    return compose(settings_of(text), fragment, declared, exposed={"orders"})


def test_what_is_as_it_was_is_not_worth_a_word():
    """The same text, read again."""
    text = "services: {orders: {balancer: p2c}}\nserver: {port: 9000}\n"
    assert changes(composed(text), composed(text)) == []


def test_sections_and_services_are_named_with_their_keys():
    """Of a section its name, of a service the keys; never a value."""
    before = composed("services: {orders: {balancer: p2c}, users: {}}\nserver: {port: 9000}\n")
    after = composed("services: {orders: {balancer: random, timeout: {connect: 2s}}, users: {}}\nserver: {port: 9001}\n")
    assert changes(before, after) == ["server changed", "service orders changed: balancer, timeout"]


def test_routes_come_and_go_and_change():
    """With where they come from, and where they lead."""
    before = composed(
        "", "routes: [{prefix: /a, service: orders}, {prefix: /b, methods: [GET], headers: {X-Key: s3cret}, service: orders}]"
    )
    after = composed("", "routes: [{prefix: /a, service: users, auth: none}, {prefix: /c, service: orders}]")
    assert changes(before, after) == [
        "route /a (kv, to orders) gone",
        "route /b GET X-Key (kv, to orders) gone",
        "route /a (kv, to users) new",
        "route /c (kv, to orders) new",
    ]
    assert (
        changes(before, composed("", "routes: [{prefix: /a, service: orders, auth: none}]"))[-1] == "route /a (kv, to orders) changed: auth"
    )


def test_what_services_bring_along_is_told_with_what_is_refused():
    """A deploy brings a route and a balancer; what it may not claim is named with the reason."""
    told = changes(composed(), composed("", "", "prefix=/api/orders/v2", "balancer=p2c"))
    assert told == ["service orders changed: balancer", "route /api/orders/v2 (tags, to orders) new"]
    [refused] = changes(composed(), composed("", "", "prefix=/shop"))
    assert refused.startswith("route /shop (tags, to orders) refused: ")


def test_hundreds_of_changes_are_a_number():
    """The first are named."""
    services = ", ".join(f"s{number:03}: {{balancer: p2c}}" for number in range(MOST + 30))
    told = changes(composed(), composed(f"services: {{{services}}}"))
    assert (len(told), told[-1]) == (MOST + 1, "and 30 more")


def test_an_event_says_where_it_came_from():
    """Nothing is said of tags that change nothing; a reload of the file is told in any case."""
    events, before, after = Events(), composed(), composed("", "", "balancer=p2c")
    tell_of(events, before, before, "tags")
    tell_of(events, before, after, "tags", "kv")
    tell_of(events, after, after, "file")
    tell_refused(events, "kv", ["kv:routes: no"])
    assert [event.facts for event in events.since(0).events] == [
        {"ok": True, "errors": [], "source": "kv, tags", "changes": ["service orders changed: balancer"]},
        {"ok": True, "errors": [], "source": "file", "changes": []},
        {"ok": False, "errors": ["kv:routes: no"], "source": "kv", "changes": []},
    ]

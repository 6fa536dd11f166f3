"""Who is followed, and who is there for an operator's own purposes only: tables."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lbgateway.composition.compose import compose
from lbgateway.config.fragment import load_fragment
from lbgateway.seclusion import Seclusion
from tests.lbgateway.config.reading import settings_of

OPEN = "auth: {default: none}\n"


def seclusion(opted_in: tuple[str, ...] = ()) -> Seclusion:
    registry = SimpleNamespace(
        opted_in=lambda name, tags: name in {*opted_in, *tags},
        services=lambda: ("orders", "spare"),
        snapshot={"spare": "a snapshot"}.get,
    )
    return Seclusion(registry)


@pytest.mark.parametrize(
    "text",
    [
        "auth: {introspection: {service: spare}}",
        OPEN + "routes: [{prefix: /spare, service: spare}]",
        OPEN + "oauth: {service: spare}",
        OPEN + "health: {required: [redis, spare]}",
        OPEN + "services: {'*': {breaker: {fallback: {service: spare}}}}",
    ],
)
def test_a_service_that_is_used_is_followed_and_hidden(text):
    """Unless it opts in itself, in the catalog or in newer tags of its instances."""
    made = seclusion()
    assert made.follow(compose(settings_of(text))) == made.followed == made.led_to == {"spare"}
    assert made.hides("spare")
    assert not made.hides("orders")
    assert not made.hides("spare", ["spare"])
    assert made.visible() == ["orders"]

    made = seclusion(opted_in=("spare",))
    made.follow(compose(settings_of(text)))
    assert (made.hides("spare"), made.visible()) == (False, ["orders", "spare"])


@pytest.mark.parametrize("stored", ["{}", "services: {spare: {}}"])
def test_a_service_that_is_named_under_services_is_there_for_all(stored):
    """In the file or in the store."""
    named = "" if stored != "{}" else "services: {spare: {}}\n"
    made = seclusion()
    composition = compose(settings_of(OPEN + named + "routes: [{prefix: /spare, service: spare}]"), load_fragment(stored, "kv:k"))
    assert (made.follow(composition), made.led_to) == ({"spare"}, frozenset())
    assert not made.hides("spare")
    assert made.visible() == ["orders", "spare"]


def test_consul_itself_is_never_followed():
    """Not by name, and not by a route."""
    made = seclusion()
    assert made.follow(compose(settings_of(OPEN + "services: {consul: {}}\nroutes: [{prefix: /c, service: consul}]"))) == frozenset()


def test_what_may_be_hidden_is_weighed_again():
    """What is known of it."""
    made, weighed = seclusion(), []
    made.follow(compose(settings_of(OPEN + "routes: [{prefix: /a, service: spare}, {prefix: /b, service: unheard-of}]")))
    made.look_again(weighed.append)
    assert weighed == ["a snapshot"]

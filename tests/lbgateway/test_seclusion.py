"""Who is followed, and who is there for the gateway alone: tables."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lbgateway.errors import NoRoute
from lbgateway.seclusion import Seclusion
from tests.lbgateway.config.reading import settings_of

ASKED = settings_of("auth: {introspection: {service: auth}}")
NAMED_TOO = settings_of("auth: {introspection: {service: auth}}\nservices: {auth: {}}")
NOBODY = settings_of("auth: {default: none}")


def seclusion(opted_in: tuple[str, ...] = ()) -> Seclusion:
    return Seclusion(SimpleNamespace(opted_in=lambda name, tags: name in {*opted_in, *tags}, services=lambda: ("auth", "orders")))


@pytest.mark.parametrize(
    ("settings", "named", "opted_in", "hidden"),
    [
        (ASKED, (), (), True),
        (ASKED, ("orders",), ("orders",), True),
        (ASKED, (), ("auth",), False),
        (ASKED, ("auth",), (), False),
        (NOBODY, (), (), False),
    ],
)
def test_a_service_that_only_the_gateway_asks_is_followed_and_hidden(settings, named, opted_in, hidden):
    """Unless it opts in itself, or an operator names it elsewhere."""
    made = seclusion(opted_in)
    watched = made.follow(settings, named)
    assert watched == {*named, *(("auth",) if settings is ASKED else ())}
    assert made.hides("auth") is hidden
    assert not made.hides("orders")
    assert not made.hides("auth", ["auth"])
    assert made.visible() == (["orders"] if hidden else ["auth", "orders"])


@pytest.mark.parametrize(
    ("settings", "by_name", "policies"), [(ASKED, True, 1), (ASKED, False, 0), (NAMED_TOO, True, 0), (NOBODY, True, 0)]
)
def test_only_routes_by_name_meet_the_policy(settings, by_name, policies):
    """And only where there may be such a service."""
    made = seclusion()
    made.follow(settings, ())
    found = made.policies(SimpleNamespace(by_name=by_name), settings, lambda _name: NoRoute())
    assert len(found) == policies

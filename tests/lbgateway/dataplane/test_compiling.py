"""From settings to routes, again and again. `test_routing` has what the routes then do."""

from __future__ import annotations

from typing import Any

import pytest

from lbgateway.composition.compose import compose
from lbgateway.config import Settings
from lbgateway.dataplane.compiling import RouteCompiler, route_view
from tests.lbgateway.composition.registrations import asks, settings_of

BASE = "services: {billing: {timeout: {response: 9s}}}\nroutes: [{prefix: '/api/{service}'}, {prefix: /a, service: a}]\n"


def nobody(_exchange: Any) -> None:
    return None


def composed(*declared: Any) -> tuple[Settings, tuple[str, ...]]:
    composition = compose(settings_of(BASE), declarations=declared)
    return composition.settings, composition.sources


def test_what_did_not_change_is_not_compiled_again():
    """Neither its policies nor its counters are others', however many come and go."""
    compiled: list[str] = []

    def policies(route: Any) -> tuple[Any, ...]:
        compiled.append(route.label)
        return (nobody,)

    compiler = RouteCompiler(policies)
    orders, users = asks("orders", "prefix=/api/orders"), asks("users", "prefix=/api/users")
    first = compiler.compile(*composed(orders))
    assert compiled == ["/api/{service}", "/api/{service}", "/a", "/api/orders"]
    compiled.clear()
    second = compiler.compile(*composed(orders, users))
    assert compiled == ["/api/{service}", "/api/users"]
    assert second.routes[0].variants[b"billing"] is first.routes[0].variants[b"billing"]
    assert [route.label for route in second.routes] == ["/api/{service}", "/a", "/api/orders", "/api/users"]
    assert second.routes[1] is first.routes[1]
    assert second.routes[2] is first.routes[2]
    assert compiler.compile(*composed(orders, users)).routes == second.routes


@pytest.mark.parametrize("tag", ["strip_prefix=true", "timeout.response=2s", "host=a.example"])
def test_what_changed_is(tag):
    """Of the route itself, or of the service that it leads to."""
    compiler = RouteCompiler()
    before = compiler.compile(*composed(asks("orders", "prefix=/api/orders")))
    now = compiler.compile(*composed(asks("orders", "prefix=/api/orders", tag)))
    assert now.routes[2] is not before.routes[2]
    assert now.routes[1] is before.routes[1]


def test_a_failure_leaves_what_was_compiled():
    """The next table begins from there."""
    compiler = RouteCompiler()
    before = compiler.compile(*composed())
    broken: Any = settings_of(BASE).model_copy(update={"routes": (None,)})
    with pytest.raises(AttributeError):
        compiler.compile(broken)
    assert compiler.compile(*composed()).routes[1] is before.routes[1]


def test_settings_of_a_service_from_its_tags_reach_the_route_by_name():
    """Which has a variant for each service that differs."""
    table = RouteCompiler().compile(*composed(asks("orders", "timeout.response=2s"), asks("users", "balancer=p2c")))
    variants = {name: route.timeout.response for name, route in table.routes[0].variants.items()}
    assert variants == {b"billing": 9.0, b"orders": 2.0}


def test_a_view_says_what_is_wrong():
    """With the tag, where it is about one."""
    settings = settings_of()
    view = route_view(settings, settings.routes[0], "tags", "because", "lbgateway.x=1")
    assert (view["prefix"], view["source"], view["error"], view["tag"]) == ("/api/{service}", "tags", "because", "lbgateway.x=1")

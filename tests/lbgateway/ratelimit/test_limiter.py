"""Which limits there are, and what of them outlives a reload."""

from __future__ import annotations

from lbgateway.dataplane.compiling import compile_routes
from lbgateway.policies.rate_limit import RateLimit
from lbgateway.ratelimit.limiter import Limits
from tests.support.playbook import settings_of

SERVICES = "services: {a: {instances: [h:1]}, b: {instances: [h:1]}, c: {instances: [h:1]}, d: {instances: [h:1]}, x: {instances: [h:1]}}\n"
TWO = SERVICES + "rate_limit: {default: {requests: 5}}\nroutes:\n- {prefix: /a, service: a}\n- {prefix: /b, service: b}\n"
OWN = TWO + "- {prefix: /c, service: c, rate_limit: {requests: 1}}\n- {prefix: /d, service: d, rate_limit: {requests: 1}}\n"


def compiled(limits: Limits, text: str) -> dict[str, RateLimit | None]:
    """The limits of the routes by their prefixes, put in force."""
    table = compile_routes(settings_of(text))
    found = {route.label: limits.policy_for(route) for route in table.routes}
    limits.keep(table.routes)
    return found  # type: ignore[return-value]  # without a store each is counted in memory


def test_the_default_is_one_limit_and_each_own_limit_another():
    """Even where their numbers are the same."""
    found = compiled(Limits("memory"), OWN)
    assert found["/a"] is found["/b"]
    assert len({id(limit) for limit in found.values()}) == 3


def test_a_reload_keeps_what_it_does_not_change():
    """The same object, with all that it knows of its clients; what is gone is forgotten."""
    limits = Limits("memory")
    before = compiled(limits, OWN)
    after = compiled(limits, OWN.replace("{prefix: /c, service: c, rate_limit: {requests: 1}}", "{prefix: /c, service: x}"))
    assert after["/a"] is before["/a"]
    assert after["/c"] is before["/a"]
    assert after["/d"] is before["/d"]
    assert repr(limits) == "<Limits 2 in memory>"
    assert compiled(limits, OWN)["/c"] is not before["/c"]


def test_no_limit_is_no_policy():
    """Switched off, for all or for one route."""
    off = SERVICES + "rate_limit: {enabled: false, default: {requests: 5}}\nroutes: [{prefix: /a, service: a, rate_limit: {requests: 1}}]\n"
    assert compiled(Limits("memory"), off) == {"/a": None}
    assert compiled(Limits("memory"), SERVICES + "routes: [{prefix: /a, service: a}]\n") == {"/a": None}

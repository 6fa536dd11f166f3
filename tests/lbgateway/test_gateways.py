"""How many gateways there are."""

from __future__ import annotations

import pytest

from discovery.instance import Instance, InstanceKey, InstanceState, Snapshot
from lbgateway.gateways import Gateways
from tests.lbgateway.config.reading import settings_of

SHARED = "auth: {default: none}\nrate_limit: {store: 'redis://h'}\ndiscovery: {consul: {register: {name: gw, address: 10.0.0.5}}}\n"


class Registry:
    """As much of a source as is asked."""

    def __init__(self, *states: InstanceState) -> None:
        instances = tuple(
            Instance(InstanceKey("consul", "", "", "n", str(number)), "gw", "10.0.0.1", number, state=state)
            for number, state in enumerate(states, 1)
        )
        self.known = {"gw": Snapshot("gw", 1, instances, 1, 0.0)} if states else {}
        self.watched: list[str] = []

    def snapshot(self, name: str) -> Snapshot | None:
        return self.known.get(name)

    def watch(self, name: str, _listener: object) -> None:
        self.watched.append(name)


def gateways(registry: Registry, text: str) -> Gateways:
    found = Gateways(registry)  # type: ignore[arg-type]  # as above
    found.follow(settings_of(text))
    return found


def test_those_that_serve_are_counted():
    """One that is going, or sick, takes no part of the limit."""
    registry = Registry(InstanceState.PASSING, InstanceState.CRITICAL, InstanceState.PASSING, InstanceState.MAINTENANCE)
    assert gateways(registry, SHARED).count() == 2
    assert registry.watched == []


def test_a_name_that_nobody_watches_is_watched():
    """Until the registry has answered there is one."""
    registry = Registry()
    assert gateways(registry, SHARED).count() == 1
    assert registry.watched == ["gw"]


@pytest.mark.parametrize(
    "text",
    [
        SHARED.replace("redis://h", "memory"),
        SHARED.replace("redis://h'", "redis://h', on_store_failure: open"),
        SHARED.replace("rate_limit: {", "rate_limit: {enabled: false, "),
        SHARED.replace("consul: {register: {name: gw, address: 10.0.0.5}}", "consul: {}"),
        SHARED.replace("discovery: {", "discovery: {provider: static, "),
    ],
)
def test_where_nobody_wants_to_know_nothing_is_watched(text):
    """A watch is a connection to the agent."""
    registry = Registry(InstanceState.PASSING, InstanceState.PASSING)
    registry.known, known = {}, registry.known
    found = gateways(registry, text)
    registry.known = known
    assert (registry.watched, found.count()) == ([], 1)

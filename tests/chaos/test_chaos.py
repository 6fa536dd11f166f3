"""The short form of ``make chaos``: what may go wrong under steady load, with real processes, and no request that is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.scenarios import SCENARIOS, House, Scenario

pytestmark = pytest.mark.alone

SHORT = [(each, transport, each.short_s) for each in SCENARIOS for transport in each.short_over if each.short_s is not None]


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with House() as built:
        yield built


@pytest.mark.parametrize(("scenario", "transport", "seconds"), SHORT, ids=[f"{each.name}-{way}" for each, way, _ in SHORT])
def test_no_request_is_lost(house: House, scenario: Scenario, transport: str, seconds: float):
    """Whatever happens to instances, to the registry, or to the gateway."""
    house.play(scenario, transport, seconds)

"""In each of these tests every exchange is held to the table of its transitions."""

import pytest

from lbgateway.dataplane.exchange import Exchange
from tests.support.playbook import WatchedPhase


@pytest.fixture(autouse=True)
def phases(monkeypatch: pytest.MonkeyPatch) -> WatchedPhase:
    """Which transitions there were; one that is not in the table fails at once."""
    watched = WatchedPhase()
    monkeypatch.setattr(Exchange, "phase", watched)
    return watched

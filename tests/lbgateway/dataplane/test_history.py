"""What is remembered of one endpoint."""

from __future__ import annotations

from lbgateway.dataplane.history import KEEP, Change, History, Pick


def test_the_last_twenty_are_kept():
    """However often it changes or is picked, the memory of it does not grow."""
    history = History()
    for number in range(KEEP + 5):
        history.changes.append(Change(float(number), "ready", "critical", None))
        history.picks.append(Pick(float(number), "next in turn", 2, ()))
    assert KEEP == 20
    for kept in (history.changes, history.picks):
        assert [each.at_s for each in kept] == [float(number) for number in range(5, 25)]

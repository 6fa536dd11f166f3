"""For how long a read may block where something in between cuts it earlier."""

from __future__ import annotations

import pytest

from discovery.longest_wait import LongestWait


@pytest.mark.parametrize(
    ("cuts", "seconds"),
    [
        pytest.param([], 30.0, id="none"),
        pytest.param([20.0], 30.0, id="once"),
        pytest.param([20.0, 20.5], 16.0, id="twice at the same length"),
        pytest.param([20.0, 7.0, 20.0], 30.0, id="now and then"),
        pytest.param([3.0, 20.0, 21.0], 16.0, id="the same length later"),
        pytest.param([20.0, 20.0, 10.0, 10.0], 8.0, id="shorter still"),
        pytest.param([0.2, 0.2, 0.2], 30.0, id="too soon for a long poll"),
        pytest.param([40.0, 40.0], 30.0, id="later than it should have ended"),
    ],
)
def test_two_cuts_of_one_length_shorten_the_wait(cuts: list[float], seconds: float) -> None:
    """And nothing else does."""
    wait = LongestWait(30.0)
    for after_s in cuts:
        wait.cut(after_s)

    assert wait.seconds == pytest.approx(seconds)

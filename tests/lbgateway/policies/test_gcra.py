"""The numbers of a limit."""

from __future__ import annotations

import pytest

from lbgateway.policies.gcra import Limit


@pytest.mark.parametrize(
    ("limit", "emission_s", "tolerance_s"),
    [
        (Limit(100, 1.0, 100), 0.01, 1.0),
        (Limit(100, 1.0, 200), 0.01, 2.0),
        (Limit(1, 60.0, 1), 60.0, 60.0),
        (Limit(3, 0.25, 1), 0.25 / 3, 0.25 / 3),
    ],
)
def test_a_limit_is_a_pace_and_a_burst(limit, emission_s, tolerance_s):
    """One request each `emission_s`, or so many at once that they would take `tolerance_s`."""
    assert limit.emission_s == pytest.approx(emission_s)
    assert limit.tolerance_s == pytest.approx(tolerance_s)


@pytest.mark.parametrize(
    ("limit", "head"),
    [
        (Limit(100, 60.0, 100), b'RateLimit-Policy: "default";q=100;w=60\r\nRateLimit: "default";r='),
        (Limit(5, 1.0, 5, scope="* /x"), b'RateLimit-Policy: "route";q=5;w=1\r\nRateLimit: "route";r='),
        (Limit(100, 1.0, 200), b'RateLimit-Policy: "default";q=100;w=1;lbgateway-burst=200\r\nRateLimit: "default";r='),
        (Limit(5, 0.25, 5), b'RateLimit-Policy: "default";q=20;w=1\r\nRateLimit: "default";r='),
        (Limit(3, 1.5, 3), b'RateLimit-Policy: "default";q=4;w=2\r\nRateLimit: "default";r='),
    ],
)
def test_a_limit_tells_itself_in_structured_fields(limit, head):
    """A window is a whole number of seconds; a shorter one is told as what it makes in a second."""
    assert limit.head() == head

"""What counts as flat."""

from __future__ import annotations

import pytest

from tests.soak.samples import Course, grown, slope


def test_a_figure_that_stays_is_flat():
    """Up and down around one value."""
    course = Course.of([(float(second), 100 + (-1) ** second) for second in range(90)])
    assert course.flat(within=2)
    assert course.per_hour == pytest.approx(0, abs=5)


def test_a_figure_that_grows_is_not():
    """A megabyte a minute, under noise, for half an hour."""
    course = Course.of([(float(second), second / 60 + (-1) ** second) for second in range(0, 1800, 5)])
    assert not course.flat(within=8)
    assert course.per_hour == pytest.approx(60, rel=0.01)


def test_less_than_before_is_flat():
    """Memory that was given back is no leak."""
    assert Course.of([(0.0, 9.0), (1.0, 5.0), (2.0, 1.0)]).flat(within=0)


def test_all_at_one_moment_has_no_slope():
    """Nothing to divide by."""
    assert slope([(1.0, 2.0), (1.0, 4.0)]) == 0.0


def test_what_has_grown_is_named():
    """New classes too; what has become less is nobody's business."""
    assert grown({"a": 1, "b": 5}, {"a": 12, "b": 6, "c": 11, "d": 10}, by=10) == {"a": (1, 12), "c": (0, 11)}

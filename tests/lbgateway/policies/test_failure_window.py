"""A window over two counters."""

from __future__ import annotations

from lbgateway.policies.failure_window import FailureWindow


def test_what_is_older_than_the_window_is_forgotten():
    """In steps of a tenth of it."""
    window = FailureWindow()
    for second in range(30):
        window.mark(second * 10, min(second, 10) * 5, float(second))
    assert window.content(300, 50) == (110, 0)
    assert window.ratio(300, 50) == 0.0
    assert window.ratio(300, 50 + 11) == 0.1


def test_within_the_window_everything_counts():
    """From the first request on."""
    window = FailureWindow()
    assert window.ratio(0, 0) == 0.0
    assert window.content(4, 1) == (4, 1)
    window.mark(4, 1, 0.05)
    assert (window.content(8, 2), window.ratio(8, 2)) == ((8, 2), 0.25)


def test_a_cleared_window_begins_with_the_next_mark():
    """Until then it is empty, whatever the totals are."""
    window = FailureWindow()
    window.clear()
    assert (window.content(100, 90), window.ratio(100, 90)) == ((0, 0), 0.0)
    window.mark(100, 90, 5.0)
    assert window.content(110, 91) == (10, 1)


def test_marks_are_taken_no_more_often_than_ten_times_a_window():
    """However often time is told."""
    window = FailureWindow()
    for tenth in range(1000):
        window.mark(tenth, 0, tenth / 10)
    assert len(window._marks) <= 12

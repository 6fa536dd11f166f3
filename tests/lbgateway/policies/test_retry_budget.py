"""Tokens for retries: what comes in, what goes out, what fades."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.policies.retry_budget import MEMORY_S, RetryBudget


def drained(budget: RetryBudget, requests: int, now_s: float) -> int:
    """How many tries there are tokens for at this moment."""
    tries = 0
    while budget.available(requests, now_s):
        budget.withdraw()
        tries += 1
    return tries


def test_a_new_budget_has_what_ten_quiet_seconds_would_have_brought():
    """The first failure of a fresh gateway may be tried again."""
    assert drained(RetryBudget(0.2, 10, now_s=5.0), 0, 5.0) == 100
    assert drained(RetryBudget(0.2, 0, now_s=5.0), 0, 5.0) == 0


def test_each_request_brings_its_share():
    """Five of them a try, at 20 %."""
    budget = RetryBudget(0.2, 0, now_s=0.0)
    assert drained(budget, 4, 0.0) == 0
    assert drained(budget, 5, 0.0) == 1
    assert drained(budget, 105, 0.0) == 20


def test_each_second_brings_a_few_whatever_the_traffic():
    """Ten a second, for a service with one request a minute too."""
    budget = RetryBudget(0.2, 10, now_s=0.0)
    drained(budget, 0, 0.0)
    assert drained(budget, 0, 0.2) == 1
    assert drained(budget, 0, 1.2) == pytest.approx(10, abs=2)


def test_a_quiet_hour_saves_nothing_up():
    """However long nothing was withdrawn, there is what ten seconds bring."""
    budget = RetryBudget(0.2, 10, now_s=0.0)
    assert drained(budget, 3600 * 100, 3600.0) == pytest.approx(MEMORY_S * (10 + 0.2 * 100), rel=0.01)


def test_a_storm_of_failures_is_bounded_by_its_share():
    """All of 100 requests a second fail for a minute: the tries are 20 a second and the 10 that are always there."""
    budget = RetryBudget(0.2, 10, now_s=0.0)
    spent = 0
    for number in range(1, 6001):
        if budget.available(number, number / 100):
            budget.withdraw()
            spent += 1
    assert spent == pytest.approx(60 * (20 + 10) + 100, rel=0.1)


def test_nothing_at_all_is_a_budget_too():
    """A ratio of 0 and no minimum: never a second try."""
    budget = RetryBudget(0.0, 0, now_s=0.0)
    assert drained(budget, 10**6, 10.0) == 0
    assert not budget.exists
    assert RetryBudget(0.0, 1, now_s=0.0).exists


def test_who_pays_with_nothing_owes_nothing():
    """A try after a failed connect takes what there is."""
    budget = RetryBudget(0.5, 0, now_s=0.0)
    budget.withdraw()
    assert budget.tokens == 0.0
    assert drained(budget, 2, 0.0) == 1


@given(st.lists(st.tuples(st.integers(0, 1000), st.floats(0, 30)), max_size=30), st.floats(0, 1), st.integers(0, 100))
def test_there_is_never_more_than_what_came_in(steps, ratio, minimum):
    """Nor less than nothing: whatever the rhythm of requests and of questions."""
    budget = RetryBudget(ratio, minimum, now_s=0.0)
    requests, now_s, spent = 0, 0.0, 0
    for more, passed_s in steps:
        requests, now_s = requests + more, now_s + passed_s
        spent += drained(budget, requests, now_s)
        assert 0.0 <= budget.tokens < 1.0
    assert spent <= minimum * MEMORY_S + minimum * now_s + ratio * requests + 1e-6


def test_a_clock_that_stands_still_or_goes_back_changes_nothing():
    """Two failures in one tick."""
    budget = RetryBudget(0.5, 0, now_s=5.0)
    assert drained(budget, 4, 5.0) == 2
    assert drained(budget, 4, 4.0) == 0
    assert "0.0 tokens" in repr(budget)

"""What an endpoint's estimate learns, and what it forgets."""

from __future__ import annotations

from math import exp, inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import Outcome
from balancers.load import (
    FAILURE_CAP_S,
    failure_sample,
    forgotten,
    give_up_on,
    least_latency,
    observe_ewma,
    observe_peak_ewma,
    typical_latency,
)
from tests.balancers.pools import pool, sampled

OBSERVERS = [observe_ewma, observe_peak_ewma]


@pytest.mark.parametrize("observe", OBSERVERS)
def test_the_first_sample_is_the_estimate(observe):
    """Nothing is averaged with an invented past."""
    (endpoint,) = ready = pool(1)
    observe(endpoint, 0.25, Outcome.OK, 100.0, ready)
    assert (endpoint.latency_s, endpoint.latency_at_s) == (0.25, 100.0)


@pytest.mark.parametrize(
    ("known_s", "sample_s", "after_s", "plain_s", "peak_s"),
    [
        (0.1, 0.3, 1.0, 0.3 - 0.2 * exp(-1), 0.3),
        (0.1, 0.3, 0.0, 0.1, 0.3),
        (0.3, 0.1, 1.0, 0.1 + 0.2 * exp(-1), 0.1 + 0.2 * exp(-0.1)),
        (0.3, 0.1, 10.0, 0.1 + 0.2 * exp(-10), 0.1 + 0.2 * exp(-1)),
        (0.3, 0.1, 1e6, 0.1, 0.1),
    ],
)
def test_a_sample_counts_by_the_time_since_the_last(known_s, sample_s, after_s, plain_s, peak_s):
    """One second of memory for the plain average; ten, and jumps upwards, for the peak-sensitive one."""
    for observe, expected_s in zip(OBSERVERS, (plain_s, peak_s), strict=True):
        endpoint = sampled(pool(1)[0], known_s, 100.0)
        observe(endpoint, sample_s, Outcome.OK, 100.0 + after_s, (endpoint,))
        assert endpoint.latency_s == pytest.approx(expected_s)


@pytest.mark.parametrize("observe", OBSERVERS)
def test_an_abandoned_attempt_teaches_nothing(observe):
    """But it no longer waits."""
    endpoint = sampled(pool(1)[0], 0.1, 100.0)
    endpoint.oldest_at_s = 101.0
    observe(endpoint, 9.0, Outcome.ABANDONED, 110.0, (endpoint,))
    assert (endpoint.latency_s, endpoint.latency_at_s, endpoint.oldest_at_s) == (0.1, 100.0, 0.0)


@pytest.mark.parametrize("observe", OBSERVERS)
@pytest.mark.parametrize("outcome", list(Outcome))
def test_any_end_breaks_the_silence(observe, outcome):
    """The next request starts a new wait."""
    (endpoint,) = ready = pool(1)
    endpoint.oldest_at_s = 99.0
    observe(endpoint, 0.1, outcome, 100.0, ready)
    assert endpoint.oldest_at_s == 0.0


@pytest.mark.parametrize("observe", OBSERVERS)
@pytest.mark.parametrize("outcome", [Outcome.FAILED_LOCAL, Outcome.FAILED_REMOTE])
def test_a_quick_failure_does_not_look_quick(observe, outcome):
    """It counts as ten times the median of the others."""
    a, b, c, d = ready = pool(1, 1, 1, 1)
    for endpoint, latency_s in ((b, 0.01), (c, 0.02), (d, 0.5)):
        sampled(endpoint, latency_s)
    observe(a, 0.001, outcome, 100.0, ready)
    assert a.latency_s == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("elapsed_s", "others_s", "expected_s"),
    [
        (0.001, [], 1.0),
        (5.0, [], 5.0),
        (0.001, [0.02], 0.2),
        (3.0, [0.02], 3.0),
        (0.001, [30.0], FAILURE_CAP_S),
        (90.0, [30.0], 90.0),
    ],
)
def test_a_failure_counts_at_least_its_own_time(elapsed_s, others_s, expected_s):
    """Nobody to compare with: a second. Never more than the cap for what was quick."""
    failed, *others = ready = pool(*[1] * (1 + len(others_s)))
    for endpoint, latency_s in zip(others, others_s, strict=True):
        sampled(endpoint, latency_s)
    sampled(failed, 77.0)
    assert failure_sample(failed, elapsed_s, ready) == pytest.approx(expected_s)


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(Outcome), st.floats(0, 30), st.floats(0, 5)), max_size=200))
def test_no_history_leads_out_of_bounds(history):
    """When everything fails for long, endpoints must not raise each other's price to infinity."""
    for observe in OBSERVERS:
        ready, now_s = pool(1, 1, 1), 100.0
        for index, outcome, latency_s, pause_s in history:
            now_s += pause_s
            observe(ready[index], latency_s, outcome, now_s, ready)
        assert all(0.0 <= endpoint.latency_s <= FAILURE_CAP_S for endpoint in ready)
        heard_of = {index for index, outcome, _, _ in history if outcome is not Outcome.ABANDONED}
        assert {index for index, endpoint in enumerate(ready) if endpoint.latency_s} == heard_of


def test_the_pool_is_judged_by_those_that_have_a_sample():
    """0.0 means unknown, not fast."""
    a, b, c, d = ready = pool(1, 1, 1, 1)
    assert (typical_latency(ready), least_latency(ready)) == (0.0, 0.0)
    for endpoint, latency_s in ((a, 0.3), (b, 0.1), (c, 0.2)):
        sampled(endpoint, latency_s)
    assert (typical_latency(ready), least_latency(ready)) == (0.2, 0.1)
    assert typical_latency(ready, besides=a) == 0.2
    assert typical_latency((d,)) == 0.0


def test_the_median_of_a_large_pool_comes_from_a_part_spread_over_it():
    """Failures come in floods; each must stay cheap."""

    class Asked(list):
        def __iter__(self):
            raise AssertionError("the whole pool was walked")

    ready = Asked(sampled(endpoint, 0.001 * (index + 1)) for index, endpoint in enumerate(pool(*[1] * 1000)))
    assert typical_latency(ready) == pytest.approx(0.5, rel=0.05)


@given(st.floats(1e-6, 60), st.floats(0, 1e9), st.floats(0, 1))
def test_forgetting_leads_from_the_estimate_to_the_best(latency_s, idle_s, part):
    """Monotonically, and never below."""
    floor_s = latency_s * part
    faded_s = forgotten(latency_s, idle_s, floor_s)
    assert floor_s * 0.999 <= faded_s <= latency_s * 1.001
    assert forgotten(latency_s, 0.0, floor_s) == pytest.approx(latency_s)
    assert forgotten(latency_s, inf, floor_s) == pytest.approx(floor_s)


@pytest.mark.parametrize(
    ("known_s", "silent_since_s", "estimate_s", "sampled_at_s"),
    [
        (0.1, 0.0, 0.1, 100.0),
        (0.1, 101.8, 0.1, 100.0),
        (0.1, 101.6, 0.4, 102.0),
        (0.0, 101.9, 0.0, 100.0),
        (0.0, 101.6, 0.4, 102.0),
    ],
)
def test_silence_goes_on_counting_when_nobody_waits_for_it(known_s, silent_since_s, estimate_s, sampled_at_s):
    """More than three estimates of it become the estimate; whoever has answered others meanwhile keeps no silence."""
    endpoint = sampled(pool(1)[0], known_s, 100.0)
    endpoint.oldest_at_s = silent_since_s
    give_up_on(endpoint, 102.0, (endpoint, sampled(pool(1)[0], 0.1, 100.0)))
    assert (endpoint.latency_s, endpoint.latency_at_s, endpoint.oldest_at_s) == (pytest.approx(estimate_s), sampled_at_s, silent_since_s)


def test_a_silence_that_goes_on_counts_for_more_each_time():
    """However long the last one was: what is compared is the estimate as it has faded meanwhile."""
    first, second = ready = pool(1, 1)
    sampled(second, 0.01, 100.0)
    first.oldest_at_s = 100.0
    for now_s in (100.1, 102.0, 106.0, 111.0):
        give_up_on(first, now_s, ready)
        assert first.latency_s == pytest.approx(now_s - 100.0)

"""When a request gets a second attempt beside its first one."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.policies.hedge import LEAST_AFTER_S, LEAST_KNOWN, RECENT, HedgeFacts, HedgeRules, HedgeShare, Patience, may_hedge


@pytest.mark.parametrize(
    ("facts", "may"),
    [
        (HedgeFacts(), True),
        *((HedgeFacts(method=method), True) for method in (b"HEAD", b"OPTIONS", b"PUT", b"DELETE")),
        (HedgeFacts(method=b"POST"), False),
        (HedgeFacts(method=b"PATCH"), False),
        (HedgeFacts(attempts_left=1), True),
        (HedgeFacts(attempts_left=0), False),
        (HedgeFacts(attempts_left=-1), False),
        *((HedgeFacts()._replace(**{name: False}), False) for name in HedgeFacts._fields[2:]),
    ],
)
def test_everything_must_be_in_its_favour(facts, may):
    """One fact against it is enough."""
    assert may_hedge(facts) is may


def test_a_fixed_time_is_never_learnt():
    """Whatever the answers say."""
    patience = Patience(HedgeRules(1.0, after_s=0.05))
    for _ in range(RECENT):
        patience.learn(1.0)
    patience.refresh()
    assert patience.after_s == 0.05
    assert repr(patience) == "<Patience 50.0ms, 1000 latencies>"


def test_a_percentile_waits_until_enough_is_known():
    """A tail cannot be told from few."""
    patience = Patience(HedgeRules(1.0, quantile=0.95))
    for number in range(LEAST_KNOWN):
        patience.refresh()
        assert patience.after_s == inf
        patience.learn((number + 1) / 100)
    patience.refresh()
    assert patience.after_s == pytest.approx(0.95)


def test_what_was_long_ago_is_forgotten():
    """A service that got faster is hedged sooner."""
    patience = Patience(HedgeRules(1.0, quantile=0.5))
    for latency_s in (9.0, 0.02):
        for _ in range(RECENT):
            patience.learn(latency_s)
        patience.refresh()
    assert patience.after_s == 0.02


@given(latencies=st.lists(st.floats(0.0, 60.0), min_size=LEAST_KNOWN, max_size=300), quantile=st.floats(0.5, 0.999))
def test_a_percentile_leaves_so_many_behind_it(latencies, quantile):
    """At least that share took no longer; and a timer that is too short for a loop is none."""
    patience = Patience(HedgeRules(1.0, quantile=quantile))
    for latency_s in latencies:
        patience.learn(latency_s)
    patience.refresh()
    assert sum(latency_s <= patience.after_s for latency_s in latencies) >= quantile * len(latencies) - 1e-6
    assert patience.after_s >= LEAST_AFTER_S
    assert patience.after_s == LEAST_AFTER_S or patience.after_s in latencies


def test_the_first_one_has_to_be_earned():
    """At 5 % by twenty requests; at 100 % by the request itself."""
    share = HedgeShare(0.05, requests=1000)
    assert [share.available(1000 + requests) for requests in (0, 1, 19, 20)] == [False, False, False, True]
    share.withdraw()
    assert [share.available(1000 + requests) for requests in (20, 39, 40)] == [False, False, True]
    assert HedgeShare(1.0, requests=0).available(1)
    assert not HedgeShare(0.0, requests=0).available(1000)
    assert repr(share) == "<HedgeShare 1.0 of 40>"


@given(
    at_most=st.floats(0.01, 1.0),
    steps=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), max_size=60),
)
def test_there_are_never_more_than_the_share(at_most, steps):
    """In all, and after a long time without any in no burst of more than belongs to the last thousand requests."""
    share, requests, hedges = HedgeShare(at_most, requests=0), 0, 0
    for more, wanted in steps:
        requests += more
        burst = 0
        for _ in range(wanted):
            if share.available(requests):
                share.withdraw()
                burst += 1
        hedges += burst
        assert burst <= at_most * RECENT + 1e-6
        assert hedges <= at_most * requests + 1e-6
    assert share.available(requests) or wanted_none(steps) or hedges + 1 > at_most * min(requests, RECENT / 2) - 1e-6


def wanted_none(steps: list[tuple[int, int]]) -> bool:
    return not any(wanted for _, wanted in steps)


def test_a_count_that_runs_backwards_is_no_request():
    """Those under way are counted as they are seen."""
    share = HedgeShare(0.5, requests=0)
    assert share.available(10)
    share.available(4)
    assert repr(share) == "<HedgeShare 0.0 of 10>"

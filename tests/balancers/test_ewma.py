"""The default rule: latency, what is in flight, and how both are believed."""

from __future__ import annotations

from math import exp
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import Ewma, Outcome
from balancers.ewma import NEAR, NOISE_S
from tests.balancers.pools import begin, built, end, one_by_one, pool, sampled, seeds

costs = st.tuples(st.integers(1, 5), st.integers(0, 6), st.sampled_from([0.0, 0.001, 0.01, 0.02, 0.3, 5.0]), st.floats(0, 5), st.booleans())


@given(seeds, st.lists(costs, min_size=1, max_size=32))
def test_nobody_is_clearly_cheaper_than_the_one_picked(seed, numbers):
    """The loop of pick() and the formula of cost() say the same; near ties go to the endpoint drawn first."""
    ready = pool(*[weight for weight, *_ in numbers])
    for endpoint, (_, active, latency_s, idle_s, waiting) in zip(ready, numbers, strict=True):
        endpoint.active = active
        sampled(endpoint, latency_s, 100.0 - idle_s)
        endpoint.oldest_at_s = 100.0 - idle_s / 2 if waiting and active else 0.0
    balancer = built("ewma", ready, seed)
    picked = balancer.pick(100.0)
    cheapest = min(balancer.cost(endpoint, 100.0) for endpoint in ready)
    assert balancer.cost(picked, 100.0) * NEAR <= cheapest * (1 + 1e-9)


@pytest.mark.parametrize(
    ("weight", "active", "latency_s", "idle_s", "waiting_s", "expected_s"),
    [
        (1, 0, 0.1, 0.0, None, 0.1),
        (1, 3, 0.1, 0.0, None, 0.4),
        (4, 2, 0.1, 0.0, None, 0.15),
        (1, 0, 0.1, 1.0, None, 0.01 + 0.09 * exp(-1)),
        (1, 0, 0.1, 60.0, None, 0.01),
        (1, 1, 0.1, 0.0, 0.29, 0.2),
        (1, 1, 0.1, 0.0, 0.31, 0.62),
        (1, 0, 0.1, 0.0, 5.0, 0.1),
    ],
)
def test_the_cost_of_an_endpoint(weight, active, latency_s, idle_s, waiting_s, expected_s):
    """Latency times queue; faded towards the best (10 ms) while idle; silence instead of latency beyond three times of it."""
    endpoint, best = pool(weight, 1)
    sampled(endpoint, latency_s, 100.0 - idle_s)
    sampled(best, 0.01)
    endpoint.active = active
    endpoint.oldest_at_s = 100.0 - waiting_s if waiting_s else 0.0
    cost = built("ewma", (endpoint, best)).cost(endpoint, 100.0)
    assert cost == pytest.approx(expected_s + NOISE_S * (active / weight + 1))


def test_without_any_sample_requests_spread_by_count():
    """A gateway that has just started sends nine requests to three endpoints in threes."""
    ready = pool(1, 1, 1)
    balancer = built("ewma", ready)
    for _ in range(9):
        begin(balancer, 100.0)
    assert [endpoint.active for endpoint in ready] == [3, 3, 3]


def test_a_new_endpoint_gets_one_trial_until_it_has_answered():
    """It is asked next, but its empty queue must not attract a flood."""
    *old, new = ready = pool(1, 1, 1)
    for endpoint in old:
        sampled(endpoint, 0.01)
        endpoint.active = 5
    balancer = built("ewma", ready)
    assert begin(balancer, 100.0) is new
    assert new not in [begin(balancer, 100.01) for _ in range(30)]
    end(balancer, new, 0.01, 100.02)
    assert begin(balancer, 100.02) is new


def test_a_new_endpoint_is_asked_next_whatever_the_others_take():
    """Most of the pool is slow: that says nothing of the new one."""
    fast, *slow, new = ready = pool(1, 1, 1, 1, 1)
    sampled(fast, 0.01)
    for endpoint in slow:
        sampled(endpoint, 1.0)
    balancer = built("ewma", ready)
    assert balancer.cost(new, 100.0) == NOISE_S
    assert begin(balancer, 100.0) is new


@given(seeds, st.integers(1, 4))
def test_failures_at_a_cold_start_keep_nobody_from_being_tried(seed, failing):
    """One request at a time to five endpoints that nobody knows: each is asked within the first five, however many of them fail at once."""
    ready = pool(*[1] * 5)
    balancer, asked = built("ewma", ready, seed), []
    for turn in range(5):
        endpoint = begin(balancer, 100.0 + turn / 10)
        asked.append(endpoint)
        if endpoint in ready[:failing]:
            end(balancer, endpoint, 0.001, 100.001 + turn / 10, Outcome.FAILED_REMOTE)
        else:
            end(balancer, endpoint, 0.02, 100.02 + turn / 10)
    assert set(asked) == set(ready)
    later = [begin(balancer, 100.6) for _ in range(12)]
    assert set(ready[failing:]) <= set(later)


def test_a_slow_endpoint_is_left_alone_but_not_for_ever():
    """Ten times slower than the others: a few requests in ten seconds, so that healing would be seen."""
    slow, *_ = ready = pool(1, 1, 1)
    balancer = built("ewma", ready)
    now_s, asked = 100.0, 0
    for _ in range(1000):
        endpoint = begin(balancer, now_s)
        asked += endpoint is slow
        latency_s = 0.1 if endpoint is slow else 0.01
        end(balancer, endpoint, latency_s, now_s + latency_s)
        now_s += latency_s
    assert 3 <= asked <= 30


def test_an_endpoint_that_turns_silent_is_found_out_by_the_next_request():
    """It fails nothing, it answers nothing: after three times its latency the others look better."""
    silent, other = ready = pool(1, 1)
    sampled(silent, 0.01)
    sampled(other, 0.02)
    other.active = 6
    silent.active, silent.oldest_at_s = 1, 100.0
    balancer = built("ewma", ready)
    assert balancer.pick(100.02) is silent
    assert balancer.pick(100.5) is other


def test_a_fast_failure_attracts_nobody():
    """A black hole that answers 500 in a millisecond gets next to nothing even without ejection."""
    hole, *_ = ready = pool(1, 1, 1, 1, 1)
    balancer = built("ewma", ready)
    now_s, world, asked = 100.0, Random(3), 0
    for _ in range(3000):
        endpoint = begin(balancer, now_s)
        asked += endpoint is hole
        if endpoint is hole:
            end(balancer, endpoint, 0.001, now_s + 0.001, Outcome.FAILED_REMOTE)
        else:
            end(balancer, endpoint, world.uniform(0.01, 0.03), now_s + 0.02)
        now_s += 0.005
    assert asked < 60


def test_a_quiet_service_is_spread_over_like_endpoints():
    """The best by a hair does not take everything: latencies of 10, 11 and 12 ms."""
    ready = pool(1, 1, 1)
    for endpoint, latency_s in zip(ready, (0.010, 0.011, 0.012), strict=True):
        sampled(endpoint, latency_s)
    balancer = built("ewma", ready)
    picked = [balancer.pick(100.0).id for _ in range(300)]
    assert min(picked.count(each) for each in "abc") > 60


def test_the_pool_is_learnt_again_ten_times_a_second():
    """In between a better sample lowers the floor at once, a worse one waits."""
    a, b = ready = pool(1, 1)
    balancer = Ewma(Random(1))
    balancer.rebuild(ready)
    balancer.observe(a, 0.02, Outcome.OK, 100.0)
    assert (balancer.floor_s, balancer.least_s, balancer.trial_s) == (0.02, 0.0, 0.02 * 1e6)
    balancer.observe(b, 0.01, Outcome.OK, 100.01)
    assert (balancer.floor_s, balancer.least_s, balancer.trial_s) == (0.01, 0.0, 0.02 * 1e6)
    balancer.observe(b, 0.05, Outcome.OK, 100.02)
    assert balancer.floor_s == 0.01
    balancer.observe(a, 0.02, Outcome.OK, 100.2)
    assert balancer.floor_s == balancer.least_s == pytest.approx(b.latency_s)
    balancer.observe(a, 9.0, Outcome.ABANDONED, 100.21)
    assert balancer.floor_s == pytest.approx(b.latency_s)


def test_a_large_pool_is_shared_evenly():
    """Five draws out of fifty leave nobody out."""
    served = one_by_one(built("ewma", pool(*[1] * 50)), 5000)
    assert len(served) == 50
    assert max(served.values()) < 200

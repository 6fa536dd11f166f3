"""In turn, as often as the weights say."""

from __future__ import annotations

from collections import Counter
from functools import reduce
from math import gcd

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers.weighted import smooth_cycle
from tests.balancers.pools import built, pool, seeds


@pytest.mark.parametrize(
    ("weights", "cycle"),
    [
        ((), ""),
        ((7,), "a"),
        ((1, 1, 1), "abc"),
        ((5, 1, 1), "aabacaa"),
        ((50, 10, 10), "aabacaa"),
        ((2, 1), "aba"),
        ((4.0, 2.0), "aba"),
        ((3, 2), "ababa"),
    ],
)
def test_the_cycle_is_smooth(weights, cycle):
    """Heavy endpoints do not get their share in one burst."""
    assert "".join("abc"[index] for index in smooth_cycle(weights)) == cycle


@pytest.mark.parametrize("weights", [(0.5, 1), (1, 100_000), tuple(range(1, 400))])
def test_what_has_no_short_cycle_is_not_compiled(weights):
    """Fractions, wide ratios, and many different weights go to the heap."""
    assert smooth_cycle(weights) is None


@given(seeds, st.lists(st.integers(1, 20), min_size=1, max_size=12), st.integers(0, 50))
@settings(max_examples=60)
def test_over_a_full_cycle_each_gets_exactly_its_weight(seed, weights, before):
    """From wherever one begins to count."""
    balancer = built("weighted", pool(*weights), seed)
    divisor = reduce(gcd, weights)
    for _ in range(before):
        balancer.pick(1.0)
    served = Counter(balancer.pick(1.0).key for _ in range(sum(weights) // divisor))
    assert served == {index: weight // divisor for index, weight in enumerate(weights)}


@given(seeds, st.lists(st.floats(0.1, 10), min_size=2, max_size=12).filter(lambda found: any(weight % 1 for weight in found)))
@settings(max_examples=60)
def test_without_a_cycle_nobody_strays_from_its_share(seed, weights):
    """After any number of picks each is within a few turns of what its weight grants, fractions included."""
    balancer = built("weighted", pool(*weights), seed)
    served, total = Counter(), sum(weights)
    for count in range(1, 400):
        served[balancer.pick(1.0).key] += 1
        assert all(abs(served[i] - count * weight / total) <= len(weights) for i, weight in enumerate(weights))


def test_a_wide_ratio_is_kept_without_a_cycle():
    """One request in 100,001 is not compiled, but served."""
    served = Counter(balancer_pick(built("weighted", pool(1, 100_000)), 200_002))
    assert served == {"a": 2, "b": 200_000}


def balancer_pick(balancer, count):
    return (balancer.pick(1.0).id for _ in range(count))


def test_a_retry_finds_the_light_one_behind_the_heavy():
    """With nine turns in ten excluded."""
    heavy, light = ready = pool(1000, 1)
    balancer = built("weighted", ready)
    assert {balancer.pick(1.0, None, [heavy]) for _ in range(20)} == {light}

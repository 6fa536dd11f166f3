"""Fewest requests in flight for the weight."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.balancers.pools import built, pool, seeds


@pytest.mark.parametrize(
    ("weights", "active", "expected"),
    [
        ((1, 1, 1), (2, 1, 3), "b"),
        ((1, 1, 1), (0, 4, 4), "a"),
        ((1, 4), (2, 4), "b"),
        ((1, 4), (1, 5), "a"),
        ((0.5, 1), (1, 1), "b"),
    ],
)
def test_the_emptiest_for_its_weight_wins(weights, active, expected):
    """Four in flight at weight four are as one at weight one."""
    ready = pool(*weights)
    for endpoint, count in zip(ready, active, strict=True):
        endpoint.active = count
    balancer = built("least_connections", ready)
    assert {balancer.pick(1.0).id for _ in range(50)} == {expected}


@given(seeds, st.lists(st.tuples(st.integers(1, 5), st.integers(0, 9)), min_size=1, max_size=32))
def test_nobody_is_emptier_than_the_one_picked(seed, pairs):
    """Over all pools that are scanned in full."""
    ready = pool(*[weight for weight, _ in pairs])
    for endpoint, (_, active) in zip(ready, pairs, strict=True):
        endpoint.active = active
    balancer = built("least_connections", ready, seed)
    picked = balancer.pick(1.0)
    assert balancer.cost(picked, 1.0) == min(balancer.cost(endpoint, 1.0) for endpoint in ready)


def test_latency_makes_no_difference():
    """Counts only."""
    a, b = ready = pool(1, 1)
    a.latency_s, a.active, b.active = 60.0, 1, 2
    assert built("least_connections", ready).pick(1.0) is a

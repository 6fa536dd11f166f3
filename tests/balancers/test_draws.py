"""Draws are what they claim to be: by weight, distinct, even over the pool."""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.draws import DRAWS, compile_ring, compile_rotations, compile_shares, compile_strides, draw_other
from tests.balancers.pools import pool


@given(st.lists(st.floats(0.01, 1000), max_size=50), st.floats(0, 1, exclude_max=True))
def test_a_draw_by_weight_falls_into_the_pool(weights, point):
    """Rounding never leads beyond the last one."""
    assert bisect(compile_shares(weights), point) in range(max(len(weights), 1))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_each_gets_the_part_of_its_weight(weights):
    """Cut into as many points as the weights sum up to, each owns as many as it weighs."""
    total = sum(weights)
    owned = Counter(bisect(compile_shares(weights), (point + 0.5) / total) for point in range(total))
    assert owned == dict(enumerate(weights))


@given(st.integers(33, 3000), st.randoms(use_true_random=False))
def test_a_walk_visits_five_different_endpoints(size, random):
    """From any start with any step, without leaving the ring."""
    ring, strides = compile_ring(tuple(range(size))), compile_strides(size)
    for _ in range(20):
        start, stride = random.randrange(size), random.choice(strides)
        walk = ring[start : start + (DRAWS - 1) * stride + 1 : stride]
        assert len(set(walk)) == DRAWS


@pytest.mark.parametrize("size", [33, 36, 60, 64, 97])
def test_walks_bring_nearly_all_pairs_together(size):
    """Whatever divides the size of the pool, an endpoint is compared with nearly all others."""
    ring, strides = compile_ring(tuple(range(size))), compile_strides(size)
    met = {other for stride in strides for start in range(size) for other in walk_with_zero(ring, start, stride)}
    assert len(met) > 0.9 * size


def walk_with_zero(ring, start, stride):
    walk = ring[start : start + (DRAWS - 1) * stride + 1 : stride]
    return walk if 0 in walk else ()


def test_the_steps_of_a_huge_pool_are_bounded():
    """Twenty thousand endpoints do not need ten thousand steps."""
    assert 400 < len(compile_strides(20_000)) <= 1024


@pytest.mark.parametrize(("ready", "views"), [("", [()]), ("a", ["a"]), ("abc", ["abc", "bca", "cab"])])
def test_a_pool_is_seen_from_each_of_its_places(ready, views):
    """Of nothing there is one view, an empty one, so that nobody has to ask."""
    assert compile_rotations(tuple(ready)) == tuple(map(tuple, views))


def test_the_last_resort_draws_by_weight():
    """Only among those that are left."""
    a, b, c = ready = pool(1, 3, 5)
    random = Random(1)
    drawn = Counter(draw_other(ready, [c], random).id for _ in range(4000))
    assert set(drawn) == {"a", "b"}
    assert drawn["b"] == pytest.approx(3000, rel=0.05)
    assert draw_other(ready, [a, b, c], random) is None

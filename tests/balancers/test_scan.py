"""Whom a scanning balancer looks at."""

from __future__ import annotations

from random import Random

import pytest

from balancers import LeastConnections
from balancers.scan import SCAN_LIMIT
from tests.balancers.pools import built, pool


@pytest.mark.parametrize("name", ["least_connections", "ewma"])
def test_up_to_the_limit_the_best_is_always_found(name):
    """A full scan misses nobody."""
    ready = pool(*[1] * SCAN_LIMIT)
    for endpoint in ready:
        endpoint.active = 9
    balancer = built(name, ready)
    for best in ready:
        best.active = 1
        assert balancer.pick(100.0) is best
        best.active = 9


@pytest.mark.parametrize("name", ["least_connections", "ewma"])
def test_beyond_the_limit_five_are_asked(name):
    """The only idle one among 100 busy ones is met in about every twentieth pick."""
    ready = pool(*[1] * 100)
    for endpoint in ready[1:]:
        endpoint.active = 9
    balancer = built(name, ready)
    met = sum(balancer.pick(100.0) is ready[0] for _ in range(4000))
    assert met == pytest.approx(4000 * 5 / 100, rel=0.2)


def test_a_pool_may_grow_beyond_the_limit_and_shrink_again():
    """What was compiled for one size is gone with it."""
    balancer = LeastConnections(Random(1))
    for size in (3, 100, 3, 0, 33, 32):
        ready = pool(*[1] * size)
        balancer.rebuild(ready)
        assert {balancer.pick(1.0) for _ in range(50)} <= set(ready) or not ready
        assert (balancer.pick(1.0) is None) == (size == 0)


@pytest.mark.parametrize("name", ["least_connections", "ewma"])
def test_beyond_the_limit_a_retry_still_finds_the_last_one_left(name):
    """Where the five are all excluded, everybody is asked."""
    last, *others = ready = pool(*[1] * 60)
    balancer = built(name, ready)
    assert {balancer.pick(100.0, None, others) for _ in range(30)} == {last}

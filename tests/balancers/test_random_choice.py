"""Draws by weight."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from tests.balancers.pools import built, pool


def test_draws_do_not_depend_on_anything():
    """Neither on load nor on the draw before."""
    _a, b = ready = pool(1, 3)
    b.active, b.latency_s = 1000, 60.0
    balancer = built("random", ready)
    drawn = [balancer.pick(1.0) for _ in range(8000)]
    assert drawn.count(b) == pytest.approx(6000, rel=0.05)
    after_b = Counter(follower.id for one, follower in itertools.pairwise(drawn) if one is b)
    assert after_b["b"] / after_b.total() == pytest.approx(0.75, abs=0.02)


def test_a_retry_keeps_to_the_weights_of_the_others():
    """The excluded one's share goes to the rest in proportion."""
    a, _b, _c = ready = pool(6, 1, 3)
    balancer = built("random", ready)
    drawn = Counter(balancer.pick(1.0, None, [a]).id for _ in range(4000))
    assert drawn["c"] == pytest.approx(3000, rel=0.05)

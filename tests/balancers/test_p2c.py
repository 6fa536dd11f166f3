"""Two distinct draws, and the better of them."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import P2C
from tests.balancers.pools import built, pool, seeds


@given(seeds, st.lists(st.floats(0.001, 1000), min_size=2, max_size=50))
def test_a_pair_is_always_two(seed, weights):
    """However unequal the weights, rounding included."""
    balancer = built("p2c", pool(*weights), seed)
    for _ in range(20):
        first, second = balancer._pair()
        assert first is not second


class Fixed(Random):
    """Says what it is told to."""

    def __init__(self, *numbers):
        super().__init__(1)
        self.numbers = list(numbers)

    def random(self):
        return self.numbers.pop(0)


@pytest.mark.parametrize(("weights", "pair"), [((3, 7), "ba"), ((3, 3, 4), "cb")])
def test_rounding_at_a_boundary_gives_no_twins(weights, pair):
    """1 - (1 - 0.3) is more than 0.3: the greatest second number would lead back to the first endpoint."""
    balancer = P2C(Fixed(0.9, 1 - 2**-53))
    balancer.rebuild(pool(*weights))
    assert "".join(endpoint.id for endpoint in balancer._pair()) == pair


def test_pairs_are_drawn_by_weight_without_replacement():
    """Weights 1:2:3: first by weight, then by weight among the others."""
    balancer = built("p2c", pool(1, 2, 3))
    pairs = Counter("".join(endpoint.id for endpoint in balancer._pair()) for _ in range(30_000))
    exact = {"ab": 1 / 6 * 2 / 5, "ac": 1 / 6 * 3 / 5, "ba": 2 / 6 * 1 / 4, "bc": 2 / 6 * 3 / 4, "ca": 3 / 6 * 1 / 3, "cb": 3 / 6 * 2 / 3}
    assert set(pairs) == set(exact)
    assert all(pairs[pair] / 30_000 == pytest.approx(share, rel=0.06) for pair, share in exact.items())


def test_the_fullest_is_never_picked():
    """In any pair the other one is better: that is the point of drawing without replacement."""
    full, *_ = ready = pool(1, 1, 1)
    full.active = 1
    balancer = built("p2c", ready)
    assert full not in [balancer.pick(1.0) for _ in range(500)]


@pytest.mark.parametrize(("active", "better"), [((2, 5), "b"), ((1, 5), "a"), ((1, 4), "ab")])
def test_requests_in_flight_are_compared_by_weight(active, better):
    """Weights 1:4; a tie goes to the first draw."""
    ready = pool(1, 4)
    for endpoint, count in zip(ready, active, strict=True):
        endpoint.active = count
    balancer = built("p2c", ready)
    assert {balancer.pick(1.0).id for _ in range(200)} == set(better)


def test_another_try_has_two_choices_as_well():
    """With the first endpoint excluded, the better of the other two is found."""
    a, b, _c = ready = pool(1, 1, 1)
    b.active = 3
    balancer = built("p2c", ready)
    picked = Counter(balancer.pick(1.0, None, [a]).id for _ in range(500))
    assert picked["c"] > 400


def test_the_fullest_of_many_stays_nearly_as_empty_as_the_rest():
    """A thousand requests on a thousand endpoints: at most 3 on one, where plain draws put 5 and more."""
    fullest = {}
    for name in ("p2c", "random"):
        ready = pool(*[1] * 1000)
        balancer = built(name, ready)
        for _ in range(1000):
            balancer.pick(1.0).active += 1
        fullest[name] = max(endpoint.active for endpoint in ready)
    assert fullest["p2c"] <= 3
    assert fullest["random"] >= 5

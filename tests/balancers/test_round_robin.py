"""Each in turn."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from balancers import RoundRobin
from tests.balancers.pools import built, pool, seeds


def picks(balancer, count):
    return [balancer.pick(1.0) for _ in range(count)]


@given(seeds, st.integers(1, 20), st.integers(1, 5))
def test_any_round_serves_everybody_once(seed, size, rounds):
    """Wherever the window begins."""
    ready = pool(*[1] * size)
    balancer = built("round_robin", ready, seed)
    picks(balancer, seed % 7)
    for _ in range(rounds):
        assert set(picks(balancer, size)) == set(ready)


@given(seeds, st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=2, max_size=10))
def test_a_change_goes_on_where_the_turn_was(seed, changes):
    """The next one of those that stay is next, so frequent changes favour nobody."""
    everybody = pool(*[1] * 6)
    balancer = RoundRobin(Random(seed))
    turn: list[int] = []
    for present in changes:
        balancer.rebuild(tuple(everybody[index] for index in sorted(present)))
        following = [index for index in turn if index in present]
        if following:
            assert balancer.pick(1.0) is everybody[following[0]]
        picked = balancer.pick(1.0).key
        turn = [index for index in (*range(picked + 1, 6), *range(picked + 1)) if index in present]


def test_an_excluded_one_is_passed_over():
    """The next in turn serves, and the turn goes on behind it."""
    a, b, c, d = ready = pool(1, 1, 1, 1)
    balancer = built("round_robin", ready)
    while balancer.pick(1.0) is not a:
        pass
    assert balancer.pick(1.0, None, [b]) is c
    assert picks(balancer, 3) == [d, a, b]


def test_weights_make_no_difference():
    """For that there is `weighted`."""
    ready = pool(9, 1)
    assert {endpoint.id: picks(built("round_robin", ready), 10).count(endpoint) for endpoint in ready} == {"a": 5, "b": 5}

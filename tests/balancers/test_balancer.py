"""What holds for every balancer, whatever its rule."""

from __future__ import annotations

import sys
from random import Random
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers import BALANCERS, Balancer, Endpoint, Outcome
from tests.balancers.pools import NAMES, begin, built, end, names, one_by_one, pool, sampled, seeds, weights


@pytest.mark.parametrize("name", NAMES)
def test_nobody_is_picked_from_nothing(name):
    """Before the first rebuild, and after one with nothing, the answer is None."""
    balancer = BALANCERS[name](Random(1))
    assert balancer.pick(1.0) is None
    balancer.rebuild(())
    assert balancer.pick(1.0) is None
    assert balancer.pick(1.0, None, pool(1)) is None


@pytest.mark.parametrize("name", NAMES)
def test_the_only_one_is_picked(name):
    """One endpoint takes everything, as busy as it may be."""
    ready = pool(3)
    ready[0].active = 50
    balancer = built(name, ready)
    assert {balancer.pick(now_s / 10) for now_s in range(20)} == {ready[0]}
    assert balancer.pick(1.0, None, ready) is None


@given(names, seeds, weights, st.data())
def test_an_excluded_endpoint_is_never_picked(name, seed, chosen, data):
    """And whoever is not excluded is found, however few they are."""
    ready = pool(*chosen)
    balancer = built(name, ready, seed)
    for step in range(20):
        exclude = data.draw(st.lists(st.sampled_from(ready), unique=True))
        picked = balancer.pick(float(step), None, exclude)
        assert (picked is None) == (len(exclude) == len(ready))
        assert picked not in exclude


@given(names, seeds, weights)
@settings(max_examples=50)
def test_one_of_many_is_found_when_all_others_are_excluded(name, seed, chosen):
    """A retry reaches the last endpoint left, with no luck needed."""
    ready = pool(*chosen)
    balancer = built(name, ready, seed)
    for endpoint in ready:
        others = frozenset(ready) - {endpoint}
        assert balancer.pick(1.0, None, others) is endpoint


def story(name: str, seed: int, steps: int = 200) -> list[str]:
    """Picks of a busy service, with answers, failures, retries and a change of the pool."""
    world, ready = Random(7), pool(1, 2, 1, 4, 1, 1)
    balancer = built(name, ready, seed)
    flying: list[Endpoint] = []
    told = []
    for step in range(steps):
        now_s = 10.0 + step / 50
        if step == steps // 2:
            balancer.rebuild(ready[1:])
        flying.append(begin(balancer, now_s, flying[-1:] if step % 7 == 0 else ()))
        told.append(flying[-1].id)
        while len(flying) > 8:
            outcome = Outcome.FAILED_REMOTE if world.random() < 0.1 else Outcome.OK
            end(balancer, flying.pop(world.randrange(8)), world.expovariate(20), now_s, outcome)
    return told


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_reproduces_every_pick(name):
    """All randomness comes from the constructor's argument."""
    assert story(name, seed=5) == story(name, seed=5)


@pytest.mark.parametrize("name", NAMES)
def test_gateways_with_other_seeds_do_not_march_in_step(name):
    """The first pick of many gateways falls on all endpoints."""
    first = {built(name, pool(1, 1, 1, 1), seed).pick(1.0).id for seed in range(60)}
    assert first == {"a", "b", "c", "d"}


@pytest.mark.parametrize("name", NAMES)
def test_equal_endpoints_get_equal_shares(name):
    """One request at a time, 3,000 of them over three equal endpoints: each within a tenth of its third."""
    served = one_by_one(built(name, pool(1, 1, 1)), 3000)
    assert all(900 <= served[each] <= 1100 for each in "abc"), served


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"round_robin", "peak_ewma", "p2c"}))
def test_weights_are_respected_at_rest(name):
    """One request at a time, weights 1:2:5: shares within a tenth."""
    served = one_by_one(built(name, pool(1, 2, 5)), 4000)
    assert all(abs(served[each] - 500 * weight) <= 50 * weight + 30 for each, weight in zip("abc", (1, 2, 5), strict=True)), served


@pytest.mark.parametrize("name", ["p2c", "peak_ewma", "least_connections", "ewma"])
def test_weights_are_respected_under_load(name):
    """Kept full with equal latencies, endpoints hold requests in the order of their weights, none of them idle."""
    ready = pool(1, 2, 5)
    balancer = built(name, ready)
    world = Random(3)
    flying = [begin(balancer, 100.0) for _ in range(40)]
    held = dict.fromkeys("abc", 0)
    for step in range(4000):
        now_s = 100.0 + step / 100
        end(balancer, flying.pop(world.randrange(40)), 0.4, now_s)
        flying.append(begin(balancer, now_s))
        for endpoint in ready:
            held[endpoint.id] += endpoint.active
    share = {each: count / 4000 / 40 for each, count in held.items()}
    assert share["a"] == pytest.approx(1 / 8, abs=0.05)
    assert share["b"] == pytest.approx(2 / 8, abs=0.06)
    assert share["c"] == pytest.approx(5 / 8, abs=0.09)


@given(names, seeds, weights, st.floats(1.0, 100.0))
@settings(max_examples=60)
def test_nobody_starves(name, seed, chosen, slower):
    """Whatever its weight and however slow it was once, each endpoint is picked again in the end."""
    ready = pool(*chosen)
    balancer = built(name, ready, seed)
    for index, endpoint in enumerate(ready):
        balancer.observe(endpoint, 0.01 * (slower if index % 3 == 0 else 1.0), Outcome.OK, 100.0)
    now_s, unseen = 100.0, set(ready)
    for _ in range(200 * sum(chosen)):
        endpoint = begin(balancer, now_s)
        unseen.discard(endpoint)
        if not unseen:
            break
        now_s += 0.5
        end(balancer, endpoint, 0.01, now_s)
    assert unseen == set()


class Counting:
    """Counts bytecodes that run inside a call, its callees included: what choosing costs, whatever the machine."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, frame: FrameType, event: str, argument: object) -> Counting:
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        self.count += event == "opcode"
        return self

    def of(self, balancer: Balancer[Endpoint], picks: int, exclude: int = 0) -> float:
        previous = sys.gettrace()
        excluded = balancer.ready[:exclude]
        sys.settrace(self)
        try:
            for step in range(picks):
                balancer.pick(100.0 + step / 1000, None, excluded)
        finally:
            sys.settrace(previous)
        return self.count / picks


def price(name: str, size: int, busiest: int, exclude: int = 0) -> float:
    """Mean cost of a pick from `size` endpoints with up to `busiest` requests each, in bytecodes."""
    world = Random(11)
    ready = tuple(sampled(endpoint, world.uniform(0.01, 0.03)) for endpoint in pool(*[1] * size))
    for endpoint in ready:
        endpoint.active = world.randint(0, busiest)
    return Counting().of(built(name, ready), picks=300, exclude=exclude)


@pytest.mark.parametrize("busiest", [0, 1, 20])
@pytest.mark.parametrize("exclude", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_a_hundred_endpoints_cost_at_most_three_times_five(name, busiest, exclude):
    """Choosing does not grow with the pool, at rest or under load, in a first try or in another."""
    few, many = price(name, 5, busiest, exclude), price(name, 100, busiest, exclude)
    assert many <= 3 * few, (few, many)


@pytest.mark.parametrize("name", NAMES)
def test_ten_thousand_endpoints_cost_no_more_than_a_hundred(name):
    """Beyond the limit of a scan, the price is flat."""
    assert price(name, 10_000, 3) <= 1.5 * price(name, 100, 3)


@pytest.mark.parametrize("name", ["round_robin", "weighted", "least_connections", "random", "ewma"])
def test_a_pick_is_one_call(name):
    """The warm path pays for no call inside."""
    balancer = built(name, tuple(sampled(endpoint, 0.01) for endpoint in pool(1, 1, 1)))
    calls = []

    def count(frame: FrameType, event: str, argument: object) -> None:
        calls.append(frame.f_code.co_qualname)

    previous = sys.gettrace()
    sys.settrace(count)
    try:
        balancer.pick(100.0)
    finally:
        sys.settrace(previous)
    assert len(calls) == 1, calls


@pytest.mark.parametrize("name", NAMES)
def test_an_endpoint_without_weight_costs_more_than_any(name):
    """Explaining a draining endpoint is no division by zero."""
    balancer = built(name, pool(1))
    assert balancer.cost(pool(0)[0], 1.0) == float("inf")

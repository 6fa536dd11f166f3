"""Two choices by latency, with a long memory for bad moments."""

from __future__ import annotations

from collections import Counter

import pytest

from balancers import Outcome
from tests.balancers.pools import begin, built, end, pool, sampled


@pytest.mark.parametrize(
    ("numbers", "better"),
    [
        # for each endpoint: weight, in flight, milliseconds
        (((1, 0, 10), (1, 0, 20)), "a"),
        (((1, 2, 10), (1, 0, 20)), "b"),
        (((1, 0, 10), (4, 0, 20)), "b"),
        (((1, 0, 10), (1, 0, 0)), "b"),
        (((1, 9, 10), (1, 1, 0)), "a"),
        (((1, 2, 0), (1, 1, 0)), "b"),
    ],
)
def test_the_cheaper_of_two_wins(numbers, better):
    """Latency times (in flight + 1) / weight; without history one trial, and then none before its answer."""
    ready = pool(*[weight for weight, _, _ in numbers])
    for endpoint, (_, active, latency_ms) in zip(ready, numbers, strict=True):
        endpoint.active = active
        sampled(endpoint, latency_ms / 1000)
    balancer = built("peak_ewma", ready)
    assert {balancer.pick(100.0).id for _ in range(50)} == {better}


def test_one_bad_moment_is_remembered():
    """A single sample of a second outweighs ten seconds of ten milliseconds elsewhere."""
    bad, _good = ready = pool(1, 1)
    balancer = built("peak_ewma", ready)
    for endpoint in ready:
        balancer.observe(endpoint, 0.01, Outcome.OK, 100.0)
    balancer.observe(bad, 1.0, Outcome.OK, 100.1)
    picked = Counter()
    for step in range(100):
        endpoint = begin(balancer, 100.1 + step / 10)
        end(balancer, endpoint, 0.01, 100.11 + step / 10)
        picked[endpoint.id] += 1
    assert picked == {"b": 100}


def test_what_has_faded_to_nothing_still_differs_by_load():
    """After an hour of silence both estimates are next to zero, the queues are not."""
    a, b = ready = pool(1, 1)
    sampled(a, 0.5)
    sampled(b, 0.5)
    a.active = 3
    balancer = built("peak_ewma", ready)
    assert {balancer.pick(100_000.0).id for _ in range(50)} == {"b"}


def test_another_try_compares_costs_too():
    """With one endpoint excluded, the cheaper of the others is found."""
    a, b, c = ready = pool(1, 1, 1)
    for endpoint, latency_s in ((a, 0.01), (b, 0.5), (c, 0.02)):
        sampled(endpoint, latency_s)
    balancer = built("peak_ewma", ready)
    picked = Counter(balancer.pick(100.0, None, [a]).id for _ in range(500))
    assert picked["c"] > 400

"""Endpoints for the tests of balancers, and the way in which requests touch them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

from hypothesis import strategies as st

from balancers import BALANCERS, Balancer, Endpoint, Outcome, make_balancer

NAMES = sorted(BALANCERS)
IN_TURN = ("round_robin", "weighted")

names = st.sampled_from(NAMES)
seeds = st.integers(0, 2**16)
weights = st.lists(st.integers(1, 9), min_size=1, max_size=40)


def pool(*weights: float) -> tuple[Endpoint, ...]:
    """Endpoints a, b, c … with these weights."""
    return tuple(Endpoint(index, chr(97 + index) if index < 26 else f"e{index}", weight) for index, weight in enumerate(weights))


def built(name: str, ready: tuple[Endpoint, ...], seed: int = 1) -> Balancer[Endpoint]:
    balancer = make_balancer(name, Random(seed))
    balancer.rebuild(ready)
    return balancer


def begin(balancer: Balancer[Endpoint], now_s: float, exclude: Sequence[Endpoint] = ()) -> Endpoint:
    """Send one request, as whoever sends requests must."""
    endpoint = balancer.pick(now_s, None, exclude)
    assert endpoint is not None
    if not endpoint.oldest_at_s:
        endpoint.oldest_at_s = now_s
    endpoint.active += 1
    return endpoint


def end(balancer: Balancer[Endpoint], endpoint: Endpoint, latency_s: float, now_s: float, outcome: Outcome = Outcome.OK) -> None:
    endpoint.active -= 1
    balancer.observe(endpoint, latency_s, outcome, now_s)


def one_by_one(balancer: Balancer[Endpoint], count: int, latency_s: float = 0.01) -> Counter[str]:
    """`count` requests, each sent when the one before has been answered; who served how many."""
    served: Counter[str] = Counter()
    now_s = 100.0
    for _ in range(count):
        endpoint = begin(balancer, now_s)
        now_s += latency_s
        end(balancer, endpoint, latency_s, now_s)
        served[endpoint.id] += 1
    return served


def sampled(endpoint: Endpoint, latency_s: float, at_s: float = 100.0) -> Endpoint:
    """Give an endpoint an estimate."""
    endpoint.latency_s, endpoint.latency_at_s = latency_s, at_s
    return endpoint

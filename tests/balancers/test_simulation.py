"""The balancers against each other, in one deterministic world: the order that their theory promises."""

from __future__ import annotations

from dataclasses import replace

import pytest

from balancers import BALANCERS
from tests.balancers.simulation import ALL_KNOWING, Host, Scenario, requests_of, simulate

SEEDS = (1, 2, 3)

EQUAL = Scenario((Host(4, 0.02),) * 5, rate=850, duration_s=10)
"""Five equal hosts, 85 % busy."""

ONE_SLOW = Scenario((Host(4, 0.02),) * 4 + (Host(4, 0.2),), rate=560, duration_s=10)
"""One of five answers ten times slower."""

UNEQUAL = Scenario((Host(1, 0.01),) * 3 + (Host(4, 0.01),) * 2, rate=880, duration_s=10)
"""Workers 1:1:1:4:4, which nobody told the gateway; 80 % busy."""

TOLD = replace(UNEQUAL, hosts=tuple(replace(host, weight=float(host.workers)) for host in UNEQUAL.hosts))
"""The same, with weights that say so."""


def p99_ms(scenario: Scenario, balancer: str) -> float:
    """Mean over the seeds of the 99th percentile."""
    return sum(simulate(scenario, balancer, seed).percentile_ms(0.99) for seed in SEEDS) / len(SEEDS)


@pytest.mark.parametrize("name", sorted(BALANCERS))
def test_a_run_is_reproducible(name):
    """Same seed, same world, to the last digit."""
    short = replace(ONE_SLOW, duration_s=1)
    assert simulate(short, name, 7) == simulate(short, name, 7)


def test_every_request_is_answered_and_the_load_is_as_stated():
    """The world itself: arrivals at the rate, an idle host's latency is its service time, nobody lost."""
    scenario = Scenario((Host(4, 0.02),), rate=20, duration_s=100)
    result = simulate(scenario, "round_robin")
    assert len(result.latencies_s) == len(requests_of(scenario, 1)) == pytest.approx(2000, rel=0.1)
    assert sum(result.latencies_s) / len(result.latencies_s) == pytest.approx(0.02, rel=0.1)


def test_one_queue_waits_as_long_as_theory_says():
    """M/M/1 at 80 %: mean time in the system is service / (1 - 0.8)."""
    result = simulate(Scenario((Host(1, 0.01),), rate=80, duration_s=600), "random")
    assert sum(result.latencies_s) / len(result.latencies_s) == pytest.approx(0.05, rel=0.15)


def test_one_slow_host_shows_who_knows_what():
    """Without counts its queue has no end; counts bound it; latency avoids it."""
    rr, p2c, least, ewma = (p99_ms(ONE_SLOW, name) for name in ("round_robin", "p2c", "least_connections", "ewma"))
    assert rr > 10 * p2c
    assert p2c > 1.1 * least
    assert least > 2 * ewma


def test_the_slow_host_gets_next_to_nothing():
    """And still a little, or nobody would notice that it healed."""
    assert 0 < simulate(ONE_SLOW, "ewma").share(4) < 0.02


def test_unequal_workers_show_who_knows_what():
    """Turns drown the small hosts; two draws often meet only small ones; a full scan equalises queues; latency equalises delay."""
    rr, p2c, least, ewma = (p99_ms(UNEQUAL, name) for name in ("round_robin", "p2c", "least_connections", "ewma"))
    assert rr > 5 * p2c
    assert p2c > 1.3 * least
    assert least > 1.2 * ewma


def test_right_weights_are_worth_as_much_as_latency():
    """Told how many workers each has, counting alone does as well as learning; and learning loses nothing by being told."""
    learnt, counted, both = p99_ms(UNEQUAL, "ewma"), p99_ms(TOLD, "least_connections"), p99_ms(TOLD, "ewma")
    assert counted < learnt
    assert both < 1.1 * counted


def test_equal_hosts_cost_the_default_nothing():
    """Where there is nothing to know, the learning rule is as good as the best simple one."""
    random, least, ewma = (p99_ms(EQUAL, name) for name in ("random", "least_connections", "ewma"))
    assert ewma < 1.05 * least
    assert random > 1.3 * ewma


HEALING = Scenario((Host(4, 0.02),) * 4 + (Host(4, 0.02, healed_at_s=5.0),), rate=600, duration_s=10)
"""One of five is ten times slower for five seconds, then as good as the others: 60 % busy."""


def test_a_healed_host_is_back_in_seconds():
    """The default forgets in time; the ten seconds of Peak EWMA keep a host out that is long well."""
    shares = {name: simulate(HEALING, name).share(4, since_s=7.0) for name in ("ewma", "peak_ewma")}
    assert shares["ewma"] > 0.15
    assert shares["peak_ewma"] < 0.5 * shares["ewma"]


# -- beside a client that knows everything ---------------------------------------------------------

WELL = Host(4, 0.02)
ILL = replace(WELL, ill_at_s=2.0, healed_at_s=99.0)
HEALS = replace(WELL, ill_at_s=2.0, healed_at_s=7.0)
ANYTHING = {
    "equal": ((WELL,) * 5, 1.15),
    "one turns ten times slower": ((ILL, *(WELL,) * 4), 1.25),
    "capacities 1:1:1:4:4": ((replace(WELL, workers=2),) * 3 + (replace(WELL, workers=8),) * 2, 1.4),
    "one turns slow and heals": ((HEALS, *(WELL,) * 4), 1.15),
}
"""The worlds of ``benchmarks/beside_all_knowing.py``, and how many times the p99 of one who knows everything there may be."""


@pytest.mark.parametrize("steady", [True, False])
@pytest.mark.parametrize("world", ANYTHING)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_default_is_near_to_what_can_be_done(world, steady, seed):
    """400 requests a second from a cold start: at an even pace and all alike, or both exponential."""
    hosts, at_most = ANYTHING[world]
    scenario = Scenario(hosts, rate=400, duration_s=12, steady=steady)
    default, best = (simulate(scenario, name, seed).percentile_ms(0.99) for name in ("ewma", ALL_KNOWING))
    assert default <= at_most * best


@pytest.mark.parametrize("steady", [True, False])
def test_who_heals_has_its_share_again(steady):
    """A few seconds after it is well; all others have the same."""
    scenario = Scenario((HEALS, *(WELL,) * 4), rate=400, duration_s=12, steady=steady)
    assert all(simulate(scenario, "ewma", seed).share(0, since_s=9.0) >= 0.08 for seed in SEEDS)


def test_nobody_beats_the_one_who_knows_everything():
    """The yardstick itself: where hosts differ, no balancer's tail is shorter."""
    best = p99_ms(UNEQUAL, ALL_KNOWING)
    assert all(best <= 1.01 * p99_ms(UNEQUAL, name) for name in BALANCERS)

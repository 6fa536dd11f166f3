"""One of five hosts fails while 400 requests a second come in: what clients notice, and how many requests it lures."""

from __future__ import annotations

import pytest

from balancers import EndpointState
from balancers.endpoint_set import Member
from tests.balancers.failing import HEDGED, HOSTS, Failing, Told, Trouble

SEEDS = (1, 2, 3)
WELL_P99_MS = 200.0
"""Four hosts at half of their capacity have no queue to speak of."""


def told_of(trouble: Trouble, balancer: str = "ewma", seed: int = 1) -> Told:
    return Failing(trouble, balancer=balancer, seed=seed).run()


@pytest.mark.parametrize("balancer", ["ewma", "least_connections", "p2c", "round_robin"])
@pytest.mark.parametrize("seed", SEEDS)
def test_fast_500s_reach_no_client(balancer, seed):
    """Five failures and it is out; each trial costs one attempt. Counting balancers would love it: it is never busy."""
    told = told_of(Trouble("errors"), balancer, seed)
    assert told.errors == 0
    assert told.attempts / len(told.latencies_s) <= 1.02
    assert len(told.lured) < 60
    assert told.percentile_ms(0.99) < WELL_P99_MS


@pytest.mark.parametrize("seed", range(1, 9))
def test_failures_at_a_cold_start_keep_no_work_from_those_who_are_well(seed):
    """Twenty requests a second, so that the failing host may be the first to be heard of: within a second all have been tried."""
    failing = Failing(Trouble("errors"), rate=20.0, duration_s=1.0, seed=seed)
    assert failing.run().errors == 0
    assert min(failing.totals.values()) >= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hung_host_lures_few_and_loses_none(seed):
    """Those few wait for the time of a try; the guard against silence keeps the others away before the first of them is over."""
    told = told_of(Trouble("hangs"), "ewma", seed)
    assert told.errors == 0
    assert len(told.lured) <= 25
    assert told.percentile_ms(0.99) < WELL_P99_MS


@pytest.mark.parametrize("balancer", ["ewma", "round_robin"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_host_that_is_killed_and_comes_back_costs_no_request(balancer, seed):
    """What it worked on is sent again, what comes later goes elsewhere; a trial finds it well again and it gets its share."""
    told = told_of(Trouble("dead", 3.0, 5.0), balancer, seed)
    assert told.errors == 0
    assert told.percentile_ms(0.99) < WELL_P99_MS
    assert told.attempts - len(told.latencies_s) < 60
    assert told.states[-1][1] is EndpointState.READY
    assert told.share(8.5, 400.0, 10.0) > 0.08


HEALED_BUT_OUT = (Trouble("errors", 1.0, 2.0, host=0), Trouble("errors", 1.5, 2.5, host=1))
"""Two have failed so often before that they are out for a quarter of a minute though they are well again."""


@pytest.mark.parametrize("balancer", ["ewma", "least_connections", "p2c", "round_robin"])
@pytest.mark.parametrize("kind", ["errors", "dead"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_third_that_fails_costs_no_request_while_two_that_are_well_are_still_out(balancer, kind, seed):
    """No more may be out, so it stays in and draws requests until one of the two has been tried: soon enough for the retry budget."""
    failing = Failing(*HEALED_BUT_OUT, Trouble(kind, 4.0, 9.0, host=2), balancer=balancer, seed=seed)
    for host in (0, 1):
        failing.set.endpoints[host].ejections_in_row = 4
    told = failing.run()
    assert told.errors == 0
    assert told.attempts - len(told.latencies_s) < 100


@pytest.mark.parametrize("balancer", ["ewma", "least_connections", "p2c", "round_robin"])
@pytest.mark.parametrize("dead", [3, 4])
@pytest.mark.parametrize("seed", SEEDS)
def test_in_panic_no_request_is_lost_among_the_dead(balancer, dead, seed):
    """Checks have found most of five dead, so all five are used, the dead for first tries only: a second one finds who is left."""
    failing = Failing(*(Trouble("dead", host=host) for host in range(dead)), balancer=balancer, rate=80.0, seed=seed)
    unhealthy = [Member(host, f"host-{host}", state=EndpointState.UNHEALTHY) for host in range(dead)]
    failing.set.sync([*unhealthy, *(Member(host, f"host-{host}") for host in range(dead, HOSTS))], 0.0)
    assert failing.set.panic
    assert failing.run().errors == 0


def test_a_run_is_reproducible():
    """Same seed, same world."""
    assert told_of(Trouble("errors"), seed=7) == told_of(Trouble("errors"), seed=7)


# -- with a second attempt beside a slow first one -------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_slow_by_chance_is_overtaken(seed):
    """One in a hundred takes half a second more, wherever it is: at 5 % more attempts at most, hardly a client waits for that."""
    alone, hedged = (Failing(Trouble("pauses"), hedge=hedge, seed=seed).run() for hedge in (None, HEDGED))
    assert alone.percentile_ms(0.995) > 300
    assert hedged.percentile_ms(0.995) < 150
    assert (hedged.errors, hedged.attempts / len(hedged.latencies_s) < 1.052) == (0, True)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_host_that_hangs_does_not_look_well_because_others_overtake_it(seed):
    """Its silence goes on counting when nobody waits for it any more, though nobody blames it."""
    told = Failing(Trouble("hangs"), hedge=HEDGED, seed=seed).run()
    assert told.errors == 0
    assert len(told.lured) <= 25
    assert told.percentile_ms(0.99) < WELL_P99_MS


@pytest.mark.parametrize("seed", SEEDS)
def test_a_slow_hosts_tail_gets_shorter(seed):
    """Ten times slower than the others: the balancer keeps most away, the second attempt helps the rest."""
    alone, hedged = (Failing(Trouble("slow"), hedge=hedge, seed=seed).run() for hedge in (None, HEDGED))
    assert hedged.percentile_ms(0.999) < alone.percentile_ms(0.999)

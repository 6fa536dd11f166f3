"""Which picks are remembered, and what of them."""

from __future__ import annotations

from typing import Any

from discovery.instance import InstanceState
from lbgateway.dataplane.recorder import A_TICK, BURST, MOST_NAMED, TRIAL
from lbgateway.dataplane.rules import UpstreamRules
from lbgateway.dataplane.upstream import Upstream
from tests.lbgateway.dataplane.test_upstream import instance, says, upstream_of


def service(count: int, balancer: str = "least_connections", **states: Any) -> Upstream:
    upstream = upstream_of(*(instance(f"o-{n}", port=n, **states) for n in range(1, count + 1)), balancer=balancer)
    upstream.recorder.tick()
    return upstream


def recorded(upstream: Upstream) -> int:
    return sum(len(each.history.picks) for each in upstream.endpoints.endpoints.values() if each.history is not None)


def picked(upstream: Upstream, times: int = 1, **how: Any) -> Any:
    for _ in range(times):
        chosen = upstream.endpoints.pick(2.0, **how)
    return chosen


def test_a_burst_is_recorded_and_then_a_sample():
    """So many at once, so many more with each tick, and nothing in between: then the pick is the balancer's own."""
    upstream = service(4)
    picked(upstream, times=100)
    assert recorded(upstream) == BURST
    assert upstream.endpoints.pick == upstream.endpoints.balancer.pick
    upstream.recorder.tick()
    picked(upstream, times=100)
    assert recorded(upstream) == BURST + A_TICK


def test_a_quiet_service_has_all_of_its_picks_recorded():
    """From the first on, and whatever happens to its endpoints in between."""
    upstream = upstream_of(instance("o-1", port=1), instance("o-2", port=2), balancer="least_connections")
    for number in range(10):
        picked(upstream)
        says(upstream, instance("o-1", port=1), instance("o-2", port=2, weight=number + 2))
    assert recorded(upstream) == 10


def test_a_pick_is_told_with_whom_it_was_compared():
    """The chosen one first, then the cheapest others; the costs are those of the moment before."""
    upstream = service(20)
    for number, each in enumerate(upstream.endpoints.ready):
        each.active = number + 1
    chosen = picked(upstream)
    [pick] = chosen.remembers().picks
    assert (chosen.active, pick.reason, pick.of) == (1, "fewest requests for its weight; among equals by lot", 20)
    assert [(each.cost, each.active) for each in pick.candidates] == [(float(n), n) for n in range(1, MOST_NAMED + 1)]
    assert pick.candidates[0].id == chosen.id


def test_in_a_large_pool_only_the_chosen_one_is_named():
    """The balancer has looked at a few only, and nobody asks all of them for their cost."""
    chosen = picked(service(33))
    [pick] = chosen.remembers().picks
    assert (pick.of, [(each.id, each.cost) for each in pick.candidates]) == (33, [(chosen.id, None)])


def test_the_reason_says_what_was_special():
    """Another attempt, a suspect, panic, nobody else."""
    upstream = service(2, "round_robin")
    first = picked(upstream)
    second = picked(upstream, exclude=(first,))
    assert second.remembers().picks[-1].reason == "another attempt, on another instance: the only one left"
    assert first.remembers().picks[-1].reason == "next in turn"
    assert picked(service(1)).remembers().picks[-1].reason == "the only one"
    assert picked(service(1, state=InstanceState.SUSPECT)).remembers().picks[-1].reason.startswith("a suspect")
    upstream.guard(UpstreamRules(panic_threshold=0.9), 1.0)
    upstream.endpoints.eject(first, "5 failures", 2.0)
    upstream.recorder.tick()
    assert picked(upstream).remembers().picks[-1].reason == "panic: all are used; next in turn"
    other = picked(upstream, exclude=(second,)).remembers().picks[-1].reason
    assert other == "another attempt, on another instance: panic: all are used, those that are out last; the only one left"


def test_where_nobody_is_picked_nobody_remembers():
    """An empty service has no history."""
    upstream = service(0)
    assert picked(upstream) is None


def test_a_trial_is_a_pick_of_its_own_kind():
    """No balancer has chosen it."""
    upstream = service(2)
    endpoint = upstream.endpoints.ready[0]
    upstream.recorder.trial(endpoint, 3.0)
    assert [tuple(pick) for pick in endpoint.remembers().picks] == [(3.0, TRIAL, 1, ())]

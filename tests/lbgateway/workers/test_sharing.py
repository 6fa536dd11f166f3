"""What one process of a gateway decides holds in all: a parent and two workers, whose states are read beside each other."""

from __future__ import annotations

import time

import pytest
from structlog.testing import capture_logs

from balancers.endpoint import Outcome
from lbgateway.dataplane.members import Verdict
from lbgateway.policies.circuit_breaker import BreakerState
from lbgateway.workers.sharing import numbered
from tests.support.worker_gateways import Together

EJECTING = ", outlier: {consecutive_failures: 2, max_ejected: 0.5, eject_for: 10s}"
BREAKING = ", breaker: {failure_ratio: 0.5, min_requests: 4}"


def fails(gateways: Together, worker: int, times: int = 2) -> None:
    """The first instance, as this worker sees it."""
    half, now_s = gateways.workers[worker], time.monotonic()
    for _ in range(times):
        half.gateway.plane.upstreams["orders"].outliers.failed(half.endpoints()[0], Outcome.FAILED_REMOTE, now_s, now_s)


async def test_who_one_worker_ejects_is_out_everywhere_and_for_as_long():
    """Also the way back is everybody's; and it is logged once."""
    async with Together(EJECTING) as gateways:
        with capture_logs() as logs:
            fails(gateways, 0)
        assert gateways.states() == ["ejected"] * 3
        assert gateways.states(1) == ["ready"] * 3
        assert len({endpoint.ejected_until_s for endpoint in (each[0] for each in gateways.everybody())}) == 1
        assert [each["event"] for each in logs if "eject" in each["event"]] == ["instance ejected"]
        half = gateways.workers[1]
        half.gateway.plane.upstreams["orders"].outliers.succeeded(half.endpoints()[0], time.monotonic(), time.monotonic())
        assert gateways.states() == ["ready"] * 3
        assert [kind for kind, _ in gateways.told if kind in ("ejected", "returned")] == ["ejected", "returned"]


async def test_a_worker_that_comes_late_knows_what_is_in_force():
    """Ejections with their time, breakers, orders of operators and verdicts of checks."""
    async with Together(EJECTING + BREAKING) as gateways:
        fails(gateways, 0)
        gateways.orders("drain", "127.0.0.1:2")
        upstream = gateways.workers[1].gateway.plane.upstreams["orders"]
        upstream.breaker.move(BreakerState.OPEN, time.monotonic(), "all failed")
        late = await gateways.begins(0)
        assert (gateways.states(), gateways.states(1)) == (["ejected"] * 3, ["draining"] * 3)
        breaker = late.gateway.plane.upstreams["orders"].breaker
        assert (breaker.state, breaker.why) == (BreakerState.OPEN, "all failed")
        assert late.endpoints()[0].ejected_until_s == gateways.everybody()[0][0].ejected_until_s


async def test_a_breaker_that_one_worker_opens_is_open_in_all():
    """From the same moment on, so that all try again at the same time, and for the same reason."""
    async with Together(BREAKING) as gateways:
        breakers = [each.plane.upstreams["orders"].breaker for each in (gateways.parent, *(each.gateway for each in gateways.workers))]
        breakers[1].move(BreakerState.OPEN, time.monotonic(), "all failed")
        assert [each.state for each in breakers] == [BreakerState.OPEN] * 3
        assert {(each.moved_at_s, each.why) for each in breakers} == {(breakers[1].moved_at_s, "all failed")}
        breakers[2].move(BreakerState.HALF_OPEN, time.monotonic(), "its pause is over")
        assert [each.state for each in breakers][:2] == [BreakerState.OPEN] * 2  # time brings it to each
        breakers[2].move(BreakerState.CLOSED, time.monotonic(), "its trials succeeded")
        assert breakers[2].state is BreakerState.CLOSED


async def test_what_health_checks_of_the_parent_find_counts_in_all():
    """Who fails is out, who is well again comes back, and without checks nothing is known."""
    async with Together() as gateways:
        upstream = gateways.parent.plane.upstreams["orders"]
        [endpoint, _] = gateways.everybody()[0]
        for verdict, state in ((Verdict(healthy=False, why="503"), "unhealthy"), (Verdict(healthy=True, why=None), "ready")):
            upstream.verdicts[endpoint.key] = verdict
            gateways.parts.sharing.verdict(upstream, endpoint)
            gateways.refresh()
            assert gateways.states() == [state] * 3
        gateways.parts.sharing.verdict(upstream, None)
        upstream.verdicts.clear()
        assert [dict(each.gateway.plane.upstreams["orders"].verdicts) for each in gateways.workers] == [{}, {}]


@pytest.mark.parametrize(("verb", "back", "state"), [("drain", "undrain", "draining"), ("eject", "uneject", "ejected")])
async def test_an_operator_s_order_holds_in_all(verb, back, state):
    """At once, and until it is taken back."""
    async with Together() as gateways:
        gateways.orders(verb, "127.0.0.1:1")
        assert gateways.states() == [state] * 3
        gateways.orders(back, "127.0.0.1:1")
        assert gateways.states() == ["ready"] * 3


async def test_what_is_about_nobody_here_is_ignored():
    """An instance that has left, a service that is gone; what is about something else is left to others."""
    async with Together() as gateways:
        sharing, upstream = gateways.workers[0].sharing, gateways.parent.plane.upstreams["orders"]
        assert sharing.hear({"kind": "returned", "service": "orders", "number": 999})
        assert sharing.hear({"kind": "breaker", "service": "none", "state": "open", "at_s": 1.0})
        assert not sharing.hear({"kind": "serve"})
        assert numbered(upstream, 999) is None
        assert gateways.states() == ["ready"] * 3

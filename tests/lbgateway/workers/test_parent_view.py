"""The gateway as operators see it, over all workers."""

from __future__ import annotations

from lbgateway.controlplane.port import Command
from tests.lbgateway.workers.test_tally import serves
from tests.support.worker_gateways import TWO, Together


async def test_numbers_of_the_scrape_are_those_of_all():
    """Gauges are added, the loop that lags most counts, and the processes are the parent and its workers."""
    async with Together() as gateways:
        for worker, lag_s in enumerate((0.2, 0.1)):
            serves(gateways.workers[worker], 2)
            gateways.workers[worker].gateway.plane.metrics.loop_lag_s = lag_s
        gateways.workers[0].gateway.plane.active.add("a request")  # type: ignore[arg-type]  # it is counted, not looked at
        await gateways.gathered()
        numbers = gateways.parent.view.metrics()
        metrics = numbers.metrics
        assert (metrics.requests_active, metrics.loop_lag_s, metrics.pids) == (1, 0.2, ("self", 1, 2))
        assert numbers.metrics.requests_active == 1  # also when it is asked twice
        [service] = numbers.services()
        assert [each.series.total for each in service.endpoints] == [4, 0]
        assert gateways.parent.view.workers() == 2
        gateways.workers[0].gateway.plane.active.clear()


async def test_a_retry_budget_is_what_the_workers_have_left_together():
    """Each has its part of it."""
    async with Together(", retry: {min_per_second: 10}") as gateways:
        await gateways.gathered()
        left = [each.gateway.view.tokens_of(each.gateway.plane.upstreams["orders"]) for each in gateways.workers]
        head = gateways.parent.view.service("orders")
        assert head is not None
        assert head["retry_budget"]["available"] == sum(left)


async def test_a_hedge_waits_for_the_mean_of_what_workers_wait_for():
    """Nothing is said while none of them knows."""
    async with Together(", hedge: {after: p95}") as gateways:
        await gateways.gathered()
        head = gateways.parent.view.service("orders")
        assert head is not None
        assert head["hedge"]["after_ms"] is None
        gateways.parts.merging.patience_s["orders"] = {0: 0.1, 1: 0.3}
        head = gateways.parent.view.service("orders")
        assert head["hedge"]["after_ms"] == 200


async def test_an_order_reaches_all_workers_and_is_answered_with_the_instance():
    """Names that fit nobody, or several, reach none."""
    async with Together(text=TWO) as gateways:
        done = gateways.parent.view.act("orders", "127.0.0.1:2", Command(verb="drain", by="ops"))
        assert not isinstance(done, list)
        assert (done["id"], done["state"]) == ("127.0.0.1:2", "draining")
        assert gateways.states(1) == ["draining"] * 3
        before = len(gateways.told)
        assert gateways.parent.view.act("orders", "nobody", Command(verb="drain", by="ops")) == []
        assert len(gateways.told) == before


async def test_a_store_is_down_as_soon_as_one_worker_says_so():
    """And authorities are as whoever has fared worst says."""
    async with Together() as gateways:
        await gateways.gathered()
        assert (gateways.parent.view.redis(), gateways.parent.view.authorities()) == (None, {})
        gauges = gateways.parts.merging.gauges
        for worker, state in ((0, "up"), (1, "down")):
            gauges[worker]["asked"]["redis"] = {"state": state}
        assert gateways.parent.view.redis() == {"state": "down"}
        gauges[1]["asked"]["redis"] = {"state": "up"}
        assert gateways.parent.view.redis() == {"state": "up"}

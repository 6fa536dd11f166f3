"""The numbers of all workers in the parent's."""

from __future__ import annotations

from lbgateway.workers.merging import SumEndpoint
from tests.lbgateway.workers.test_tally import serves
from tests.support.worker_gateways import Together


async def test_what_all_have_counted_is_added_up():
    """Requests, failures, latencies and reasons; told again nothing is counted twice."""
    async with Together() as gateways:
        serves(gateways.workers[0], 3, failed=1)
        serves(gateways.workers[1], 5, failed=2)
        for _ in range(2):
            await gateways.gathered()
        metrics, upstream = gateways.parent.plane.metrics, gateways.parent.plane.upstreams["orders"]
        [endpoint, _] = gateways.everybody()[0]
        assert (upstream.requests_total, upstream.tried_total, upstream.failures_total, upstream.duration.count) == (8, 8, 3, 8)
        assert (endpoint.series.total, endpoint.series.failures, sum(endpoint.series.window())) == (8, 3, 8)
        assert dict(metrics.route("/api/{service}", "orders").requests) == {("GET", 502): 3, ("GET", 200): 5}
        assert (dict(metrics.retries), metrics.connections_accepted) == ({("orders", "connect_failed"): 3}, 2)
        assert endpoint.series.last_error == "connect_failed: refused"


async def test_what_a_worker_has_told_stays_when_it_is_gone():
    """Counters never go backwards; what it had open is gone with it."""
    async with Together() as gateways:
        half = gateways.workers[0]
        serves(half, 3)
        half.endpoints()[0].pool.active = 2
        await gateways.gathered()
        [endpoint, _] = gateways.everybody()[0]
        assert endpoint.connections() == (0, 2)
        gateways.parts.merging.forget(0)
        assert (endpoint.connections(), endpoint.series.total) == ((0, 0), 3)
        assert list(gateways.parts.merging.gauges) == [1]
        half.endpoints()[0].pool.active = 0


async def test_what_runs_is_read_off_the_board():
    """At this moment, without asking anybody."""
    async with Together() as gateways:
        for worker, count in enumerate((2, 3)):
            gateways.workers[worker].endpoints()[0].active += count
        assert [each.active for each in gateways.everybody()[0]] == [5, 0]
        gateways.workers[0].endpoints()[0].active -= 2
        assert [each.active for each in gateways.everybody()[0]] == [3, 0]


async def test_requests_of_the_parent_s_own_are_counted_beside_those_of_workers():
    """One more is one more, whatever the others do meanwhile."""
    async with Together() as gateways:
        [endpoint, _] = gateways.everybody()[0]
        gateways.workers[0].endpoints()[0].active += 2
        endpoint.active += 1
        gateways.workers[0].endpoints()[0].active += 4
        assert endpoint.active == 7
        endpoint.active -= 1
        assert endpoint.active == 6


async def test_a_limit_that_the_parent_finds_out_is_told_on_the_board():
    """All workers read it with their next request."""
    async with Together() as gateways:
        [endpoint, _] = gateways.everybody()[0]
        endpoint.most_active = 3.0
        first = gateways.workers[0].endpoints()[0]
        gateways.workers[1].endpoints()[0].active += 2
        assert (endpoint.most_active, first.most_active) == (3.0, 1.0)


async def test_what_is_told_of_an_instance_that_has_left_is_ignored():
    """Its number may be somebody else's later: the owner is looked up, not guessed."""
    async with Together() as gateways:
        merging, upstream = gateways.parts.merging, gateways.parent.plane.upstreams["orders"]
        assert isinstance(merging.endpoint(upstream, gateways.workers[0].endpoints()[0].number), SumEndpoint)
        assert merging.endpoint(upstream, 999) is None
        serves(gateways.workers[0], 1)
        gateways.parent.plane.upstreams.clear()
        await gateways.gathered()
        gateways.parent.plane.upstreams["orders"] = upstream
        assert upstream.requests_total == 0

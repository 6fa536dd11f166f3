"""How much a worker's numbers have grown since it told of them last."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lbgateway.dataplane.history import Candidate, Pick
from lbgateway.workers.tally import grown
from tests.support.worker_gateways import Together, WorkerHalf

COUNTS = st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 9), max_size=3), max_size=8)


@given(COUNTS)
def test_growths_add_up_to_what_was_counted(steps):
    """Whenever it is asked for."""
    now: dict[str, int] = {}
    told: dict[str, int] = {}
    total: dict[str, int] = {}
    for more in steps:
        for key, count in more.items():
            now[key] = now.get(key, 0) + count
        for key, count in grown(now, told).items():
            total[key] = total.get(key, 0) + count
    assert total == {key: count for key, count in now.items() if count}
    assert grown(now, told) == {}


def test_a_counter_that_has_begun_anew_has_grown_by_what_it_is():
    """Nothing ever shrinks."""
    assert grown({"a": 3}, {"a": 10}) == {"a": 3}


def serves(half: WorkerHalf, count: int, *, failed: int = 0) -> None:
    """So many requests to the first instance, as their exchanges would count them."""
    upstream, endpoint, metrics = half.gateway.plane.upstreams["orders"], half.endpoints()[0], half.gateway.plane.metrics
    for number in range(count):
        upstream.requests_total += 1
        upstream.duration.fresh.append(0.02)
        endpoint.series.answered.append(0.02)
        route = metrics.route("/api/{service}", "orders")
        route.fresh.append(("GET", 502 if number < failed else 200))
        route.duration.fresh.append(0.02)
    endpoint.series.failures += failed
    upstream.failures_total += failed
    endpoint.series.last_error = "connect_failed: refused" if failed else None
    metrics.connections_accepted += 1
    metrics.retries["orders", "connect_failed"] += failed


async def test_a_report_tells_what_is_new_and_only_that():
    """Requests by route and instance, latencies, errors; the next one has nothing of it."""
    async with Together() as gateways:
        half = gateways.workers[0]
        half.tally.report()
        serves(half, 3, failed=1)
        report = half.tally.report()
        [[route, service, requests, buckets, seconds]] = report["routes"]
        assert (route, service, requests) == ("/api/{service}", "orders", [[("GET", 502), 1], [("GET", 200), 2]])
        assert (sum(count for _, count in buckets), round(seconds, 3)) == (3, 0.06)
        [[name, [total, tried, failures], _, _, endpoints, _]] = report["services"]
        assert (name, total, tried, failures) == ("orders", 3, 3, 1)
        [told] = endpoints
        assert (told["outcomes"], told["growth"][0], told["last_error"]) == ({"ok": 3}, 1, "connect_failed: refused")
        assert (report["accepted"], report["counters"]["retries"]) == (1, [[("orders", "connect_failed"), 1]])

        again = half.tally.report()
        assert (again["routes"], again["accepted"], again["counters"]["retries"]) == ([], 0, [])
        assert again["services"][0][4] == []
        assert half.tally.report(whole=False)["services"] == []


async def test_latencies_survive_the_rotation_of_their_window():
    """Every half minute it is thrown away; what had come since the last report is told all the same."""
    async with Together() as gateways:
        half = gateways.workers[0]
        half.tally.report()
        serves(half, 2)
        half.tally.report()
        serves(half, 3)
        half.endpoints()[0].series.rotate()
        serves(half, 4)
        [[*_, endpoints, _]] = half.tally.report()["services"]
        assert sum(count for _, count in endpoints[0]["buckets"]) == 7


async def test_picks_are_told_once():
    """The twenty last ones of an instance are put together from what all workers have recorded."""
    async with Together() as gateways:
        half = gateways.workers[0]
        half.tally.report()
        candidates = (Candidate("127.0.0.1:1", "", 0.5, 3), Candidate("127.0.0.1:2", "", None, 0))
        half.endpoints()[0].remembers().picks.append(Pick(10.0, "lowest", 2, candidates))
        told = [each["picks"] for service in half.tally.report()["services"] for each in service[4]]
        assert told == [[[10.0, "lowest", 2, candidates]]]
        assert [each["picks"] for service in half.tally.report()["services"] for each in service[4]] == []

"""What is limited is limited over all workers: rates, requests at once, the waiting line, trials; and what one finds counts for all."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections import Counter
from typing import Any

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.upstream_server import Connection, Received, UpstreamThread, answer
from tests.support.workers import asked, children, config_of, instances, kept_connections, quick, running, samples

CLIENTS = 12


class Crowded:
    """Answers after `seconds`, and notes the most requests that it has had at once."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.now = self.most = 0
        self.failing = False

    async def __call__(self, _: Received, connection: Connection) -> bool:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self.seconds)
        self.now -= 1
        await connection.send(answer(b"no", status="500 Internal Server Error") if self.failing else answer(b"served"))
        return True


def everybody(gateway: GatewayProcess, times: int, path: str = "/api/orders/", clients: int = CLIENTS) -> Counter[int]:
    """Statuses of `times` requests over each of `clients` kept connections, all at the same time."""
    with kept_connections(gateway, clients) as connections, concurrent.futures.ThreadPoolExecutor(clients) as pool:
        together = threading.Barrier(clients)

        def one(connection: Any) -> list[int]:
            together.wait(10)
            return [asked(connection, path)[0] for _ in range(times)]

        return Counter(status for statuses in pool.map(one, connections) for status in statuses)


def test_a_limit_of_requests_is_one_over_all_workers():
    """To the request, however they are dealt out; a limit that is left as it is by a reload, or by a worker's death, forgets nobody."""
    with UpstreamThread(quick) as upstream:
        config = config_of([upstream], rate_limit={"default": {"requests": 100, "per": "1h"}})
        with running(config) as gateway:
            statuses = everybody(gateway, 20)
            assert statuses == {200: 100, 429: CLIENTS * 20 - 100}
            assert sum(samples(gateway, "lbgateway_rate_limited_total").values()) == CLIENTS * 20 - 100
            gateway.reload(config)
            wait_until(lambda: "reloaded" in gateway.log(), 10, gateway.story)
            assert everybody(gateway, 2) == {429: CLIENTS * 2}
            gateway.reload({**config, "rate_limit": {"default": {"requests": 10, "per": "1h"}}})
            wait_until(lambda: gateway.get("/api/orders/")[0] == 200, 10, gateway.story)


def test_max_active_is_never_exceeded_by_all_workers_together():
    """Under a crowd of which each worker has a part: the instance never sees more, and always has something to do."""
    handler = Crowded(0.01)
    with UpstreamThread(handler) as upstream:
        config = config_of([upstream])
        config["services"]["orders"] |= {"limits": {"max_active": 3}, "retry": {"attempts": 0}}
        with running(config) as gateway:
            statuses = everybody(gateway, 60)
            assert handler.most == 3
            assert set(statuses) == {200, 503}
            assert statuses[200] >= 15


def test_max_active_one_serves_whoever_comes_one_after_the_other():
    """No worker is left without a place because another one has had it."""
    with UpstreamThread(quick) as upstream:
        config = config_of([upstream])
        config["services"]["orders"] |= {"limits": {"max_active": 1}}
        with running(config) as gateway, kept_connections(gateway, 6) as connections:
            for _ in range(20):
                for connection in connections:
                    assert asked(connection, "/api/orders/")[0] == 200


def test_the_line_is_one_over_all_workers_and_nobody_starves_in_it():
    """With room for all to wait all are served, by two instances that take two at once each; one too many is turned away."""
    handler = Crowded(0.02)
    with UpstreamThread(handler) as upstream:
        config = config_of([upstream])
        config["services"]["orders"] |= {"limits": {"max_active": 2, "max_pending": CLIENTS}}
        with running(config) as gateway:
            began_s = time.monotonic()
            assert everybody(gateway, 10) == {200: CLIENTS * 10}
            assert handler.most == 2
            assert time.monotonic() - began_s < 15
    handler = Crowded(0.3)
    with UpstreamThread(handler) as upstream:
        config["services"]["orders"] |= {"instances": [upstream.address], "limits": {"max_active": 2, "max_pending": 4}}
        with running(config) as gateway:
            statuses = everybody(gateway, 1)
            assert handler.most == 2
            assert 6 <= statuses[200] <= 8, statuses  # two at once, four who wait, and at most one more of each worker


def test_an_ejection_and_the_return_hold_in_all_workers():
    """Five failures in a row that one worker has seen take the instance out everywhere; one good trial brings it back everywhere."""
    bad, good = Crowded(0.0), Crowded(0.0)
    bad.failing = True
    with UpstreamThread(bad) as failing, UpstreamThread(good) as well:
        config = config_of([failing, well])
        config["services"]["orders"] |= {"outlier": {"eject_for": "2s", "success_rate": False}}
        with running(config) as gateway, kept_connections(gateway, 8) as connections:
            first = connections[0]
            for _ in range(12):
                assert asked(first, "/api/orders/")[0] == 200
            wait_until(lambda: instances(gateway)[failing.address]["state"] == "ejected", 5, gateway.story)
            before = len(failing.requests)
            for connection in connections:
                for _ in range(4):
                    assert asked(connection, "/api/orders/")[0] == 200
            assert len(failing.requests) == before
            bad.failing = False
            deadline_s = time.monotonic() + 20
            while instances(gateway)[failing.address]["state"] != "ready":
                assert asked(connections[1], "/api/orders/")[0] == 200
                assert time.monotonic() < deadline_s
                time.sleep(0.05)
            before = len(failing.requests)
            for connection in connections:
                assert asked(connection, "/api/orders/")[0] == 200
                assert asked(connection, "/api/orders/")[0] == 200
            assert len(failing.requests) - before == len(connections)
            told = gateway.json(f"/admin/upstreams/orders/explain?instance={failing.address}")["instances"][0]
            assert [change["to"] for change in told["changes"]][:2] == ["ready", "ejected"]
            assert told["ejections_total"] == 1
            assert sum(each["event"] == "instance ejected" for each in gateway.events()) == 1


def test_a_breaker_that_one_worker_opens_is_open_in_all_and_in_those_that_come():
    """Also in a worker that is started while it is open."""
    import os
    import signal

    handler = Crowded(0.0)
    handler.failing = True
    with UpstreamThread(handler) as upstream:
        config = config_of([upstream])
        config["services"]["orders"] |= {"breaker": {"min_requests": 10, "open_for": "60s"}, "outlier": None, "retry": {"attempts": 0}}
        with running(config) as gateway, kept_connections(gateway, 8) as connections:
            for _ in range(30):
                asked(connections[0], "/api/orders/")
            wait_until(lambda: gateway.json("/admin/upstreams/orders")["breaker"]["state"] == "open", 5, gateway.story)
            before = len(upstream.requests)
            assert {asked(connection, "/api/orders/")[0] for connection in connections} == {503}
            assert samples(gateway, "lbgateway_breaker_state")['{service="orders",state="open"}'] == 1.0
            old = children(gateway.pid)
            os.kill(old[0], signal.SIGTERM)
            wait_until(lambda: old[0] not in children(gateway.pid) and len(children(gateway.pid)) == 2, 20, gateway.story)
            wait_until(lambda: sum(each["event"] == "a worker serves" for each in gateway.events()) == 3, 20, gateway.story)
            assert everybody(gateway, 2) == {503: CLIENTS * 2}
            assert len(upstream.requests) == before


@pytest.mark.alone
def test_own_health_checks_are_made_once_and_count_for_all():
    """One check in each interval, not one by each worker; who fails it gets nothing from anybody, also from a worker that comes later."""
    import os
    import signal

    class Checked:
        def __init__(self) -> None:
            self.checks: list[float] = []
            self.well = True

        async def __call__(self, request: Received, connection: Connection) -> bool:
            if request.target == "/healthz":
                self.checks.append(time.monotonic())
                await connection.send(answer(b"", status="200 OK" if self.well else "503 Service Unavailable"))
                return True
            return await quick(request, connection)

    handler = Checked()
    with UpstreamThread(handler) as checked, UpstreamThread(quick) as other:
        config = config_of([checked, other])
        check = {"path": "/healthz", "interval": "500ms", "unhealthy_after": 1, "healthy_after": 1}
        config["services"]["orders"] |= {"health_check": check}
        with running(config) as gateway, kept_connections(gateway, 6) as connections:
            began_s, before = time.monotonic(), len(handler.checks)
            time.sleep(3)
            # At most one in nine tenths of the interval: two processes that check would make twice as many.
            assert 2 <= len(handler.checks) - before <= (time.monotonic() - began_s) / 0.45 + 1
            handler.well = False
            wait_until(lambda: instances(gateway)[checked.address]["state"] == "unhealthy", 5, gateway.story)
            gateway.get("/admin/upstreams")

            def served() -> int:
                before = len([each for each in checked.requests if each.target != "/healthz"])
                for connection in connections:
                    assert asked(connection, "/api/orders/")[0] == 200
                    assert asked(connection, "/api/orders/")[0] == 200
                return len([each for each in checked.requests if each.target != "/healthz"]) - before

            assert served() == 0
            old = children(gateway.pid)
            os.kill(old[0], signal.SIGTERM)
            wait_until(lambda: sum(each["event"] == "a worker serves" for each in gateway.events()) == 3, 20, gateway.story)
            assert everybody(gateway, 2) == {200: CLIENTS * 2}
            assert not [each for each in checked.requests[-5:] if each.target != "/healthz"]
            handler.well = True
            wait_until(lambda: instances(gateway)[checked.address]["state"] == "ready", 5, gateway.story)


def test_connections_of_clients_are_limited_over_all_workers():
    """`server.max_connections`, each worker its part: nearly so many are served, and not more."""
    with UpstreamThread(quick) as upstream, running(config_of([upstream], server={"max_connections": 20})) as gateway:
        with kept_connections(gateway, 40) as connections:
            statuses: Counter[int] = Counter()
            for connection in connections:
                try:
                    statuses[asked(connection, "/api/orders/")[0]] += 1
                except OSError:
                    statuses[0] += 1
        assert 14 <= statuses[200] <= 20, statuses

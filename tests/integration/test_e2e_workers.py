"""`server.workers`: several processes that are one gateway to clients and operators, whoever of them is asked."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.traffic import Traffic
from tests.support.upstream_server import Connection, Received, UpstreamServer, UpstreamThread, answer, echo
from tests.support.workers import (
    asked,
    children,
    config_of,
    connections_of,
    cpu_ticks,
    instances,
    kept_connections,
    quick,
    running,
    samples,
)


@pytest.fixture
def upstreams() -> Iterator[list[UpstreamServer]]:
    with UpstreamThread(quick) as one, UpstreamThread(quick) as other:
        yield [one, other]


@pytest.mark.alone
@pytest.mark.parametrize(("configured", "arguments", "workers"), [(2, (), 2), (1, ("--workers", "3"), 3)])
def test_the_children_are_exactly_the_workers_and_all_of_them_serve(upstreams, configured, arguments, workers):
    """Over the file and over the command line; connections are dealt out evenly, and a hundred requests leave a trace in each."""
    with running(config_of(upstreams, server={"workers": configured}), *arguments, workers=workers) as gateway:
        there = children(gateway.pid)
        assert len(there) == workers
        assert all(children(each) == [] for each in there)
        with kept_connections(gateway, 12 * workers) as connections:
            for connection in connections:
                assert asked(connection, "/api/orders/")[0] == 200
            held = [connections_of(each, gateway.port) for each in there]
            assert sum(held) == 12 * workers
            assert min(held) >= 4, held
            before = {each: cpu_ticks(each) for each in there}
            for _ in range(300):
                for connection in connections:
                    asked(connection, "/api/orders/")
            assert all(cpu_ticks(each) > before[each] for each in there)
        assert gateway.json("/admin/upstreams")["gateway"]["workers"] == workers
        assert gateway.stop() == 0


def test_one_worker_is_one_process(upstreams):
    """As ever: nothing is started beside it."""
    with GatewayProcess(config_of(upstreams, server={"workers": 1})) as gateway:
        assert children(gateway.pid) == []
        assert gateway.json("/admin/upstreams")["gateway"]["workers"] == 1


def test_every_worker_tells_the_same_merged_numbers(upstreams):
    """Counters are those of all requests that were sent, to whichever worker, as soon as they are answered; gauges add up."""
    with running(config_of(upstreams)) as gateway, kept_connections(gateway, 8) as connections:
        for _ in range(25):
            for connection in connections:
                assert asked(connection, "/api/orders/x")[0] == 200
                assert asked(connection, "/api/nobody/")[0] == 404
        for connection in connections:
            text = asked(connection, "/metrics")[1].decode()
            assert 'lbgateway_requests_total{method="GET",route="/api/{service}",service="orders",status="200"} 200.0' in text
            assert 'lbgateway_request_duration_seconds_count{route="/api/{service}",service="orders"} 200.0' in text
            assert 'lbgateway_errors_total{reason="no_route"} 200.0' in text
            assert text.count("lbgateway_build_info{") == 1
            told = json.loads(asked(connection, "/admin/upstreams/orders")[1])
            assert told["gateway"]["workers"] == 2
            assert sum(each["requests_total"] for each in told["instances"]) == 200
            assert all(each["latency_ewma_ms"] > 0 and each["latency_ms"]["p50"] for each in told["instances"])
            assert sum(each["connections"]["idle"] for each in told["instances"]) >= 2
        attempts = samples(gateway, "lbgateway_upstream_requests_total")
        assert sum(attempts.values()) == 200
        assert len(attempts) == 2
        assert samples(gateway, "lbgateway_upstream_duration_seconds_count") == {'{service="orders"}': 200.0}
        assert samples(gateway, "lbgateway_connections_accepted_total")[""] >= 8
        files = [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in (gateway.pid, *children(gateway.pid))]
        assert samples(gateway, "process_open_fds")[""] == pytest.approx(sum(files), abs=6)


def test_what_runs_is_counted_over_all_workers_and_picks_are_told_of_all(upstreams):
    """Requests under way, and the twenty last picks of an instance."""
    release = threading.Event()

    async def held(request: Received, connection: Connection) -> bool:
        if request.target == "/hold":
            await asyncio.to_thread(release.wait, 20)
        await connection.send(answer(b"held"))
        return True

    with UpstreamThread(held) as upstream, running(config_of([upstream])) as gateway, kept_connections(gateway, 6) as connections:
        for connection in connections:
            connection.request("GET", "/api/orders/hold")
        wait_until(lambda: instances(gateway)[upstream.address]["active_requests"] == 6, 10, gateway.story)
        assert samples(gateway, "lbgateway_upstream_active") == {f'{{endpoint="{upstream.address}",service="orders"}}': 6.0}
        assert samples(gateway, "lbgateway_requests_active")[""] == 6.0
        release.set()
        assert [connection.getresponse().read() for connection in connections] == [b"held"] * 6
        explained = gateway.json("/admin/upstreams/orders/explain")["instances"][0]
        assert len(explained["picks"]) >= 2
        assert [pick["at"] for pick in explained["picks"]] == sorted((pick["at"] for pick in explained["picks"]), reverse=True)
        assert instances(gateway)[upstream.address]["active_requests"] == 0


def test_what_operators_order_holds_in_every_worker_at_once(upstreams):
    """Whichever worker got it: after the answer none of them sends a request to who is drained; the same when it is taken back."""
    one, other = (each.address for each in upstreams)
    with running(config_of(upstreams)) as gateway, kept_connections(gateway, 8) as connections:
        for round_ in range(12):
            verb, back = (("drain", "undrain"), ("eject", "uneject"))[round_ % 2]
            assert asked(connections[round_ % 8], f"/admin/upstreams/orders/{one}/{verb}", "POST", "{}")[0] == 200
            before = len(upstreams[0].requests)
            for connection in connections:
                assert asked(connection, "/api/orders/")[0] == 200
            assert len(upstreams[0].requests) == before
            assert asked(connections[(round_ + 3) % 8], f"/admin/upstreams/orders/{one}/{back}", "POST", "{}")[0] == 200
            for connection in connections:
                assert asked(connection, "/api/orders/")[0] == 200
            assert len(upstreams[0].requests) > before
        counted = {labels: count for labels, count in samples(gateway, "lbgateway_ejections_total").items() if "operator" in labels}
        assert list(counted.values()) == [6.0]  # once each, however many workers obey
        assert asked(connections[0], f"/admin/upstreams/orders/{other}/weight", "POST", '{"weight": 0}')[0] == 200
        states = [json.loads(asked(each, "/admin/upstreams/orders")[1])["instances"] for each in connections]
        assert {(each["id"], each["state"]) for told in states for each in told} == {(one, "ready"), (other, "draining")}


def test_a_reload_holds_in_all_workers_or_in_none(upstreams):
    """A good file is in force everywhere; of a bad one nobody takes anything."""
    config = config_of(upstreams)
    with running(config) as gateway, kept_connections(gateway, 8) as connections:
        gateway.reload({**config, "routes": [{"prefix": "/v2/{service}", "strip_prefix": True}]})
        wait_until(lambda: any(each["event"] == "reloaded" for each in gateway.events()), 10, gateway.story)
        wait_until(lambda: all(asked(each, "/v2/orders/")[0] == 200 for each in connections), 5, gateway.story)
        assert {asked(each, "/api/orders/")[0] for each in connections} == {404}
        gateway.reload({**config, "servces": {}})
        wait_until(lambda: "servces: unknown key" in gateway.log(), 10, gateway.story)
        assert {asked(each, "/v2/orders/")[0] for each in connections} == {200}


def test_events_of_all_workers_come_over_whichever_is_asked(upstreams):
    """An operator's order, and the ejection that a worker has decided."""

    async def failing(_: Received, connection: Connection) -> bool:
        await connection.send(answer(b"no", status="500 Internal Server Error"))
        return True

    with UpstreamThread(failing) as bad, running(config_of([*upstreams, bad])) as gateway, kept_connections(gateway, 4) as connections:
        stream = connections.pop()
        stream.request("GET", "/admin/events?replay=0")
        events = stream.getresponse()
        for _ in range(30):
            for connection in connections:
                assert asked(connection, "/api/orders/")[0] == 200
        heard = b""
        while b"event: ejection" not in heard or bad.address.encode() not in heard:
            heard += events.readline()
        stream.close()
        state = instances(gateway)[bad.address]
        assert (state["state"], state["ejections_total"]) == ("ejected", 1)
        before = len(bad.requests)
        for connection in connections:
            for _ in range(10):
                assert asked(connection, "/api/orders/")[0] == 200
        assert len(bad.requests) - before <= 2 * 2  # a trial of each worker, maybe twice, and nothing else
        ejections = samples(gateway, "lbgateway_ejections_total")
        assert sum(count for labels, count in ejections.items() if bad.address in labels) >= 1


def test_health_tokens_cors_and_own_paths_are_as_in_one_process(upstreams):
    """Whoever answers: the policies are in the workers, what is known is in the parent."""
    import jwt

    secret = "a secret of thirty-two bytes or so"
    config = config_of(
        upstreams,
        auth={"jwt": {"algorithms": ["HS256"], "secret": secret, "required_claims": []}},
        cors={"allow_origins": ["https://app.example"]},
        admin={"allow_loopback": False, "token": "t" * 32},
    )
    with running(config) as gateway, kept_connections(gateway, 6) as connections:
        token = jwt.encode({"sub": "me", "scope": "admin"}, secret, "HS256")
        for connection in connections:
            assert asked(connection, "/api/orders/")[0] == 401
            assert asked(connection, "/admin/upstreams")[0] == 401
            headers = {"Authorization": f"Bearer {token}", "Origin": "https://app.example"}
            connection.request("GET", "/api/orders/", headers=headers)
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b"quick")
            assert response.headers["access-control-allow-origin"] == "https://app.example"
            connection.request("GET", "/admin/upstreams", headers=headers)
            response = connection.getresponse()
            assert (response.status, json.loads(response.read())["gateway"]["workers"]) == (200, 2)
            assert response.headers["x-request-id"]
            status, health = asked(connection, "/health")
            assert (status, json.loads(health)["status"], json.loads(health)["checks"]["services"]) == (
                200, "ok", {"orders": {"healthy": 2, "total": 2}},
            )  # fmt: skip
            assert asked(connection, "/health/ready")[0] == 200
        assert samples(gateway, "lbgateway_auth_failures_total")['{reason="missing"}'] == 6.0


def test_a_balanced_share_reaches_every_instance(upstreams):
    """Each worker takes turns by itself, so that all together stay even."""
    with running(config_of(upstreams)) as gateway, Traffic(gateway.port, "/api/orders/", clients=6) as traffic:
        wait_until(lambda: len(traffic.told) > 300, 20, gateway.story)
        traffic.stop()
        assert traffic.bad() == []
        counts = Counter({address: each["requests_total"] for address, each in instances(gateway).items()})
        assert min(counts.values()) > 0.4 * sum(counts.values())


def test_tunnels_go_through_a_worker_and_outlive_a_reload():
    """A WebSocket that one worker carries stays with it."""
    import websockets.asyncio.client
    import websockets.asyncio.server

    async def story() -> None:
        async def repeat(socket: Any) -> None:
            async for message in socket:
                await socket.send(message)

        async with websockets.asyncio.server.serve(repeat, "127.0.0.1", 0, compression=None) as server:
            address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            config = {**config_of([]), "services": {"orders": {"instances": [address]}}}
            with running(config) as gateway:
                uri = f"ws://127.0.0.1:{gateway.port}/api/orders/"
                async with websockets.asyncio.client.connect(uri) as one, websockets.asyncio.client.connect(uri) as two:
                    await asyncio.to_thread(gateway.reload, config)
                    await asyncio.to_thread(wait_until, lambda: "reloaded" in gateway.log(), 10, gateway.story)
                    for socket in (one, two):
                        await socket.send("still here")
                        assert await socket.recv() == "still here"

    asyncio.run(story())


def test_an_echo_of_everything_goes_both_ways():
    """Bodies up and down through each worker."""
    with UpstreamThread(echo) as upstream, running(config_of([upstream])) as gateway, kept_connections(gateway, 4) as connections:
        for connection in connections:
            status, body = asked(connection, "/api/orders/x", "POST", "b" * 100_000)
            assert (status, json.loads(body)["method"]) == (200, "POST")

"""Scenarios 17, 18, 19, 20, 21 and 24: what becomes of instances that Consul tells the truth about, under steady load."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from tests.support.consul_proxy import ConsulProxy
from tests.support.consul_server import ConsulServer
from tests.support.scenes import Scene, upstreams
from tests.support.traffic import Instance, Traffic
from tests.support.upstream_server import Connection, Received, UpstreamServer, UpstreamThread

NO_PICKS_AFTER_S = 0.05
"""After the moment at which Consul's answer woke the gateway."""
SLACK_S = 0.1
"""For a request to be on its way; a machine that stands still for longer adds the longest pause of all clients."""
CLOSED_AFTER_S = 0.5
"""From an instance's deregistration to its end."""
ORDERS = "/v1/health/service/orders"
LONG_S = 2.0


class Storyteller(Instance):
    """`/long` is told in twenty pieces over `LONG_S`; anything else at once."""

    async def __call__(self, request: Received, connection: Connection) -> bool:
        if request.target != "/long":
            return await super().__call__(request, connection)
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
        for _ in range(20):
            await asyncio.sleep(LONG_S / 20)
            await connection.send(b"x")
        return True


@pytest.fixture(scope="module")
def consul() -> Iterator[ConsulServer]:
    with ConsulServer() as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_registered(consul: ConsulServer) -> Iterator[None]:
    """At the end of a test, for the next one."""
    yield
    for id_ in consul.request("GET", "/v1/agent/services"):
        consul.deregister(id_)
    for node in consul.request("GET", "/v1/catalog/nodes"):
        if node["Node"] != consul.node:
            consul.request("PUT", "/v1/catalog/deregister", {"Node": node["Node"]})


@pytest.fixture
def proxy(consul: ConsulServer) -> Iterator[ConsulProxy]:
    """It hears when the gateway is woken."""
    with ConsulProxy(consul.port) as proxy:
        yield proxy


@pytest.fixture
def gateway(proxy: ConsulProxy) -> Iterator[Scene]:
    with Scene(proxy.url, services={"orders": {"balancer": "round_robin"}}) as process:
        yield process


class Listening(threading.Thread):
    """Clients that each listen to a long story; `told` is what they heard in the end."""

    def __init__(self, gateway: Scene) -> None:
        super().__init__(daemon=True)
        self.gateway = gateway
        self.told: tuple[int, bytes] | None = None
        self.start()

    def run(self) -> None:
        self.told = self.gateway.get("/api/orders/long", seconds=LONG_S + 10)


def listen_at(gateway: Scene, server: UpstreamServer) -> list[Listening]:
    """Long stories, one of which `server` tells."""
    listening = [Listening(gateway) for _ in range(6)]
    gateway.eventually(lambda: any(request.target == "/long" for request in server.requests))
    return listening


def all_heard(listening: list[Listening]) -> None:
    for each in listening:
        each.join(LONG_S + 10)
    assert [each.told for each in listening] == [(200, b"x" * 20)] * len(listening)


def late(server: UpstreamServer, woke_s: float, traffic: Traffic) -> list[float]:
    """Requests that came later than they may after a change of which the gateway learned at `woke_s`."""
    handler = server.handler
    assert isinstance(handler, Instance)
    told_s = sorted(told.at_s for told in traffic.told if told.at_s > woke_s)
    standstill_s = max((after_s - before_s for before_s, after_s in pairwise([woke_s, *told_s])), default=0.0)
    bound_s = woke_s + NO_PICKS_AFTER_S + SLACK_S + standstill_s
    return [arrived_s - woke_s for arrived_s in handler.arrivals_s if arrived_s > bound_s]


def test_scenario_17_one_of_three_is_deregistered(consul, proxy, gateway):
    """No new requests from then on; what it was telling is told to its end, and then its connections are closed and its series gone."""
    with upstreams(3, Storyteller) as orders:
        ids = [consul.register("orders", each.port) for each in orders]
        gateway.all_ready(3)
        leaving = orders[1]
        with Traffic(gateway.port, "/api/orders/") as traffic:
            listening = listen_at(gateway, leaving)
            asked_s = time.monotonic()
            consul.deregister(ids[1])
            gateway.eventually(lambda: gateway.states() == {ids[0]: "ready", ids[1]: "gone", ids[2]: "ready"}, LONG_S / 2)
            assert gateway.sockets(leaving.port) > 0
            all_heard(listening)
            gateway.all_ready(2)
            gateway.eventually(lambda: gateway.sockets(leaving.port) == 0)
            time.sleep(0.2)
        assert traffic.bad() == []
        assert late(leaving, proxy.woke_s(ORDERS, asked_s), traffic) == []
        gateway.eventually(lambda: not [line for line in gateway.metrics() if f'"{ids[1]}"' in line])


def test_scenario_18_a_rolling_deploy_from_three_to_six_to_three(consul, gateway):
    """At 200 requests per second: all new ones on other ports come, then all old ones go, one at a time, and are closed soon after."""
    with upstreams(3) as new, contextlib.ExitStack() as stack:
        old = [stack.enter_context(contextlib.ExitStack()) for _ in range(3)]
        ids = [consul.register("orders", each.enter_context(UpstreamThread(Instance("old"))).port) for each in old]
        gateway.all_ready(3)
        with Traffic(gateway.port, "/api/orders/", clients=4, pause_s=0.016) as traffic:
            for each in new:
                consul.register("orders", each.port)
            gateway.all_ready(6)
            for id_, server in zip(ids, old, strict=True):
                consul.deregister(id_)
                time.sleep(CLOSED_AFTER_S)
                server.close()
            gateway.all_ready(3)
            gateway.eventually(lambda: {told.body for told in traffic.told[-12:]} == {b"0", b"1", b"2"})
        assert traffic.bad() == []
        assert set(gateway.states()) == {f"orders-{each.port}" for each in new}
        gateway.eventually(lambda: not [line for line in gateway.metrics() if any(f'"{id_}"' in line for id_ in ids)])


def check(consul: ConsulServer, id_: str, word: str, note: str = "") -> None:
    """Consul's `pass`, `warn` or `fail` for the check of an instance."""
    consul.request("PUT", f"/v1/agent/check/{word}/service:{id_}?note={note}")


def checked(consul: ConsulServer, server: UpstreamServer) -> str:
    return consul.register("orders", server.port, Check={"TTL": "60s", "Status": "passing"})


@pytest.mark.parametrize(("passing_only", "meanwhile"), [(True, 503), (False, 200)])
def test_scenario_19_all_instances_are_critical(consul, passing_only, meanwhile):
    """503 with the reason, in the gateway's own words, or, if the operator wishes so, answers; and at once as before when they recover."""
    with upstreams(2) as orders, ConsulProxy(consul.port) as proxy, Scene(proxy.url, consul={"passing_only": passing_only}) as gateway:
        ids = [checked(consul, each) for each in orders]
        gateway.all_ready(2)
        with Traffic(gateway.port, "/api/orders/") as traffic:
            for id_ in ids:
                check(consul, id_, "fail", "broken")
            gateway.eventually(lambda: [each["consul_status"] for each in gateway.instances()] == ["critical"] * 2)
            gateway.eventually(lambda: {told.outcome for told in traffic.told[-8:]} == {meanwhile})
            problem = gateway.json("/api/orders/") if passing_only else {}
            explained = gateway.json("/admin/upstreams/orders/explain")["instances"]
            for id_ in ids:
                recovered_s = time.monotonic()
                check(consul, id_, "pass")
            gateway.all_ready(2)
        woke_s = proxy.woke_s(ORDERS, recovered_s)
        late_refusals = [told for told in traffic.bad() if told.at_s > woke_s + CLOSED_AFTER_S]
        assert (late_refusals, traffic.bad((200, meanwhile))) == ([], [])
        if passing_only:
            assert problem["type"].endswith("no_endpoint")
            assert all("broken" in str(each["reason"]) for each in explained)


def test_scenario_20_a_check_flaps(consul, gateway):
    """After six changes its worse state is held; the others have their requests all the time, and the log has one line of it."""
    with upstreams(3) as orders:
        ids = [checked(consul, each) for each in orders]
        gateway.all_ready(3)
        with Traffic(gateway.port, "/api/orders/") as traffic:
            for turn in range(8):
                check(consul, ids[0], "pass" if turn % 2 else "fail")
                wanted = "ready" if turn % 2 and turn < 6 else "critical"
                gateway.eventually(lambda wanted=wanted: gateway.states()[ids[0]] == wanted, 3)
            held_s = time.monotonic()
            gateway.eventually(lambda: gateway.states()[ids[0]] == "critical")
            for turn in range(10):
                check(consul, ids[0], "pass" if turn % 2 else "fail")
                time.sleep(0.1)
                assert list(gateway.states().values()).count("ready") == 2
        assert traffic.bad() == []
        assert late(orders[0], held_s, traffic) == []
        [shown] = [each for each in gateway.instances() if each["id"] == ids[0]]
        assert "flapping: 7 changes within a minute" in shown["reason"]
        assert len([event for event in gateway.events() if event["level"] == "warning" and "changes its state" in event["event"]]) == 1


def maintenance(consul: ConsulServer, what: str, *, on: bool) -> None:
    consul.request("PUT", f"/v1/agent/{what}?enable={'true' if on else 'false'}&reason=kernel")


def test_scenario_21_maintenance_of_an_instance_and_of_a_node(consul, proxy, gateway):
    """Within 50 ms no new requests, and what is being told is told to its end; an operator's word counts for a whole node, too."""
    entry: dict[str, Any] = {"Node": "elsewhere", "Address": "127.0.0.1"}
    with upstreams(3, Storyteller) as orders:
        ids = [consul.register("orders", each.port) for each in orders[:2]]
        service = {"ID": "far", "Service": "orders", "Address": "127.0.0.1", "Port": orders[2].port, "Tags": ["lbgateway.enable=true"]}
        consul.request("PUT", "/v1/catalog/register", {**entry, "Service": service})
        gateway.all_ready(3)
        with Traffic(gateway.port, "/api/orders/") as traffic:
            listening = listen_at(gateway, orders[0])
            one_s = time.monotonic()
            maintenance(consul, f"service/maintenance/{ids[0]}", on=True)
            gateway.eventually(lambda: gateway.states()[ids[0]] == "maintenance")
            [shown] = [each for each in gateway.instances() if each["id"] == ids[0]]
            assert "kernel" in shown["reason"]
            all_heard(listening)
            assert late(orders[0], proxy.woke_s(ORDERS, one_s), traffic) == []
            maintenance(consul, f"service/maintenance/{ids[0]}", on=False)
            gateway.all_ready(3)
            node_s = time.monotonic()
            maintenance(consul, "maintenance", on=True)
            gateway.eventually(lambda: gateway.states() == {ids[0]: "maintenance", ids[1]: "maintenance", "far": "ready"})
            woke_s = proxy.woke_s(ORDERS, node_s)
            time.sleep(CLOSED_AFTER_S)
            assert [late(each, woke_s, traffic) for each in orders[:2]] == [[], []]
            maintenance(consul, "maintenance", on=False)
            gateway.all_ready(3)
        assert traffic.bad() == []


def test_scenario_24_ids_and_addresses_are_not_the_same_thing(consul, gateway):
    """One id on two nodes, two ids at one address, and an id that moves: each endpoint is what it is, and no request fails."""
    with upstreams(3) as orders:
        ports = [each.port for each in orders]

        def write(node: str, id_: str, port: int, status: str = "passing") -> None:
            service = {"ID": id_, "Service": "orders", "Address": "127.0.0.1", "Port": port, "Tags": ["lbgateway.enable=true"]}
            check = {"Node": node, "CheckID": f"service:{id_}", "Name": "check", "Status": status, "ServiceID": id_}
            body = {"Node": node, "Address": "127.0.0.1", "Service": service, "Check": check}
            consul.request("PUT", "/v1/catalog/register", body)

        def shown() -> list[tuple[str, str, int, str]]:
            return sorted((each["node"], each["id"], each["port"], each["state"]) for each in gateway.instances())

        write("a", "dup", ports[0])
        write("b", "dup", ports[1])
        write("b", "twin", ports[1])
        three = [("a", "dup", ports[0], "ready"), ("b", "dup", ports[1], "ready"), ("b", "twin", ports[1], "ready")]
        gateway.eventually(lambda: shown() == three)
        with Traffic(gateway.port, "/api/orders/") as traffic:
            gateway.eventually(lambda: {told.body for told in traffic.told} == {b"0", b"1"})
            write("b", "dup", ports[1], "critical")
            gateway.eventually(lambda: shown()[1] == ("b", "dup", ports[1], "critical"))
            seen = len(traffic.told)
            gateway.eventually(lambda: {told.body for told in traffic.told[seen:]} == {b"0", b"1"})
            write("a", "dup", ports[2])
            gateway.eventually(lambda: shown()[0] == ("a", "dup", ports[2], "ready"))
            moved_s = time.monotonic()
            gateway.eventually(lambda: {told.body for told in traffic.told[-12:]} == {b"1", b"2"})
            assert late(orders[0], moved_s, traffic) == []
        assert traffic.bad() == []

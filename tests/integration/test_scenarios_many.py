"""Scenarios 12 and 23: an agent without a connection to spare, and hundreds of services; a gateway process over a real Consul,
under steady load."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Self

import pytest

from discovery.budget import SOCKETS
from tests.integration.test_consul_scale import Agent, burst
from tests.support.consul_server import ConsulServer
from tests.support.scenes import Scene, upstreams
from tests.support.traffic import Traffic

WAIT_S = 20
"""Longer than the whole test: what is given up lingers to its end."""
LIMIT = 60
FEW = 25
"""Services; twice as many blocking reads, and the agent has no connection left."""
LINES = 6
MANY = 300
OURS = 6
"""Connections of the test itself."""


class Counting(threading.Thread):
    """The most connections to the agent that the gateway has at any time."""

    def __init__(self, gateway: Scene, port: int) -> None:
        super().__init__(daemon=True)
        self.gateway, self.port = gateway, port
        self.most = 0
        self._ends = threading.Event()

    def run(self) -> None:
        while not self._ends.wait(0.02):
            self.most = max(self.most, self.gateway.sockets(self.port))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self.join()


@pytest.fixture
def port() -> Iterator[int]:
    with upstreams(1) as [server]:
        yield server.port


def test_scenario_12_three_restarts_within_the_wait(port):
    """An agent that still counts the reads of the gateways before: each new one serves, the last one sweeps, and changes are seen."""
    with ConsulServer(hcl=f"limits {{ http_max_conns_per_client = {LIMIT} }}") as consul:
        consul.register("orders", port)
        for number in range(FEW):
            consul.register(f"s{number}", port)
        with Scene(consul.url, consul={"wait": f"{WAIT_S}s"}) as gateway:
            for turn in range(3):
                if turn:
                    gateway.start()
                gateway.eventually(lambda: gateway.get("/api/orders/")[0] == 200)
                time.sleep(1)  # until all of its reads block
                gateway.kill()
            gateway.start()
            with Counting(gateway, consul.port) as sockets:
                gateway.eventually(lambda: len(known(gateway)) == FEW + 1, 20)
                with Traffic(gateway.port, "/api/orders/", clients=2) as traffic:
                    gateway.eventually(lambda: "lbgateway_discovery_swept 1.0" in gateway.metrics(), 15)
                    assert [name for name, count in known(gateway).items() if count != 1] == []
                    time.sleep(2)
                assert traffic.bad() == []
            assert sockets.most <= SOCKETS
            # Of four lives; one line of an outage, however many watches it concerns and however often.
            assert len([event for event in gateway.events() if "Consul cannot be read" in event["event"]]) <= LINES


def test_scenario_23_a_burst_of_registrations_into_hundreds_of_services(port):
    """200 in four seconds: all are known a moment later, requests go on as before, and the agent never has a connection too many."""
    services = [f"s{number}" for number in range(MANY)]
    with ConsulServer(hcl=f"limits {{ http_max_conns_per_client = {SOCKETS + OURS} }}") as consul:
        with Agent(consul.url) as agent:
            agent.fill(services, 3)
        consul.register("orders", port)
        with Scene(consul.url, consul={"expose": "all"}) as gateway:
            gateway.eventually(lambda: sum(known(gateway).values()) == 3 * MANY + 1, 30)
            with Counting(gateway, consul.port) as sockets, Traffic(gateway.port, "/api/orders/", clients=2) as traffic:
                written = burst(consul.url, services, 1000, checked=True, seconds=4.0)
                gateway.eventually(lambda: sum(known(gateway).values()) == 3 * MANY + 1 + len(written), 20)
            assert traffic.bad() == []
            assert sockets.most <= SOCKETS
            assert gateway.errors() == {}


def known(gateway: Scene) -> dict[str, int]:
    """How many instances each service has that may get requests."""
    time.sleep(0.3)  # a long list, which is not asked for in a circle
    services = json.loads(gateway.get("/admin/upstreams", seconds=20)[1])["services"]
    return {each["name"]: len([one for one in each["instances"] if one["state"] in ("ready", "suspect")]) for each in services}

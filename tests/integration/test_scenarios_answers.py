"""Scenarios 6, 7 and 22, and answers that are cut short: what a registry may say that makes no sense, under steady load.

A real Consul cannot be made to misbehave like this, so it is the embedded registry with its fault switch.
Entries that are odd but legal are a real Consul's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import faulty_registry as faults
from tests.support.consul_proxy import ConsulProxy
from tests.support.consul_server import ConsulServer
from tests.support.faulty_registry import FaultyRegistry, faulty_registry
from tests.support.registry_client import RegistryClient
from tests.support.scenes import Scene, upstreams
from tests.support.traffic import Traffic
from tests.support.upstream_server import UpstreamServer

BROKEN_S = 1.0
READS_AT_MOST = 50
"""In `BROKEN_S`, of two watches."""
OPEN = ["lbgateway.enable=true"]

Make = Callable[[FaultyRegistry], faults.Fault]


@pytest.fixture(scope="module")
def orders() -> Iterator[list[UpstreamServer]]:
    """Three instances; the third is the news."""
    with upstreams(3) as servers:
        yield servers


@pytest.fixture(scope="module")
def registry() -> Iterator[FaultyRegistry]:
    with faulty_registry(first_index=100) as registry:
        yield registry


@pytest.fixture(scope="module")
def proxy(registry: FaultyRegistry) -> Iterator[ConsulProxy]:
    with ConsulProxy(registry.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def gateway(proxy: ConsulProxy) -> Iterator[Scene]:
    """One for all faults: what one of them did to it, the next one would show."""
    with Scene(proxy.url, consul={"wait": "300ms"}) as process:
        yield process


@pytest.fixture
def client(registry: FaultyRegistry, gateway: Scene, orders: list[UpstreamServer]) -> Iterator[RegistryClient]:
    """Two of three are registered."""
    with RegistryClient(registry.url) as client:
        for each in orders[:2]:
            register(client, each.port)
        gateway.all_ready(2)
        yield client
        client.put(f"agent/service/deregister/orders-{orders[2].port}")
        gateway.all_ready(2)


def register(client: RegistryClient, port: int) -> None:
    client.register(Name="orders", ID=f"orders-{port}", Address="127.0.0.1", Port=port, Tags=OPEN)


@pytest.mark.parametrize(
    ("make", "state", "kind"),
    [
        pytest.param(lambda _: faults.index(lambda one: str(one - 50)), "fresh", "index_reset", id="6 index backwards"),
        pytest.param(lambda _: faults.index(lambda _: None), "fresh", "index_reset", id="7 no index"),
        pytest.param(lambda _: faults.index(lambda _: "0"), "fresh", "index_reset", id="7 index 0"),
        pytest.param(lambda _: faults.index(lambda _: "soon"), "fresh", "index_reset", id="7 index no number"),
        pytest.param(lambda _: faults.index(lambda _: str(2**64 - 1)), "fresh", "index_reset", id="7 index too high"),
        pytest.param(lambda _: faults.without_service, "fresh", "malformed_entry", id="22 an entry without Service"),
        pytest.param(lambda _: faults.truncated, "stale", "malformed", id="half of the JSON"),
        pytest.param(lambda _: faults.truncated_gzip, "stale", "malformed", id="half of the gzip"),
    ],
)
def test_scenarios_6_7_and_22_answers_that_make_no_sense(registry, gateway, client, orders, make, state, kind):
    """No failed request, nobody doubted, what is right in them is taken over; it is counted, and never a reason to hurry."""
    with Traffic(gateway.port, "/api/orders/", clients=2) as traffic:
        counted = gateway.errors().get(kind, 0)
        with registry.broken(make(registry)):
            asked = len(registry.asked)
            end_s = time.monotonic() + BROKEN_S
            told = [(gateway.discovery()["state"], *gateway.states().values()) for _ in iter(lambda: time.monotonic() > end_s, True)]
            assert len(registry.asked) - asked <= READS_AT_MOST
            assert gateway.errors().get(kind, 0) > counted
            assert told[-1] == (state, "ready", "ready")
            register(client, orders[2].port)
            if state == "fresh":
                gateway.all_ready(3)
        gateway.all_ready(3)
        gateway.fresh()
        assert {each for states in told for each in states[1:]} == {"ready"}
    assert traffic.bad() == []


def test_answers_that_end_in_their_middle(gateway, proxy, client, orders):
    """The connection closes before all was said that the head has promised: as if nothing had been said."""
    with Traffic(gateway.port, "/api/orders/", clients=2) as traffic:
        counted = gateway.errors().get("connection_lost", 0)
        proxy.at_most_bytes = 300
        gateway.eventually(lambda: gateway.errors().get("connection_lost", 0) > counted + 1)
        assert (gateway.discovery()["state"], *gateway.states().values()) == ("stale", "ready", "ready")
        proxy.at_most_bytes = None
        register(client, orders[2].port)
        gateway.all_ready(3)
        gateway.fresh()
    assert traffic.bad() == []


def odd(node: str, id_: str, port: int, **service: Any) -> dict[str, Any]:
    """An entry of the catalog, as an external program may write it."""
    return {"Node": node, "Address": "127.0.0.1", "Service": {"ID": id_, "Service": "orders", "Port": port, **service}}


def test_scenario_22_entries_that_are_odd_but_legal(consul_server: ConsulServer, orders: list[UpstreamServer]):
    """No address of its own, no tags, an IPv6 address, port 0: the node's address is taken, the last is left out, the others are served."""
    port, other, _ = (each.port for each in orders)
    entries = [
        odd("a", "sound", port, Address="127.0.0.1", Tags=OPEN),
        odd("b", "bare", other),
        odd("c", "six", port, Address="::1", Meta={"zone": "z"}),
        odd("d", "nowhere", 0, Address="127.0.0.1"),
    ]
    for entry in entries:
        consul_server.request("PUT", "/v1/catalog/register", entry)
    with Scene(consul_server.url) as gateway:
        gateway.eventually(lambda: len(gateway.states()) == 3)
        shown = {each["id"]: (each["address"], each["port"]) for each in gateway.instances()}
        assert shown == {"sound": ("127.0.0.1", port), "bare": ("127.0.0.1", other), "six": ("::1", port)}
        assert gateway.errors() == {"malformed_entry": 1}
        with Traffic(gateway.port, "/api/orders/", clients=2) as traffic:
            gateway.eventually(lambda: {told.body for told in traffic.told} == {b"0", b"1"})
            entry = odd("d", "nowhere", orders[2].port, Address="127.0.0.1")
            consul_server.request("PUT", "/v1/catalog/register", entry)
            gateway.eventually(lambda: {told.body for told in traffic.told} == {b"0", b"1", b"2"})
        assert traffic.bad() == []

"""Scenarios 3, 4, 5 and 11, and a load balancer that has no patience: what happens between a gateway and its agent, under steady load.

A proxy before a real Consul hears every read, so that it shows how the gateway asks, not only what it makes of the answers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.support.consul_proxy import GATEWAY_TIMEOUT, ConsulProxy
from tests.support.consul_server import ConsulServer
from tests.support.scenes import Scene, upstreams
from tests.support.traffic import Traffic
from tests.support.upstream_server import UpstreamServer

ORDERS = "/v1/health/service/orders"
READ_TIMEOUT_S = 10.0
"""What a read may take beyond its wait."""

WATCHES = 2
"""Of the catalog, and of the service."""
PLAIN_READS = 2
"""At once, at most: the first ones of both."""


@pytest.fixture
def orders() -> Iterator[list[UpstreamServer]]:
    """Three instances; what a test registers only in its middle is the news."""
    with upstreams(3) as servers:
        yield servers


def blocks(proxy: ConsulProxy, since_s: float = 0.0) -> bool:
    return any(asked.index for asked in proxy.reads(ORDERS, since_s))


def test_scenario_3_the_agent_is_killed_while_reads_block(persistent_consul, orders):
    """No request fails and no instance is doubted; the first read after it is plain, and blocking goes on from there."""
    with ConsulProxy(persistent_consul.port) as proxy, Scene(proxy.url) as gateway:
        for each in orders[:2]:
            persistent_consul.register("orders", each.port)
        gateway.all_ready(2)
        gateway.eventually(lambda: blocks(proxy))
        with Traffic(gateway.port, "/api/orders/") as traffic:
            killed_s = time.monotonic()
            persistent_consul.kill()
            gateway.eventually(lambda: gateway.discovery()["state"] == "stale")
            persistent_consul.restart()
            gateway.fresh()
            gateway.eventually(lambda: blocks(proxy, killed_s))
            assert set(gateway.states().values()) == {"ready"}
            persistent_consul.register("orders", orders[2].port)
            gateway.all_ready(3)
        assert traffic.bad() == []
        first = proxy.reads(ORDERS, killed_s)[0]
        assert first.index is None


def test_scenario_4_the_agent_leaves_in_good_order(persistent_consul, orders):
    """It answers blocked reads once more, with nothing new: nothing is told, and nobody asks in a circle."""
    with ConsulProxy(persistent_consul.port) as proxy, Scene(proxy.url) as gateway:
        for each in orders[:2]:
            persistent_consul.register("orders", each.port)
        gateway.all_ready(2)
        gateway.eventually(lambda: blocks(proxy))
        updates = updates_of(gateway)
        with Traffic(gateway.port, "/api/orders/") as traffic:
            terminated_s = time.monotonic()
            persistent_consul.terminate()
            gateway.eventually(lambda: gateway.discovery()["state"] == "stale")
            time.sleep(1)
            assert updates_of(gateway) == updates
            assert set(gateway.states().values()) == {"ready"}
            away_s = time.monotonic() - terminated_s
            assert len(proxy.reads(ORDERS, terminated_s)) <= 10 + 10 * away_s
            persistent_consul.start()
            gateway.fresh()
            persistent_consul.register("orders", orders[2].port)
            gateway.all_ready(3)
        assert traffic.bad() == []


def updates_of(gateway: Scene) -> list[str]:
    return [line for line in gateway.metrics() if line.startswith("lbgateway_discovery_updates_total")]


def test_scenario_5_the_registry_forgets_everything(consul_server, orders):
    """Its index is small again; a change is seen within two seconds, though the wait is thirty, and what is missing is only doubted."""
    kept, news, _ = orders
    for port in range(1, 40):
        consul_server.register("filler", port)  # for the index to be far beyond the new one
    with ConsulProxy(consul_server.port) as proxy, Scene(proxy.url) as gateway:
        consul_server.register("orders", kept.port)
        gateway.all_ready(1)
        gateway.eventually(lambda: blocks(proxy))
        before = int(proxy.reads(ORDERS)[-1].index or 0)
        with Traffic(gateway.port, "/api/orders/") as traffic:
            consul_server.restart(empty=True)
            gateway.eventually(lambda: gateway.states() == {f"orders-{kept.port}": "suspect"})
            began_s = time.monotonic()
            consul_server.register("orders", news.port)
            gateway.eventually(lambda: gateway.states() == {f"orders-{kept.port}": "suspect", f"orders-{news.port}": "ready"})
            assert time.monotonic() - began_s < 2
            gateway.eventually(lambda: {told.body for told in traffic.told[-8:]} == {b"1"})
            consul_server.register("orders", kept.port)
            gateway.all_ready(2)
        assert traffic.bad() == []
        gateway.eventually(lambda: 0 < int(proxy.reads(ORDERS)[-1].index or 0) < before)


def test_scenario_11_the_agent_takes_everything_and_says_nothing(consul_server, orders):
    """A half-open network before the first of two agents: the read times out, the other one is asked, and no connection is left behind."""
    with ConsulServer(node="other-node") as other, ConsulProxy(consul_server.port) as proxy:
        for server in (consul_server, other):
            server.register("orders", orders[0].port)
        # Two agents that know nothing of each other: instances of the other's node are others.
        with Scene([proxy.url, other.url], consul={"wait": "500ms", "empty_hold": "0s"}) as gateway:
            gateway.all_ready(1)
            with Traffic(gateway.port, "/api/orders/") as traffic:
                proxy.deaf = True
                deaf_s = time.monotonic()
                gateway.eventually(lambda: gateway.sockets(other.port) > 0, 2 * READ_TIMEOUT_S)
                assert time.monotonic() - deaf_s > 0.9 * READ_TIMEOUT_S
                gateway.fresh()
                other.register("orders", orders[1].port)
                gateway.all_ready(2)
                # Blocked reads are given up; what is left are idle connections of plain reads.
                gateway.eventually(lambda: gateway.sockets(proxy.port) <= PLAIN_READS)
            assert traffic.bad() == []
            assert gateway.sockets(other.port) <= WATCHES + PLAIN_READS
            assert len([event for event in gateway.events() if "another Consul agent is asked" in event["event"]]) == 1


@pytest.mark.parametrize("farewell", [b"", GATEWAY_TIMEOUT], ids=["cut", "504"])
def test_a_load_balancer_that_cuts_long_polls(consul_server, orders, farewell):
    """After 1.2 s instead of 30: told as stale twice, then reads end before they are cut, and changes are seen as ever."""
    with ConsulProxy(consul_server.port) as proxy, Scene(proxy.url) as gateway:
        proxy.patience_s, proxy.farewell = 1.2, farewell
        consul_server.register("orders", orders[0].port)
        gateway.all_ready(1)
        with Traffic(gateway.port, "/api/orders/") as traffic:
            # The watch of the catalog began before there was a proxy without patience.
            gateway.eventually(lambda: len([event for event in gateway.events() if "long polls are cut" in event["event"]]) == 2, 20)
            gateway.fresh()
            cuts, seen_s = proxy.cuts, time.monotonic()
            consul_server.register("orders", orders[1].port)
            gateway.all_ready(2, 1)
            time.sleep(2.5)
            assert (proxy.cuts, gateway.discovery()["state"]) == (cuts, "fresh")
        assert traffic.bad() == []
        gaps = [after.at_s - before.at_s for before, after in pairwise(proxy.reads(ORDERS, seen_s + 0.5))]
        assert min(gaps) > 0.5

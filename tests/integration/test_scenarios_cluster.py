"""Scenarios 8, 9 and 10: a cluster of three servers loses its leader, its quorum, and all of them, under steady load.

The gateway talks to a client agent, as it should. Raft is as fast as it goes (`raft_multiplier` 1), and `max_age` is seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.consul_cluster import ConsulCluster
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.traffic import Instance, Traffic, config_for
from tests.support.upstream_server import UpstreamServer, UpstreamThread

ELECTION_S = 4.0
"""As long as an election takes, and some more."""
NEWS_WITHIN_S = 15.0
"""From the return of a leader until a registration is served: the agent, too, has to find its way back."""


@pytest.fixture(scope="module")
def running_cluster() -> Iterator[ConsulCluster]:
    with ConsulCluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(running_cluster: ConsulCluster) -> Iterator[ConsulCluster]:
    """All alive at the beginning, and nothing registered but Consul itself."""
    running_cluster.heal()
    yield running_cluster
    running_cluster.heal()
    for id_ in running_cluster.agent.request("GET", "/v1/agent/services"):
        running_cluster.agent.deregister(id_)


@pytest.fixture
def upstreams() -> Iterator[list[UpstreamServer]]:
    """Three instances; the third is the news."""
    with UpstreamThread(Instance("one")) as one, UpstreamThread(Instance("two")) as two, UpstreamThread(Instance("three")) as three:
        yield [one, two, three]


def config(cluster: ConsulCluster, **discovery: Any) -> dict[str, Any]:
    return config_for(cluster.agent.url, logging={"access_log": False}, discovery={"consul": {"url": cluster.agent.url, **discovery}})


def discovery_of(gateway: GatewayProcess) -> dict[str, Any]:
    return dict(gateway.json("/admin/upstreams")["discovery"])


def states_of(gateway: GatewayProcess) -> list[str]:
    return [instance["state"] for instance in gateway.json("/admin/upstreams/orders").get("instances", ())]


def ready(gateway: GatewayProcess, count: int, seconds: float = 10) -> None:
    wait_until(lambda: states_of(gateway) == ["ready"] * count, seconds, lambda: f"{states_of(gateway)}\n{gateway.story()}")


def fresh(gateway: GatewayProcess) -> None:
    wait_until(lambda: discovery_of(gateway)["state"] == "fresh", NEWS_WITHIN_S, gateway.story)


def news_arrives(cluster: ConsulCluster, gateway: GatewayProcess, upstreams: list[UpstreamServer]) -> None:
    """A third instance, registered now, gets its share; the watch has survived."""
    cluster.agent.register("orders", upstreams[2].port)
    ready(gateway, 3, NEWS_WITHIN_S)
    fresh(gateway)


@pytest.fixture
def registered(cluster: ConsulCluster, upstreams: list[UpstreamServer]) -> list[UpstreamServer]:
    for upstream in upstreams[:2]:
        cluster.agent.register("orders", upstream.port)
    return upstreams


@pytest.mark.parametrize(("consistency", "seen"), [("stale", "fresh"), ("default", "stale")])
def test_scenario_8_the_leader_is_killed(cluster, registered, consistency, seen):
    """No failed request, no instance doubted for a moment; with a new leader news arrives, without a restart.

    Stale reads may go on meanwhile; others are answered with 500, and the state says so.
    """
    with GatewayProcess(config(cluster, consistency=consistency)) as gateway:
        ready(gateway, 2)
        with Traffic(gateway.port, "/api/orders/") as traffic:
            cluster.leader().kill()
            end_s = time.monotonic() + ELECTION_S
            told = [(discovery_of(gateway)["state"], states_of(gateway)) for _ in iter(lambda: time.monotonic() < end_s, False)]
            assert cluster.leader().running()
            news_arrives(cluster, gateway, registered)
        assert all(states == ["ready", "ready"] for _, states in told)
        assert seen in {state for state, _ in told}
        assert traffic.bad() == []
        assert gateway.get("/health/ready")[0] == 200


def test_scenario_9_the_quorum_is_lost(cluster, registered):
    """What the last server still tells is served and called stale, then expired; its age grows; with the quorum all is fresh again."""
    with GatewayProcess(config(cluster, max_age="4s", wait="1s")) as gateway:
        ready(gateway, 2)
        with Traffic(gateway.port, "/api/orders/") as traffic:
            for server in cluster.servers[:2]:
                server.kill()
            wait_until(lambda: discovery_of(gateway)["state"] == "stale", 15, gateway.story)
            wait_until(lambda: discovery_of(gateway)["state"] == "expired", 15, gateway.story)
            told = discovery_of(gateway)
            assert told["age_seconds"] >= 4
            assert told["last_error"] == "the cluster has no leader"
            assert gateway.json("/health")["status"] == "degraded"
            assert gateway.get("/health/ready")[0] == 200
            assert states_of(gateway) == ["ready", "ready"]
            # The state of all is the worst one; that of this service follows with its own last confirmation.
            expired = b'lbgateway_discovery_state{service="orders",state="expired"} 1'
            wait_until(lambda: expired in gateway.get("/metrics")[1], 5, gateway.story)
            cluster.heal()
            news_arrives(cluster, gateway, registered)
        assert traffic.bad() == []


def test_scenario_10_a_cold_start_while_all_servers_are_dead(cluster, registered):
    """The agent's cache is all there is: it is served, and called stale; fresh when the servers are back."""
    cluster.agent.restart()  # what it has cached of the outages before is out of date
    for path, count in (("health/service/orders", 2), ("catalog/services", 2)):
        # Somebody on this host has asked before.
        wait_until(lambda path=path, count=count: len(cluster.agent.request("GET", f"/v1/{path}?cached")) == count, 10, cluster.agent.log)
    for server in cluster.servers:
        server.kill()
    with GatewayProcess(config(cluster)) as gateway:
        wait_until(lambda: gateway.get("/api/orders/")[0] == 200, 5, gateway.story)
        assert discovery_of(gateway)["state"] == "stale"
        assert gateway.json("/health")["status"] == "degraded"
        assert gateway.get("/health/ready")[0] == 200
        with Traffic(gateway.port, "/api/orders/") as traffic:
            time.sleep(1)
            cluster.heal()
            news_arrives(cluster, gateway, registered)
        assert traffic.bad() == []

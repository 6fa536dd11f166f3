"""Scenario 16: the agent of the node that all instances of a service are on restarts, under steady load.

Consul then tells for seconds that they are critical, or gone, and they are neither.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.consul_cluster import ConsulCluster
from tests.support.consul_server import ConsulServer
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.traffic import Instance, Traffic, config_for
from tests.support.upstream_server import Connection, Received, UpstreamThread, answer

CLIENTS = 4
CHECK_INTERVAL = "1s"
PROBE_TAKES_S = 3.0
"""An agent that starts takes a service for critical until its first probe has ended: here it takes its time, so that Consul hears of it."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[ConsulCluster]:
    with ConsulCluster(servers=1, agents=("gateway-node", "orders-node")) as cluster:
        yield cluster


@pytest.fixture
def agent(cluster: ConsulCluster) -> Iterator[ConsulServer]:
    """The one that will restart; its services go with the test."""
    agent = cluster.agents["orders-node"]
    yield agent
    for id_ in agent.request("GET", "/v1/agent/services") if agent.running() else ():
        agent.deregister(id_)


class Health:
    """What the agent probes; `takes_s` before it answers."""

    takes_s = 0.0

    async def __call__(self, _request: Received, connection: Connection) -> bool:
        await asyncio.sleep(self.takes_s)
        await connection.send(answer(b"fine"))
        return True


def instances_of(gateway: GatewayProcess) -> list[dict[str, Any]]:
    return list(gateway.json("/admin/upstreams/orders").get("instances", ()))


def seen_by_consul(cluster: ConsulCluster) -> list[list[str]]:
    """What another agent says of each instance: its checks that do not pass. Nothing of one that is gone."""
    entries = cluster.agent.request("GET", "/v1/health/service/orders")
    return [[check["CheckID"] for check in entry["Checks"] if check["Status"] != "passing"] for entry in entries]


def killed(_cluster: ConsulCluster, agent: ConsulServer) -> None:
    """SIGKILL, and back before any other node has missed it: only its probes begin anew."""
    agent.kill()


def stopped(_cluster: ConsulCluster, agent: ConsulServer) -> None:
    """SIGTERM: it leaves the cluster, and takes its services with it."""
    agent.terminate()


def missed(cluster: ConsulCluster, agent: ConsulServer) -> None:
    """SIGKILL, and away until the cluster calls its node dead."""
    agent.kill()
    wait_until(lambda: seen_by_consul(cluster) == [["serfHealth"]] * 2, 20, lambda: f"{seen_by_consul(cluster)}")


@pytest.mark.parametrize("stop", [killed, stopped, missed])
def test_scenario_16_the_agent_of_a_node_restarts(cluster, agent, stop):
    """However it ends: no failed request, and every endpoint keeps its connections and its numbers."""
    answers, probe = (Instance("one"), Instance("two")), Health()
    with UpstreamThread(answers[0]) as one, UpstreamThread(answers[1]) as two, UpstreamThread(probe) as health:
        for upstream in (one, two):
            # The check goes elsewhere, so that connections and requests of the instances are the gateway's alone.
            agent.register("orders", upstream.port, Check={"HTTP": health.url, "Interval": CHECK_INTERVAL, "Status": "passing"})
        services = {"*": {"timeout": {"pool_idle": "60s"}}}
        with GatewayProcess(config_for(cluster.agent.url, logging={"access_log": False}, services=services)) as gateway:
            all_ready(gateway)
            with Traffic(gateway.port, "/api/orders/", clients=CLIENTS) as traffic:
                probe.takes_s = PROBE_TAKES_S
                stop(cluster, agent)
                agent.launch()
                doubted = watch(cluster, gateway, agent)
                all_ready(gateway)
                time.sleep(0.5)
            assert traffic.bad() == []
            assert doubted <= {"ready", "suspect"}
            assert {instance["requests_total"] for instance in instances_of(gateway)} == {len(each.arrivals_s) for each in answers}
            assert max(len(upstream.connections) for upstream in (one, two)) <= CLIENTS


def all_ready(gateway: GatewayProcess) -> None:
    wait_until(lambda: [each["state"] for each in instances_of(gateway)] == ["ready"] * 2, 20, gateway.story)


def watch(cluster: ConsulCluster, gateway: GatewayProcess, agent: ConsulServer) -> set[str]:
    """The states that the gateway shows from the first bad word of Consul until the last."""
    states, bad_words = set[str](), 0

    def settled() -> bool:
        nonlocal bad_words
        states.update(each["state"] for each in instances_of(gateway))
        good = seen_by_consul(cluster) == [[], []]
        bad_words += not good
        return good and bad_words > 0

    wait_until(settled, 15, lambda: f"{states} {bad_words} {agent.log()}")
    return states

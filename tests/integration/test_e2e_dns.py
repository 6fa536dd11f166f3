"""``provider: dns`` against the DNS of a real Consul."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.consul_server import ConsulServer
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.traffic import Instance, Traffic
from tests.support.upstream_server import UpstreamThread

MANY = 60


@pytest.fixture
def gateway(persistent_consul: ConsulServer) -> Iterator[GatewayProcess]:
    dns = {"nameservers": [f"127.0.0.1:{persistent_consul.dns_port}"], "interval": "200ms"}
    config = {
        "auth": {"default": "none"},
        "logging": {"access_log": False},
        "discovery": {"provider": "dns", "dns": dns},
        "services": {"orders": {"balancer": "round_robin"}, "many": {}},
    }
    with GatewayProcess(config) as process:
        yield process


def told(gateway: GatewayProcess, service: str = "orders") -> dict[int, dict[str, Any]]:
    """Instances by port."""
    return {one["port"]: one for one in gateway.json(f"/admin/upstreams/{service}")["instances"]}


def states(gateway: GatewayProcess) -> dict[int, str]:
    return {port: one["state"] for port, one in told(gateway).items()}


def test_instances_come_from_srv_records_and_survive_the_nameserver(persistent_consul, gateway):
    """Weights, critical ones left out, unknown and unnamed names, an outage without a lost request, and the return."""
    consul = persistent_consul

    def eventually(condition: Any, seconds: float = 10) -> None:
        wait_until(condition, seconds, gateway.story)

    assert [gateway.get(f"/api/{name}/")[0] for name in ("orders", "unnamed")] == [503, 404]
    with UpstreamThread(Instance("one")) as one, UpstreamThread(Instance("two")) as two:
        consul.register("orders", one.port, Weights={"Passing": 3, "Warning": 1})
        going = consul.register("orders", two.port)
        consul.register("orders", 1, Check={"TTL": "60s", "Status": "critical"})
        eventually(lambda: states(gateway) == {one.port: "ready", two.port: "ready"})
        instance = told(gateway)[one.port]
        assert (instance["weight"], instance["address"], instance["id"]) == (3, "127.0.0.1", f"127.0.0.1:{one.port}")
        with Traffic(gateway.port, "/api/orders/", clients=2) as traffic:
            consul.deregister(going)
            eventually(lambda: states(gateway) == {one.port: "ready"})
            consul.kill()
            eventually(lambda: gateway.json("/admin/upstreams")["discovery"]["state"] == "stale")
            assert gateway.json("/health")["status"] == "degraded"
            assert states(gateway) == {one.port: "ready"}
            consul.restart()
            eventually(lambda: gateway.json("/admin/upstreams")["discovery"]["state"] == "fresh", 40)
            consul.deregister(f"orders-{one.port}")
            eventually(lambda: states(gateway) == {one.port: "suspect"})
        assert traffic.bad() == []
        assert {each.body for each in traffic.told} == {b"one", b"two"}
    assert gateway.stop() == 0


def test_many_instances_are_all_found_and_a_reload_keeps_them(persistent_consul, gateway):
    """More than fit into a datagram without EDNS, or without TCP."""
    for number in range(MANY):
        persistent_consul.register("many", 20000 + number, Address=f"127.0.0.{number + 1}")
    wait_until(lambda: len(told(gateway, "many")) == MANY, 15, gateway.story)
    assert {one["address"] for one in told(gateway, "many").values()} == {f"127.0.0.{number + 1}" for number in range(MANY)}
    gateway.signal(signal.SIGHUP)
    wait_until(lambda: [event for event in gateway.events() if event["event"] == "reloaded"], 5, gateway.story)
    assert len(told(gateway, "many")) == MANY

"""The discovery metrics of a real process, through an outage of a real Consul and the life of a service."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.consul_server import ConsulServer
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.traffic import config_for

STATES = ("fresh", "stale", "snapshot", "expired")


@pytest.fixture
def gateway(persistent_consul: ConsulServer) -> Iterator[GatewayProcess]:
    discovery = {"consul": {"url": persistent_consul.url, "wait": "1s", "max_age": "3s"}}
    with GatewayProcess(config_for(persistent_consul.url, discovery=discovery, services={"named": {}})) as process:
        yield process


def samples(gateway: GatewayProcess) -> dict[str, dict[tuple[str, ...], float]]:
    """Name -> label values in the order of the contract -> number, for the metrics of discovery."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(gateway.get("/metrics")[1].decode()):
        for sample in family.samples:
            if "discovery" in sample.name or sample.name == "lbgateway_instances":
                labels = tuple(sample.labels[label] for label in ("service", "state", "kind") if label in sample.labels)
                found.setdefault(sample.name, {})[labels] = sample.value
    return found


def eventually(gateway: GatewayProcess, condition: Any, seconds: float = 10) -> None:
    wait_until(condition, seconds, lambda: f"{samples(gateway)}\n{gateway.story()}")


def state_of(gateway: GatewayProcess, service: str) -> str | None:
    """The one state whose series is 1; all of them exist."""
    series = samples(gateway)["lbgateway_discovery_state"]
    assert {state for name, state in series if name == service} == set(STATES)
    [state] = [state for state in STATES if series[service, state] == 1] or [None]
    return state


def test_state_age_and_errors_tell_of_an_outage(persistent_consul, gateway):
    """Fresh and young however long nothing changes, stale at once, expired in the end, fresh again; errors by kind."""
    persistent_consul.register("orders", 9001)
    eventually(gateway, lambda: samples(gateway)["lbgateway_instances"].get(("orders", "ready")) == 1)
    assert state_of(gateway, "orders") == state_of(gateway, "named") == "fresh"
    before = samples(gateway)
    assert set(before["lbgateway_discovery_errors_total"].values()) == {0.0}
    assert before["lbgateway_discovery_updates_total"] == {("named",): 1.0, ("orders",): 1.0}
    time.sleep(2.5)  # more than two waits without a change: confirmed all the same
    assert samples(gateway)["lbgateway_discovery_age_seconds"][("orders",)] < 2

    persistent_consul.kill()
    eventually(gateway, lambda: state_of(gateway, "orders") == "stale", 2)
    eventually(gateway, lambda: state_of(gateway, "orders") == "expired")
    during = samples(gateway)
    assert 3 <= during["lbgateway_discovery_age_seconds"][("orders",)] < 15
    assert during["lbgateway_discovery_errors_total"][("unreachable",)] >= 1
    assert during["lbgateway_instances"]["orders", "ready"] == 1
    assert during["lbgateway_discovery_updates_total"] == before["lbgateway_discovery_updates_total"]

    persistent_consul.restart()
    eventually(gateway, lambda: state_of(gateway, "orders") == "fresh")
    assert samples(gateway)["lbgateway_discovery_age_seconds"][("orders",)] < 5


def test_the_series_of_a_service_come_and_go_with_it(persistent_consul, gateway):
    """Updates count what changed; who is taken out leaves nothing behind."""
    persistent_consul.register("orders", 9001)
    eventually(gateway, lambda: samples(gateway)["lbgateway_instances"].get(("orders", "ready")) == 1)
    persistent_consul.register("orders", 9002, Check={"TTL": "60s", "Status": "critical"})
    eventually(gateway, lambda: samples(gateway)["lbgateway_instances"].get(("orders", "critical")) == 1)
    told = samples(gateway)
    assert told["lbgateway_discovery_updates_total"][("orders",)] == 2
    assert {state: count for (name, state), count in told["lbgateway_instances"].items() if name == "orders" and count} == {
        "ready": 1,
        "critical": 1,
    }
    for port in (9001, 9002):
        persistent_consul.register("orders", port, tags=())
    eventually(gateway, lambda: "orders" not in str(samples(gateway)))
    assert state_of(gateway, "named") == "fresh"
    persistent_consul.register("orders", 9001)
    eventually(gateway, lambda: samples(gateway)["lbgateway_instances"].get(("orders", "ready"), 0) >= 1)

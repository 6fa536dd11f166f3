"""A gateway that starts while Consul is away lives on the snapshot on disk, and lets go of it when Consul speaks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.consul_server import ConsulServer
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.traffic import Instance, Traffic, config_for
from tests.support.upstream_server import UpstreamThread

TOKEN = "0f9b8a77-5d1e-4a52-8a11-7d1c2f3e4a5b"


def config(consul: ConsulServer, file: Path, **discovery: Any) -> dict[str, Any]:
    settings = {"url": consul.url, "snapshot": str(file), "token": TOKEN, **discovery}
    return config_for(consul.url, discovery={"consul": settings}, logging={"access_log": False})


def states(gateway: GatewayProcess, service: str = "orders") -> dict[str, str]:
    told = gateway.json(f"/admin/upstreams/{service}")
    return {instance["id"]: instance["state"] for instance in told.get("instances", ())}


def discovery(gateway: GatewayProcess) -> dict[str, Any]:
    told: dict[str, Any] = gateway.json("/admin/upstreams")["discovery"]
    return told


def eventually(gateway: GatewayProcess, condition: Any, seconds: float = 10) -> None:
    wait_until(condition, seconds, gateway.story)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "registry.json"


def test_a_start_without_consul_serves_from_the_disk_until_consul_speaks(persistent_consul, file):
    """Scenario 2: suspects at once, routes and meanings of 404 and 503 as before, degraded; fresh with the first good answer."""
    with UpstreamThread(Instance("one")) as one, UpstreamThread(Instance("two")) as two:
        for upstream in (one, two):
            persistent_consul.register("orders", upstream.port)
        persistent_consul.register("hidden", one.port, tags=())
        with GatewayProcess(config(persistent_consul, file, max_age="1m") | {"services": {"named": {}}}) as gateway:
            eventually(gateway, lambda: list(states(gateway).values()) == ["ready", "ready"])
            assert gateway.stop() == 0
            persistent_consul.kill()
            gateway.start()
            assert gateway.get("/health/ready")[0] == 200
            with Traffic(gateway.port, "/api/orders/", clients=2) as traffic:
                status, health = gateway.get("/health")[0], gateway.json("/health")
                assert (status, health["status"], health["checks"]["discovery"]["state"]) == (200, "degraded", "snapshot")
                told = discovery(gateway)
                assert (told["state"], told["last_error"] is not None) == ("snapshot", True)
                assert 0 <= told["age_seconds"] < 60
                assert list(states(gateway).values()) == ["suspect", "suspect"]
                assert gateway.json("/admin/upstreams/orders")["discovery_state"] == "snapshot"
                assert [gateway.get(f"/api/{name}/")[0] for name in ("absent", "hidden", "named")] == [404, 404, 503]
                metrics = gateway.get("/metrics")[1].decode()
                assert 'lbgateway_discovery_state{service="orders",state="snapshot"} 1.0' in metrics
                assert 'lbgateway_instances{service="orders",state="suspect"} 2.0' in metrics
                persistent_consul.restart()
                eventually(gateway, lambda: discovery(gateway)["state"] == "fresh")
                eventually(gateway, lambda: list(states(gateway).values()) == ["ready", "ready"])
            assert traffic.bad() == []
            assert {told.body for told in traffic.told} == {b"one", b"two"}
            assert gateway.json("/health")["status"] == "ok"


def test_who_is_gone_is_dropped_at_the_first_failed_connect(persistent_consul, file):
    """No client notices: the other instance answers, and who is gone is not asked again."""
    with UpstreamThread(Instance("stays")) as stays, GatewayProcess(config(persistent_consul, file)) as gateway:
        with UpstreamThread(Instance("goes")) as goes:
            gone = persistent_consul.register("orders", goes.port)
            persistent_consul.register("orders", stays.port)
            eventually(gateway, lambda: list(states(gateway).values()) == ["ready", "ready"])
            gateway.stop()
            persistent_consul.kill()
        gateway.start()
        for _ in range(20):
            assert gateway.get("/api/orders/") == (200, b"stays")
        explained = gateway.json("/admin/upstreams/orders/explain")["instances"]
        reasons = {instance["id"]: instance["reason"] for instance in explained}
        assert reasons[gone] == "only known from the snapshot on disk; not picked since a connect failed"
        assert {instance["id"]: instance["pickable"] for instance in explained} == {gone: False, f"orders-{stays.port}": True}


def test_what_was_written_survives_a_kill_and_holds_no_secret(persistent_consul, file):
    """Written on change within seconds, for the owner only; a killed gateway starts from it."""
    with UpstreamThread(Instance("one")) as one:
        persistent_consul.register("orders", one.port, Meta={"version": "7"}, Check={"TTL": "60s", "Status": "passing"})
        with GatewayProcess(config(persistent_consul, file)) as gateway:
            eventually(gateway, lambda: file.exists() and f"orders-{one.port}" in file.read_text())
            gateway.kill()
            assert file.stat().st_mode & 0o777 == 0o600
            assert TOKEN not in file.read_text()
            assert [path.name for path in file.parent.iterdir()] == ["registry.json"]
            persistent_consul.kill()
            gateway.start()
            assert gateway.get("/api/orders/") == (200, b"one")
            [instance] = gateway.json("/admin/upstreams/orders")["instances"]
            assert (instance["meta"], instance["consul_status"]) == ({"version": "7"}, "passing")


def test_routes_that_services_brought_along_are_there_at_once(persistent_consul, file):
    """The tags of instances are in the file, too."""
    tags = ("lbgateway.enable=true", "lbgateway.prefix=/shop", "lbgateway.strip_prefix=true")
    with UpstreamThread(Instance("one")) as one:
        persistent_consul.register("orders", one.port, tags=tags)
        with GatewayProcess(config(persistent_consul, file, tag_prefixes={"orders": ["/shop"]})) as gateway:
            eventually(gateway, lambda: gateway.get("/shop/x") == (200, b"one"))
            gateway.stop()
            persistent_consul.kill()
            gateway.start()
            assert gateway.get("/shop/x") == (200, b"one")
            assert discovery(gateway)["state"] == "snapshot"


def test_a_broken_file_is_no_snapshot_and_no_crash(consul_server, file):
    """Scenario 1 with a useless disk: 503 and failing until Consul is there, and then its answer replaces the file."""
    file.write_bytes(b'{"kind": "lbgateway registry snapshot", "version": 1, "serv')
    with UpstreamThread(Instance("one")) as one:
        consul_server.kill()
        with GatewayProcess(config(consul_server, file)) as gateway:
            assert gateway.get("/api/orders/")[0] == 503
            assert (gateway.get("/health")[0], gateway.json("/health")["status"]) == (503, "failing")
            assert gateway.get("/health/ready")[0] == 503
            [said] = [event for event in gateway.events() if "snapshot is ignored" in event["event"]]
            assert (said["level"], said["path"]) == ("warning", str(file))
            consul_server.restart(empty=True)
            began_s = time.monotonic()
            consul_server.register("orders", one.port)
            eventually(gateway, lambda: gateway.get("/api/orders/") == (200, b"one"))
            assert time.monotonic() - began_s < 5
            eventually(gateway, lambda: f"orders-{one.port}" in file.read_text(errors="replace"))

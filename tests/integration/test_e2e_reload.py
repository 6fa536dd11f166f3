"""SIGHUP: a new file is taken over under load, a bad one is refused, and nothing that was learnt is lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.traffic import Instance, Traffic
from tests.support.upstream_server import UpstreamThread, echo

DEFAULT = {"prefix": "/api/{service}"}


@pytest.fixture
def ports() -> Iterator[list[int]]:
    with UpstreamThread(Instance("a")) as a, UpstreamThread(Instance("b")) as b:
        yield [a.port, b.port]


def config_of(ports: list[int], **more: Any) -> dict[str, Any]:
    """Two services of the file, without a registry."""
    services = {"orders": {"instances": [f"127.0.0.1:{port}" for port in ports]}}
    return {
        "auth": {"default": "none"},
        "discovery": {"provider": "static"},
        "server": {"max_connections": 500},
        "routes": [{"prefix": "/api/{service}", "strip_prefix": True}],
        "services": services,
        **more,
    }


def reloads(gateway: GatewayProcess) -> int:
    """How many files were taken over."""
    return sum(event["event"] == "reloaded" for event in gateway.events())


def reload(gateway: GatewayProcess, config: dict[str, Any] | None = None) -> None:
    before = reloads(gateway)
    gateway.reload(config)
    wait_until(lambda: reloads(gateway) == before + 1, 5, gateway.story)


def instances(gateway: GatewayProcess, service: str = "orders") -> dict[int, dict[str, Any]]:
    """By port."""
    return {instance["port"]: instance for instance in gateway.json(f"/admin/upstreams/{service}")["instances"]}


def test_ten_reloads_under_load_lose_no_request(ports):
    """Each with another file: routes, timeouts, limits, log settings and balancers change while clients ask."""
    with GatewayProcess(config_of(ports)) as gateway, Traffic(gateway.port, "/api/orders/") as traffic:
        for turn in range(10):
            config = config_of(
                ports,
                logging={"access_log": turn % 3 != 0, "level": "debug" if turn % 2 else "info"},
                server={"keep_alive": f"{60 + turn}s", "max_connections": 500 + turn},
            )
            balancer = ("p2c", "least_connections", "ewma")[turn % 3]
            config["services"]["orders"] |= {"balancer": balancer, "timeout": {"response": f"{9 + turn}s"}}
            config["routes"].append({"prefix": f"/v{turn}", "service": "orders", "strip_prefix": True})
            reload(gateway, config)
            assert gateway.get(f"/v{turn}/x")[0] == 200
            assert turn == 0 or gateway.get(f"/v{turn - 1}/x")[0] == 404
            time.sleep(0.05)
    assert traffic.bad() == []


def test_what_traffic_has_taught_survives_a_reload(ports):
    """Counters, estimates and connections belong to the instance, not to the file."""
    with GatewayProcess(config_of(ports)) as gateway:
        for _ in range(30):
            gateway.get("/api/orders/")
        before = instances(gateway)
        changed = config_of(ports)
        changed["services"]["orders"]["balancer"] = "round_robin"
        reload(gateway, changed)
        after = instances(gateway)
        assert gateway.json("/admin/upstreams/orders")["balancer"] == "round_robin"
        for port in ports:
            for key in ("requests_total", "latency_ewma_ms", "latency_ms", "connections", "since"):
                assert after[port][key] == before[port][key], key
        assert sum(each["requests_total"] for each in after.values()) == 30


def test_instances_and_services_of_the_file_come_and_go(ports):
    """An instance that is taken out gets nothing more; a service that is, is 404."""
    with GatewayProcess(config_of(ports)) as gateway:
        assert {gateway.get("/api/orders/")[1] for _ in range(20)} == {b"a", b"b"}
        reload(gateway, config_of(ports[:1]))
        assert {gateway.get("/api/orders/")[1] for _ in range(20)} == {b"a"}
        wait_until(lambda: list(instances(gateway)) == ports[:1], 5, gateway.story)
        reload(gateway, config_of(ports, services={"billing": {"instances": [f"127.0.0.1:{ports[1]}"]}}))
        assert gateway.get("/api/orders/")[0] == 404
        assert gateway.get("/api/billing/") == (200, b"b")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("servces: {}\n", "servces: unknown key; did you mean `services`?"),
        ("routes: [\n", "gateway.yaml:"),
        ("", "auth"),
    ],
)
def test_a_bad_file_is_refused_and_the_old_one_stays(ports, text, told):
    """Misspelt, half-written, emptied by an editor: the log says what is wrong and where."""
    with GatewayProcess(config_of(ports)) as gateway, Traffic(gateway.port, "/api/orders/", clients=1) as traffic:
        gateway.file.write_text(text)
        gateway.signal(signal.SIGHUP)
        wait_until(lambda: any("refused" in event["event"] for event in gateway.events()), 5, gateway.story)
        [refused] = [event for event in gateway.events() if "refused" in event["event"]]
        assert refused["level"] == "error"
        assert any(told in error for error in refused["errors"]), refused["errors"]
        assert reloads(gateway) == 0
        reload(gateway, config_of(ports, routes=[DEFAULT, {"prefix": "/new", "service": "orders", "strip_prefix": True}]))
        assert gateway.get("/new/x")[0] == 200
    assert traffic.bad() == []


def test_what_needs_a_restart_is_said_and_not_done(ports):
    """The port and where instances come from stay as they were."""
    with GatewayProcess(config_of(ports)) as gateway:
        reload(gateway, config_of(ports, server={"port": gateway.port + 1 if gateway.port < 65535 else 65000, "max_connections": 500}))
        [told] = [event for event in gateway.events() if "restart" in event["event"]]
        assert (told["key"], told["level"]) == ("server.port", "warning")
        assert gateway.get("/api/orders/")[0] == 200


def test_the_access_log_and_the_metrics_go_on(ports):
    """A line for each request, before and after; counters do not begin anew."""
    with GatewayProcess(config_of(ports)) as gateway:
        gateway.get("/api/orders/before")
        reload(gateway)
        gateway.get("/api/orders/after")
        wanted = 'lbgateway_requests_total{method="GET",route="/api/{service}",service="orders",status="200"} 2.0'
        assert wanted in gateway.get("/metrics")[1].decode()
        wait_until(lambda: '"path":"/api/orders/after"' in gateway.log(), 3, gateway.log)
        assert '"path":"/api/orders/before"' in gateway.log()


def test_log_settings_are_taken_over(ports):
    """Off and on again, and as text for people."""
    with GatewayProcess(config_of(ports)) as gateway:
        reload(gateway, config_of(ports, logging={"access_log": False}))
        gateway.get("/api/orders/unseen")
        reload(gateway, config_of(ports, logging={"access_log": True}))
        gateway.get("/api/orders/seen")
        wait_until(lambda: "/api/orders/seen" in gateway.log(), 3, gateway.log)
        assert "/api/orders/unseen" not in gateway.log()
        gateway.reload(config_of(ports, logging={"format": "console"}))
        wait_until(lambda: any(line.strip() and not line.startswith("{") for line in gateway.log().splitlines()), 5, gateway.story)


def test_limits_and_credentials_are_the_new_ones(ports):
    """A smaller body limit, and a route that needs a token from now on."""
    with UpstreamThread(echo) as upstream, GatewayProcess(config_of([upstream.port])) as gateway:
        assert gateway.get("/api/orders/")[0] == 200
        strict = config_of([upstream.port], auth={"default": "required", "jwt": {"secret": "0123456789abcdef0123456789abcdef"}})
        reload(gateway, strict)
        assert gateway.get("/api/orders/")[0] == 401
        reload(gateway, config_of([upstream.port]))
        assert gateway.get("/api/orders/")[0] == 200

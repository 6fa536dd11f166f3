"""Who is out and which breaker is open, at a real gateway: a reload forgets neither, and whoever watches is told of both, and why."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.test_e2e_reload import reload
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.upstream_server import UpstreamServer, UpstreamThread, answer, echo, fixed

FAILING = fixed(answer(b"", status="500 Oops"))
FAILURES = 3
"""In a row, and the instance is out."""
TRIED = 4
"""Exchanges, and a breaker may open."""
SEVERAL = 10
LONG = "60s"
"""Neither the ejection nor the pause of the breaker ends by itself meanwhile."""

Instances = tuple[UpstreamServer, UpstreamServer, UpstreamServer]


@pytest.fixture
def instances() -> Iterator[Instances]:
    """Of `orders` one that fails and one that is well, of `billing` one that fails."""
    with UpstreamThread(FAILING) as bad, UpstreamThread(echo) as good, UpstreamThread(FAILING) as alone:
        yield bad, good, alone


def config_of(instances: Instances, **billing: Any) -> dict[str, Any]:
    bad, good, alone = instances
    outlier = {"consecutive_failures": FAILURES, "eject_for": LONG, "max_eject_for": LONG, "success_rate": False}
    orders = {"instances": [{"id": "bad", "address": bad.address}, {"id": "good", "address": good.address}]}
    breaker = {"min_requests": TRIED, "window": "30s", "open_for": LONG}
    return {
        "auth": {"default": "none"},
        "discovery": {"provider": "static"},
        "services": {
            "orders": {**orders, "balancer": "round_robin", "outlier": outlier},
            "billing": {"instances": [alone.address], "retry": {"attempts": 0}, "breaker": breaker, **billing},
        },
    }


def state_of(gateway: GatewayProcess, name: str) -> dict[str, Any]:
    told: dict[str, dict[str, Any]] = {each["id"]: each for each in gateway.json("/admin/upstreams/orders")["instances"]}
    return told[name]


def eject(gateway: GatewayProcess) -> dict[str, Any]:
    """Ask until the failing instance is out; nobody notices, since the other one is asked then."""
    for _ in range(FAILURES * 2):
        assert gateway.get("/api/orders/")[0] == 200
    told = state_of(gateway, "bad")
    assert told["state"] == "ejected", gateway.story()
    return told


def trip(gateway: GatewayProcess) -> None:
    """Ask until the breaker is open."""
    assert [gateway.get("/api/billing/")[0] for _ in range(TRIED)] == [500] * TRIED
    assert gateway.json("/admin/upstreams/billing")["breaker"]["state"] == "open", gateway.story()


def test_an_ejected_instance_is_still_out_after_a_reload(instances: Instances) -> None:
    """For the same reason, since the same moment, whatever else the file says now; it gets no request."""
    with GatewayProcess(config_of(instances)) as gateway:
        before, asked = eject(gateway), len(instances[0].requests)
        changed = config_of(instances)
        changed["services"]["orders"] |= {"balancer": "p2c", "timeout": {"response": "9s"}}
        changed["services"]["orders"]["outlier"]["consecutive_failures"] = FAILURES + 1
        for config in (None, changed):
            reload(gateway, config)
            after = state_of(gateway, "bad")
            assert (after["state"], after["reason"], after["since"]) == (before["state"], before["reason"], before["since"])
            assert {gateway.get("/api/orders/")[0] for _ in range(20)} == {200}
        assert len(instances[0].requests) == asked
        assert (state_of(gateway, "good")["state"], state_of(gateway, "bad")["ejections_total"]) == ("ready", 1)


def test_an_open_breaker_is_still_open_after_a_reload(instances: Instances) -> None:
    """Clients are told at once to come later, and the instance is left alone; taken out of the file, it is closed."""
    with GatewayProcess(config_of(instances)) as gateway:
        trip(gateway)
        for config in (None, config_of(instances, timeout={"response": "9s"})):
            reload(gateway, config)
            status, body = gateway.get("/api/billing/")
            assert (status, json.loads(body)["type"]) == (503, "urn:lbgateway:problem:breaker_open")
            assert gateway.json("/admin/upstreams/billing")["breaker"]["state"] == "open"
        assert len(instances[2].requests) == TRIED
        reload(gateway, config_of(instances, breaker=None))
        assert gateway.get("/api/billing/")[0] == 500
        assert len(instances[2].requests) == TRIED + 1


def asked(gateway: GatewayProcess, path: str) -> list[int]:
    """What several clients are told, each on a connection of its own: they come to every worker."""
    return [gateway.get(path)[0] for _ in range(SEVERAL)]


def test_a_reload_lets_no_worker_forget_either(instances: Instances) -> None:
    """When both have taken over the new file, neither asks the instance that is out, nor the service that has a pause."""
    config = {**config_of(instances), "server": {"workers": 2}}
    with GatewayProcess(config) as gateway:
        wait_until(lambda: (asked(gateway, "/api/orders/"), state_of(gateway, "bad")["state"])[1] == "ejected", 10, gateway.story)
        wait_until(lambda: asked(gateway, "/api/billing/") == [503] * SEVERAL, 10, gateway.story)
        before = [len(instances[number].requests) for number in (0, 2)]
        reload(gateway, {**config, "routes": [{"prefix": "/v2/{service}", "strip_prefix": True}]})
        wait_until(lambda: asked(gateway, "/v2/orders/") == [200] * SEVERAL, 10, gateway.story)
        assert asked(gateway, "/v2/billing/") == [503] * SEVERAL
        assert [len(instances[number].requests) for number in (0, 2)] == before
        assert state_of(gateway, "bad")["state"] == "ejected"
        assert gateway.json("/admin/upstreams/billing")["breaker"]["state"] == "open"


def test_whoever_watches_is_told_of_an_ejection_and_of_the_breaker(instances: Instances) -> None:
    """From the stream of the gateway that it happened to: who, from what to what, and why."""
    with GatewayProcess(config_of(instances)) as gateway:
        watcher = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
        watcher.request("GET", "/admin/events?replay=0")
        stream = watcher.getresponse()
        reason = eject(gateway)["reason"]
        trip(gateway)
        reload(gateway, config_of(instances, breaker=None))
        wait_until(lambda: gateway.json("/admin/upstreams/billing")["breaker"]["state"] == "closed", 5, gateway.story)
        assert gateway.stop() == 0
        blocks = [dict(line.split(": ", 1) for line in block.split("\n")) for block in stream.read().decode().split("\n\n") if block]
        watcher.close()
    told = {kind: [json.loads(each["data"]) for each in blocks if each.get("event") == kind] for kind in ("ejection", "breaker")}
    [ejection] = told["ejection"]
    assert {key: ejection[key] for key in ("service", "instance", "from", "to")} == {
        "service": "orders", "instance": "bad", "from": "ready", "to": "ejected",
    }  # fmt: skip
    assert ejection["reason"] == reason
    assert f"{FAILURES} failures in a row" in reason
    assert [(each["service"], each["state"], each["reason"]) for each in told["breaker"]] == [
        ("billing", "open", f"{TRIED} of {TRIED} requests failed within 30 s"),
        ("billing", "closed", "switched off"),
    ]

"""What of a real Consul can be reached, and by how much: tags, names, weights, checks, maintenance."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.consul_server import ConsulServer
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.traffic import Instance, config_for
from tests.support.upstream_server import UpstreamThread


@pytest.fixture(scope="module")
def consul() -> Iterator[ConsulServer]:
    with ConsulServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(consul: ConsulServer) -> Iterator[GatewayProcess]:
    services = {"named": {}, "consul": {}, "weighed": {"balancer": "weighted"}, "Mixed": {}}
    with GatewayProcess(config_for(consul.url, services=services)) as process:
        yield process


@pytest.fixture(scope="module")
def ports() -> Iterator[list[int]]:
    """Two instances that answer with their names, ``a`` and ``b``."""
    with UpstreamThread(Instance("a")) as a, UpstreamThread(Instance("b")) as b:
        yield [a.port, b.port]


def lbgateway(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run([sys.executable, "-m", "lbgateway", *arguments], env=environment, capture_output=True, text=True, timeout=20)


def instance_of(gateway: GatewayProcess, service: str, port: int) -> dict[str, Any]:
    told = gateway.json(f"/admin/upstreams/{service}")
    return next((instance for instance in told.get("instances", ()) if instance["port"] == port), {})


def eventually(gateway: GatewayProcess, condition: Callable[[], object]) -> None:
    wait_until(lambda: bool(condition()), 5, gateway.story)


def answers(gateway: GatewayProcess, service: str, count: int = 40) -> Counter[bytes]:
    """Who answered `count` requests; all of them must succeed."""
    told = [gateway.get(f"/api/{service}/") for _ in range(count)]
    assert {status for status, _ in told} == {200}
    return Counter(body for _, body in told)


def test_a_service_without_the_tag_is_404_and_the_operator_learns_why(consul, gateway, ports):
    """The same 404 as for an unknown one; the log, the admin API and the command line say what to do."""
    consul.register("shy", ports[0], tags=())
    eventually(gateway, lambda: "shy" in [each["service"] for each in gateway.json("/admin/routes")["unexposed"]])
    shy, unknown = gateway.json("/api/shy/"), gateway.json("/api/unknown/")
    del shy["request_id"], unknown["request_id"]
    assert shy == unknown
    assert (shy["status"], shy["type"]) == (404, "urn:lbgateway:problem:no_route")
    gateway.get("/api/shy/")
    [hint] = [event for event in gateway.events() if "not exposed" in event["event"]]
    assert (hint["service"], "lbgateway.enable=true" in hint["what_to_do"]) == ("shy", True)
    for command in ("upstreams", "routes"):
        told = lbgateway(command, "--admin", gateway.url)
        assert told.returncode == 0, told.stderr
        assert "shy: Registered, but not exposed" in told.stdout


def test_the_tag_opens_and_closes_the_door(consul, gateway, ports):
    """Registering again with or without it is all that it takes."""
    consul.register("fickle", ports[0], tags=("v1",))
    assert gateway.get("/api/fickle/")[0] == 404
    consul.register("fickle", ports[0])
    eventually(gateway, lambda: gateway.get("/api/fickle/")[0] == 200)
    consul.register("fickle", ports[0], tags=("v1",))
    eventually(gateway, lambda: gateway.get("/api/fickle/")[0] == 404)


def test_a_service_that_the_operator_names_needs_no_tag(consul, gateway):
    """503 as long as there is no instance, 200 with one, and 503 again when it has gone."""
    status, body = gateway.get("/api/named/")
    assert (status, b"no_endpoint" in body) == (503, True)
    with UpstreamThread(Instance("named")) as upstream:
        instance_id = consul.register("named", upstream.port, tags=())
        eventually(gateway, lambda: gateway.get("/api/named/")[0] == 200)
        consul.deregister(instance_id)
        # The last one of a service is suspected of being missing by mistake, and still tried while it answers.
        eventually(gateway, lambda: instance_of(gateway, "named", upstream.port)["state"] == "suspect")
        assert gateway.get("/api/named/")[0] == 200
    eventually(gateway, lambda: gateway.get("/api/named/")[0] == 503)
    assert b"no_endpoint" in gateway.get("/api/named/")[1]


def test_a_route_to_a_service_opens_that_route_and_no_other(consul, ports):
    """What an operator uses a service for is not what `/api/{service}` is for: a tag opens that door, and closes it again."""
    routes = [{"prefix": "/api/{service}", "strip_prefix": True}, {"prefix": "/pay", "service": "payroll"}]
    extra = {"oauth": {"service": "login"}, "health": {"required": ["ledger"]}}
    for name in ("payroll", "login", "ledger"):
        consul.register(name, ports[0], tags=())
    with GatewayProcess(config_for(consul.url, routes=routes, **extra)) as gateway:
        eventually(gateway, lambda: [gateway.get(path)[0] for path in ("/pay", "/oauth/x", "/health")] == [200, 200, 200])
        assert {gateway.get(f"/api/{name}/")[0] for name in ("payroll", "login", "ledger")} == {404}
        assert [event["service"] for event in gateway.events() if "not exposed" in event["event"]][:1] == ["payroll"]
        consul.register("payroll", ports[0])
        eventually(gateway, lambda: gateway.get("/api/payroll/")[0] == 200)
        consul.register("payroll", ports[0], tags=())
        eventually(gateway, lambda: gateway.get("/api/payroll/")[0] == 404)
        assert gateway.get("/pay")[0] == 200


def test_an_unexposed_service_may_stand_in_for_another_one(consul, ports):
    """While the breaker is open; by its own name it stays out of reach."""
    consul.register("fallible", ports[0])
    consul.register("spare", ports[1], tags=())
    breaker = {"min_requests": 1, "failure_ratio": 0.01, "open_for": "60s", "fallback": {"service": "spare"}}
    with GatewayProcess(config_for(consul.url, services={"*": {"breaker": breaker, "retry": {"attempts": 0}}})) as gateway:
        eventually(gateway, lambda: gateway.get("/api/fallible/")[0] == 200)
        consul.register("fallible", 1)
        eventually(gateway, lambda: gateway.get("/api/fallible/") == (200, b"b"))
        assert gateway.get("/api/spare/")[0] == 404


def test_a_service_may_be_written_in_any_case(consul, gateway, ports):
    """Consul does not tell them apart either."""
    consul.register("MIXED", ports[0], tags=())
    eventually(gateway, lambda: gateway.get("/api/mixed/")[0] == 200)
    assert gateway.get("/api/Mixed/")[0] == 200


def test_consul_itself_is_never_reached(gateway):
    """Not even where the operator names it, and no hint invites to try."""
    assert gateway.get("/api/consul/v1/kv")[0] == 404
    assert gateway.get("/api/CONSUL/v1/kv")[0] == 404
    assert not [event for event in gateway.events() if event.get("service") == "consul"]


def test_weights_are_the_share_of_traffic(consul, gateway, ports):
    """Three to one, to the request; a warning counts with its own weight."""
    heavy = consul.register("weighed", ports[0], tags=(), Weights={"Passing": 3, "Warning": 1}, Check={"TTL": "600s", "Status": "passing"})
    consul.register("weighed", ports[1], tags=(), Weights={"Passing": 1, "Warning": 1})
    eventually(gateway, lambda: instance_of(gateway, "weighed", ports[0]) and instance_of(gateway, "weighed", ports[1]))
    assert [instance_of(gateway, "weighed", port)["weight"] for port in ports] == [3, 1]
    assert answers(gateway, "weighed") == {b"a": 30, b"b": 10}

    consul.request("PUT", f"/v1/agent/check/warn/service:{heavy}?note=disk")
    eventually(gateway, lambda: instance_of(gateway, "weighed", ports[0])["consul_status"] == "warning")
    shown = instance_of(gateway, "weighed", ports[0])
    assert (shown["state"], shown["weight"]) == ("ready", 1)
    assert answers(gateway, "weighed") == {b"a": 20, b"b": 20}


def explanation_of(gateway: GatewayProcess, service: str, id_: str) -> dict[str, Any]:
    """The one instance as `explain` tells of it."""
    told: dict[str, Any] = gateway.json(f"/admin/upstreams/{service}/explain?instance={id_}")["instances"][0]
    return told


@pytest.mark.parametrize(
    ("order", "undo", "state", "status"),
    [
        (
            "/v1/agent/service/maintenance/{id}?enable=true&reason=new+disk",
            "/v1/agent/service/maintenance/{id}?enable=false",
            "maintenance",
            "maintenance",
        ),
        ("/v1/agent/check/fail/service:{id}?note=new+disk", "/v1/agent/check/pass/service:{id}", "critical", "critical"),
    ],
)
def test_what_is_not_well_gets_no_request_and_says_why(consul, gateway, ports, order, undo, state, status):
    """By an operator's order or by a failed check, and back again; the last one gone is 503, not 404."""
    service = f"sick-{state}"
    sick = consul.register(service, ports[0], Check={"TTL": "600s", "Status": "passing"})
    well = consul.register(service, ports[1], Check={"TTL": "600s", "Status": "passing"})
    eventually(gateway, lambda: answers_of(gateway, service) == {b"a", b"b"})
    consul.request("PUT", order.format(id=sick))
    eventually(gateway, lambda: instance_of(gateway, service, ports[0])["state"] == state)
    shown = instance_of(gateway, service, ports[0])
    told = explanation_of(gateway, service, sick)
    assert (shown["consul_status"], "new disk" in told["reason"]) == (status, True)
    if state == "critical":  # of a check's output the list tells nothing: its instances may be 20,000
        assert (shown["reason"], told["check_output"]) == (told["reason"].removesuffix(": new disk"), told["reason"])
    else:
        assert (shown["reason"], told["check_output"]) == (told["reason"], None)
    assert answers(gateway, service) == {b"b": 40}

    consul.request("PUT", order.format(id=well))
    eventually(gateway, lambda: gateway.get(f"/api/{service}/")[0] == 503)
    assert b"no_endpoint" in gateway.get(f"/api/{service}/")[1]
    explained = gateway.json(f"/admin/upstreams/{service}/explain")["instances"]
    assert [(each["pickable"], "new disk" in each["why"]) for each in explained] == [(False, True)] * 2

    for each in (sick, well):
        consul.request("PUT", undo.format(id=each))
    eventually(gateway, lambda: answers_of(gateway, service) == {b"a", b"b"})


def answers_of(gateway: GatewayProcess, service: str) -> set[bytes]:
    with contextlib.suppress(AssertionError):
        return set(answers(gateway, service))
    return set()


def test_the_command_line_shows_instances_as_people_read_them(consul, gateway, ports):
    """A table for people, JSON for programs, one sentence and exit code 1 for what does not exist."""
    consul.register("shown", ports[0])
    eventually(gateway, lambda: gateway.get("/api/shown/")[0] == 200)
    table = lbgateway("upstreams", "shown", "--admin", gateway.url)
    assert table.returncode == 0, table.stderr
    assert f"127.0.0.1:{ports[0]}" in table.stdout
    assert "ready" in table.stdout
    listed = lbgateway("upstreams", "--json", "--admin", gateway.url)
    assert '"name": "shown"' in listed.stdout
    absent = lbgateway("upstreams", quote("no such"), "--admin", gateway.url)
    assert (absent.returncode, absent.stdout) == (1, "")
    assert 'There is no service "no' in absent.stderr


def test_what_traffic_has_taught_survives_another_registration(consul, gateway, ports):
    """New tags, meta and weights are the same instance still: its numbers go on, and its connection stays open."""
    consul.register("lasting", ports[0])
    eventually(gateway, lambda: gateway.get("/api/lasting/")[0] == 200)
    answers(gateway, "lasting", 20)
    before = instance_of(gateway, "lasting", ports[0])
    consul.register("lasting", ports[0], tags=("lbgateway.enable=true", "v2"), Meta={"build": "7"}, Weights={"Passing": 5, "Warning": 1})
    eventually(gateway, lambda: instance_of(gateway, "lasting", ports[0])["weight"] == 5)
    after = instance_of(gateway, "lasting", ports[0])
    assert (after["meta"], "v2" in after["tags"]) == ({"build": "7"}, True)
    for key in ("requests_total", "latency_ewma_ms", "latency_ms", "connections", "since"):
        assert after[key] == before[key], key
    assert before["requests_total"] >= 21
    answers(gateway, "lasting", 5)
    assert instance_of(gateway, "lasting", ports[0])["requests_total"] == before["requests_total"] + 5

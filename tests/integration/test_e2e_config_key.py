"""Routes and services in a key of a real Consul: live, whole or not at all, and never lost (scenario 25, its part about keys)."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.consul_server import ConsulServer
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import free_ports, wait_until
from tests.support.traffic import Instance, Traffic, config_for
from tests.support.upstream_server import UpstreamThread

KEY = "lbgateway/routes"
GOOD = """
routes:
  - {prefix: /kv, service: hidden, strip_prefix: true}
services:
  hidden: {balancer: round_robin, timeout: {response: 2s}}
"""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with UpstreamThread(Instance("a")) as upstream:
        yield upstream.port


@pytest.fixture(scope="module")
def consul(port: int) -> Iterator[ConsulServer]:
    """With a service that does not opt in: only an operator's word exposes it."""
    with ConsulServer() as server:
        server.register("hidden", port, tags=())
        yield server


def config(consul: ConsulServer, **more: Any) -> dict[str, Any]:
    given = config_for(consul.url, **more)
    given["discovery"]["consul"]["config_key"] = KEY
    return given


@pytest.fixture(scope="module")
def gateway(consul: ConsulServer) -> Iterator[GatewayProcess]:
    """Started before there is the key."""
    with GatewayProcess(config(consul)) as process:
        yield process


def put(consul: ConsulServer, text: str) -> None:
    call = urllib.request.Request(f"{consul.url}/v1/kv/{KEY}", data=text.encode(), method="PUT")
    with urllib.request.urlopen(call, timeout=5) as answer:
        assert answer.read().strip() == b"true"


def delete(consul: ConsulServer) -> None:
    consul.request("DELETE", f"/v1/kv/{KEY}")


def key_of(gateway: GatewayProcess) -> dict[str, Any]:
    return dict(gateway.json("/admin/routes")["config_key"])


def eventually(gateway: GatewayProcess, condition: Callable[[], object]) -> None:
    wait_until(lambda: bool(condition()), 5, gateway.story)


def test_a_key_is_taken_over_as_it_is_written(consul, gateway):
    """It may come later than the gateway, change, and be taken back with an empty map."""
    assert key_of(gateway) == {"key": KEY, "state": "absent", "error": None}
    assert gateway.get("/kv/x")[0] == 404
    put(consul, GOOD)
    eventually(gateway, lambda: gateway.get("/kv/x") == (200, b"a"))
    assert gateway.json("/admin/upstreams/hidden")["balancer"] == "round_robin"
    assert gateway.get("/api/hidden/x")[0] == 200
    put(consul, GOOD.replace("/kv", "/other").replace("round_robin", "p2c"))
    eventually(gateway, lambda: gateway.get("/other/x")[0] == 200)
    assert gateway.get("/kv/x")[0] == 404
    assert gateway.json("/admin/upstreams/hidden")["balancer"] == "p2c"
    put(consul, "{}")
    eventually(gateway, lambda: gateway.get("/other/x")[0] == 404)
    assert gateway.get("/api/hidden/x")[0] == 404
    assert key_of(gateway) == {"key": KEY, "state": "applied", "error": None}


def test_whoever_watches_hears_what_the_key_and_tags_change(consul, port, gateway):
    """With the source, and what it changed in words; also that a text was refused."""
    put(consul, GOOD)
    eventually(gateway, lambda: gateway.get("/kv/x")[0] == 200)
    put(consul, "routes: [")
    eventually(gateway, lambda: key_of(gateway)["state"] == "kept")
    consul.register("tagged", port, tags=("lbgateway.enable=true", "lbgateway.prefix=/api/tagged/v2"))
    eventually(gateway, lambda: gateway.get("/api/tagged/v2")[0] == 200)
    consul.deregister(f"tagged-{port}")
    put(consul, "{}")
    eventually(gateway, lambda: gateway.get("/kv/x")[0] == 404)
    told = reloads_of(gateway)
    assert [each["source"] for each in told if not each["ok"]] == ["kv"]
    changes = [(each["source"], change) for each in told for change in each["changes"]]
    assert ("kv", "route /kv (kv, to hidden) new") in changes
    assert ("kv", "service hidden changed: balancer, timeout") in changes
    assert ("tags", "route /api/tagged/v2 (tags, to tagged) new") in changes
    assert changes[-2:] == [("kv", "service hidden changed: balancer, timeout"), ("kv", "route /kv (kv, to hidden) gone")]


def reloads_of(gateway: GatewayProcess) -> list[dict[str, Any]]:
    """All events of that kind so far: the stream is read until it has nothing more."""
    watcher = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=1)
    watcher.request("GET", "/admin/events?replay=1000")
    stream, lines = watcher.getresponse(), [b""]
    with contextlib.suppress(TimeoutError):
        while lines[-1] or len(lines) < 2:
            lines.append(stream.readline())
    watcher.close()
    return [json.loads(data[6:]) for kind, data in itertools.pairwise(lines) if kind.strip() == b"event: reload"]


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ("routes: [", "kv:lbgateway/routes:1: not valid YAML"),
        ("routes:\n  - {prefix: /kv, service: hidden}\n  - {prefix: nowhere}\n", "routes:3: routes[1].prefix: must begin with a slash"),
        ("routes: []\nserver: {port: 1}\n", "kv:lbgateway/routes:2: server: only `routes` and `services` can be set here"),
        ("services: {hidden: {balancer: bogus}}", "services.hidden.balancer: must be one of"),
        ("routes:\n  - {prefix: '/${PATH}', service: hidden}\n", "variables are for the file only"),
        ("", "the key is empty; what it said last stays in force"),
        (None, "there is no such key; what it said last stays in force"),
    ],
)
def test_what_is_broken_or_gone_changes_nothing(consul, gateway, broken, error):
    """No request notices; operators do, in the admin API, in the log and in the numbers."""
    put(consul, GOOD)
    eventually(gateway, lambda: gateway.get("/kv/x")[0] == 200 and key_of(gateway)["state"] == "applied")
    with Traffic(gateway.port, "/kv/x", clients=1) as traffic:
        if broken is None:
            delete(consul)
        else:
            put(consul, broken)
        eventually(gateway, lambda: key_of(gateway)["state"] == "kept")
        assert error in key_of(gateway)["error"]
        metrics = gateway.get("/metrics")[1].decode()
        put(consul, GOOD + "# again\n")
        eventually(gateway, lambda: key_of(gateway) == {"key": KEY, "state": "applied", "error": None})
    assert traffic.bad() == []
    assert 'lbgateway_config_key_state{state="kept"} 1.0' in metrics
    assert 'lbgateway_discovery_errors_total{kind="config_key_' in metrics
    assert any("configuration" in event["event"] and event["level"] in ("warning", "error") for event in gateway.events())


def test_the_file_wins_over_the_key_and_the_key_over_tags(consul, port):
    """Key by key for settings, request by request for routes; and a reload of the file merges anew."""
    put(
        consul,
        """
        routes: [{prefix: /a, service: kv-a}, {prefix: /b, service: hidden}]
        services: {hidden: {balancer: p2c, timeout: {response: 3s, idle: 7s}}}
        """,
    )
    tags = ("lbgateway.balancer=random", "lbgateway.timeout.idle=9s", "lbgateway.timeout.connect=4s", "lbgateway.prefix=/b")
    consul.register("hidden", port, tags=tags)
    routes = [{"prefix": "/a", "service": "hidden"}]
    given = config(consul, routes=routes, services={"hidden": {"timeout": {"response": "2s"}}, "*": {"balancer": "round_robin"}})
    given["discovery"]["consul"]["tag_prefixes"] = {"hidden": ["/b"]}
    with GatewayProcess(given) as gateway:
        eventually(gateway, lambda: gateway.get("/b")[0] == 200)
        effective = gateway.json("/admin/config")["services"]["hidden"]
        timeout = {name: effective["timeout"][name] for name in ("response", "idle", "connect")}
        assert (effective["balancer"], timeout) == ("p2c", {"response": "2s", "idle": "7s", "connect": "4s"})
        shown = {(route["prefix"], route["source"]): route["error"] for route in gateway.json("/admin/routes")["routes"]}
        assert (shown["/a", "file"], shown["/b", "kv"]) == (None, None)
        assert "a route of the file (any host /a), which wins" in shown["/a", "kv"]
        assert "from the route /b, which an operator wrote" in shown["/b", "tags"]
        gateway.reload({**given, "routes": []})
        eventually(gateway, lambda: gateway.get("/a")[0] == 503)
        assert gateway.get("/b")[0] == 200
    consul.register("hidden", port, tags=())


def test_a_restarted_and_empty_consul_takes_nothing_away(consul, port):
    """The key is gone with the registry's memory; what it said stays, and so do the instances."""
    put(consul, GOOD)
    with GatewayProcess(config(consul)) as gateway:
        eventually(gateway, lambda: gateway.get("/kv/x")[0] == 200)
        consul.restart(empty=True)
        eventually(gateway, lambda: key_of(gateway)["state"] == "kept")
        assert gateway.get("/kv/x") == (200, b"a")
        consul.register("hidden", port, tags=())
        put(consul, GOOD)
        eventually(gateway, lambda: key_of(gateway)["state"] == "applied")


def test_the_embedded_registry_is_a_store_too(port):
    """For a developer's machine: the same key, the same tags."""
    (registry,) = free_ports(1)
    url = f"http://127.0.0.1:{registry}"
    consul = {"url": url, "config_key": KEY}
    with GatewayProcess({"auth": {"default": "none"}, "discovery": {"provider": "embedded", "consul": consul}}) as gateway:
        tags = ["lbgateway.enable=true", "lbgateway.prefix=/api/orders/v1", "lbgateway.strip_prefix=true"]
        call(f"{url}/v1/agent/service/register", {"Name": "orders", "Address": "127.0.0.1", "Port": port, "Tags": tags})
        call(f"{url}/v1/kv/{KEY}", {"routes": [{"prefix": "/kv", "service": "orders"}]})
        eventually(gateway, lambda: gateway.get("/kv")[0] == gateway.get("/api/orders/v1/x")[0] == 200)
        assert {route["source"] for route in gateway.json("/admin/routes")["routes"]} == {"built-in", "kv", "tags"}


def call(url: str, body: Any) -> None:
    """A PUT of JSON, which is YAML."""
    with urllib.request.urlopen(urllib.request.Request(url, data=json.dumps(body).encode(), method="PUT"), timeout=5) as answer:
        assert answer.status == 200

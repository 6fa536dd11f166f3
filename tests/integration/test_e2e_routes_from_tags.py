"""Routes and settings that services bring along in a real Consul: taken over live, refused with a reason, gone with their tag."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.consul_server import ConsulServer
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.traffic import Traffic, config_for
from tests.support.upstream_server import Connection, Received, UpstreamThread, answer

ENABLED = "lbgateway.enable=true"


async def tell_path(request: Received, connection: Connection) -> bool:
    """Answers with the target as it arrived."""
    await connection.send(answer(request.target.encode()))
    return True


@pytest.fixture(scope="module")
def consul() -> Iterator[ConsulServer]:
    with ConsulServer() as server:
        yield server


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with UpstreamThread(tell_path) as upstream:
        yield upstream.port


def config(consul: ConsulServer, **more: Any) -> dict[str, Any]:
    tags = {"tag_prefixes": {"shop": ["/shop"], "rival": ["/shop"], "bold": ["/fixed"]}}
    given = config_for(consul.url, **more)
    given["discovery"]["consul"] |= tags
    return given


@pytest.fixture(scope="module")
def gateway(consul: ConsulServer) -> Iterator[GatewayProcess]:
    routes = [{"prefix": "/api/{service}", "strip_prefix": True}, {"prefix": "/fixed", "service": "fixed"}]
    with GatewayProcess(config(consul, routes=routes)) as process:
        yield process


def routes_of(gateway: GatewayProcess, service: str) -> list[dict[str, Any]]:
    return [route for route in gateway.json("/admin/routes")["routes"] if route["service"] == service]


def errors_of(gateway: GatewayProcess, service: str) -> dict[str, str]:
    """Tag, or else prefix -> why it is not in force."""
    return {route["tag"] or route["prefix"]: route["error"] for route in routes_of(gateway, service) if route["error"]}


def eventually(gateway: GatewayProcess, condition: Callable[[], object]) -> None:
    wait_until(lambda: bool(condition()), 5, gateway.story)


def test_a_tag_brings_a_route(consul, gateway, port):
    """A prefix that the operator grants, stripped or not as the tag says, and gone with the tag."""
    consul.register("shop", port, tags=(ENABLED, "lbgateway.prefix=/shop", "lbgateway.strip_prefix=true"))
    eventually(gateway, lambda: gateway.get("/shop/items?x=1") == (200, b"/items?x=1"))
    assert gateway.get("/api/shop/items") == (200, b"/items")
    [route] = routes_of(gateway, "shop")
    assert (route["prefix"], route["source"], route["strip_prefix"], route["error"]) == ("/shop", "tags", True, None)
    consul.register("shop", port, tags=(ENABLED, "lbgateway.prefix=/shop"))
    eventually(gateway, lambda: gateway.get("/shop/items") == (200, b"/shop/items"))
    consul.register("shop", port)
    eventually(gateway, lambda: gateway.get("/shop/items")[0] == 404)
    assert b'route="/shop"' not in gateway.get("/metrics")[1]


def test_meta_says_the_same_with_dashes(consul, gateway, port):
    """Consul allows no dots in the keys of Meta."""
    meta = {"lbgateway-prefix": "/api/meta", "lbgateway-strip_prefix": "true", "lbgateway-timeout-response": "2s"}
    consul.register("meta", port, Meta=meta)
    eventually(gateway, lambda: [route["source"] for route in routes_of(gateway, "meta")] == ["tags"])
    assert gateway.get("/api/meta/x") == (200, b"/x")
    assert gateway.json("/admin/config")["services"]["meta"]["timeout"]["response"] == "2s"


def test_what_is_wrong_disables_itself_and_is_shown(consul, gateway, port):
    """The other tags of the same service are in force, and the command line says it, too."""
    tags = (ENABLED, "lbgateway.prefix=/api/partly", "lbgateway.timeout.response=soon", "lbgateway.auth=none", "lbgateway.prefix=/admin")
    consul.register("partly", port, tags=tags)
    eventually(gateway, lambda: gateway.get("/api/partly/x") == (200, b"/api/partly/x"))
    errors = errors_of(gateway, "partly")
    assert "not a duration" in errors["lbgateway.timeout.response=soon"]
    assert "allow_tag_keys: [auth]" in errors["lbgateway.auth=none"]
    assert "partly may claim /api/partly, and nothing else" in errors["/admin"]
    told = subprocess.run(
        [sys.executable, "-m", "lbgateway", "routes", "--admin", gateway.url],
        env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert "partly: tag lbgateway.auth=none: not for services to set" in told.stdout
    assert "/admin of partly is disabled: partly may claim /api/partly, and nothing else" in told.stdout


def test_no_route_is_taken_from_the_file_or_from_another_service(consul, gateway, port):
    """Not even with a grant; who came first stays, also when its instances are replaced."""
    consul.register("fixed", port)
    consul.register("bold", port, tags=(ENABLED, "lbgateway.prefix=/fixed"))
    eventually(gateway, lambda: "which an operator wrote" in errors_of(gateway, "bold").get("/fixed", ""))
    consul.register("shop", port, tags=(ENABLED, "lbgateway.prefix=/shop"))
    eventually(gateway, lambda: gateway.get("/shop")[0] == 200)
    consul.register("rival", port, tags=(ENABLED, "lbgateway.prefix=/shop/mine"))
    eventually(gateway, lambda: "from shop, which came first" in errors_of(gateway, "rival").get("/shop/mine", ""))
    consul.register("shop", port, tags=(ENABLED, "lbgateway.prefix=/shop"), ID="shop-newer")
    consul.deregister(f"shop-{port}")
    eventually(gateway, lambda: [i["id"] for i in gateway.json("/admin/upstreams/shop")["instances"]] == ["shop-newer"])
    assert "from shop, which came first" in errors_of(gateway, "rival")["/shop/mine"]
    consul.deregister("shop-newer")
    consul.deregister(f"rival-{port}")


def test_the_newest_registration_speaks(consul, gateway, port):
    """During a deploy; the conflict is shown until it is over."""
    for number, prefix in enumerate(("/api/deploy/old", "/api/deploy/new")):
        consul.register("deploy", port, ID=f"deploy-{number}", tags=(ENABLED, f"lbgateway.prefix={prefix}"))
    eventually(gateway, lambda: gateway.get("/api/deploy/new/x") == (200, b"/api/deploy/new/x"))
    assert "said by deploy-0, but deploy-1, registered later, speaks" in errors_of(gateway, "deploy")["lbgateway.prefix=/api/deploy/old"]
    consul.register("deploy", port, ID="deploy-0", tags=(ENABLED, "lbgateway.prefix=/api/deploy/newer"))
    eventually(gateway, lambda: [r["prefix"] for r in routes_of(gateway, "deploy") if not r["error"]] == ["/api/deploy/newer"])
    consul.deregister("deploy-1")
    eventually(gateway, lambda: not errors_of(gateway, "deploy"))


def test_settings_come_and_go_with_their_tag(consul, gateway, port):
    """The balancer changes under way, no request fails, and endpoints keep what they know."""

    def balancer() -> str:
        return str(gateway.json("/admin/upstreams/tuned").get("balancer"))

    consul.register("tuned", port)
    eventually(gateway, lambda: gateway.get("/api/tuned/")[0] == 200)
    with Traffic(gateway.port, "/api/tuned/x", clients=2) as traffic:
        consul.register("tuned", port, tags=(ENABLED, "lbgateway.balancer=least_connections"))
        eventually(gateway, lambda: balancer() == "least_connections")
        consul.register("tuned", port)
        eventually(gateway, lambda: balancer() == "ewma")
    assert traffic.bad() == []
    [instance] = gateway.json("/admin/upstreams/tuned")["instances"]
    assert instance["requests_total"] >= len(traffic.told)


def test_a_route_outlives_the_last_instance(consul, gateway, port):
    """503, not 404: somebody is missing, not unknown."""
    id_ = consul.register("last", port, tags=(ENABLED, "lbgateway.prefix=/api/last/one"))
    eventually(gateway, lambda: gateway.get("/api/last/one")[0] == 200)
    consul.request("PUT", f"/v1/agent/service/maintenance/{id_}?enable=true")
    eventually(gateway, lambda: gateway.get("/api/last/one")[0] == 503)
    assert [route["error"] for route in routes_of(gateway, "last")] == [None]


def test_a_route_that_nobody_can_pass_is_disabled(consul, port):
    """Its effective auth is required, and nothing can check a token; others are not concerned."""
    given = config(consul, routes=[{"prefix": "/api/{service}", "auth": "none"}], auth={"default": "required"})
    consul.register("shop", port, tags=(ENABLED, "lbgateway.prefix=/shop"))
    with GatewayProcess(given) as gateway:
        eventually(gateway, lambda: gateway.get("/api/shop/")[0] == 200)
        eventually(gateway, lambda: "nothing can check one" in errors_of(gateway, "shop").get("/shop", ""))
        assert gateway.get("/shop")[0] == 404


def test_a_reload_takes_over_what_tags_may_say(consul, gateway, port):
    """Grants and allowed keys are the file's; with `routes_from_tags: false` services say nothing."""
    consul.register("open", port, tags=(ENABLED, "lbgateway.prefix=/open", "lbgateway.auth=none"))
    eventually(gateway, lambda: set(errors_of(gateway, "open")) == {"/open", "lbgateway.auth=none"})
    given = config(consul)
    given["discovery"]["consul"] |= {"tag_prefixes": {"open": ["/open"]}, "allow_tag_keys": ["auth"]}
    gateway.reload(given)
    eventually(gateway, lambda: gateway.get("/open")[0] == 200)
    assert [(route["auth"], route["error"]) for route in routes_of(gateway, "open")] == [("none", None)]
    given["discovery"]["consul"] |= {"routes_from_tags": False}
    gateway.reload(given)
    eventually(gateway, lambda: gateway.get("/open")[0] == 404)
    assert routes_of(gateway, "open") == []


@pytest.mark.parametrize("workers", [1, 2])
def test_another_provider_changes_nothing_before_a_restart(consul, port, workers):
    """It is told so; until then routes from tags stay, and what is shown is what is in force."""
    consul.register("shop", port, tags=(ENABLED, "lbgateway.prefix=/shop"))
    with GatewayProcess(config(consul, server={"workers": workers})) as own:
        eventually(own, lambda: own.get("/shop/items")[0] == 200)
        changed = config(consul, server={"workers": workers})
        changed["discovery"]["provider"] = "static"
        own.reload(changed)
        eventually(own, lambda: [event for event in own.events() if event["event"] == "reloaded"])
        assert [event["key"] for event in own.events() if "needs a restart" in event["event"]] == ["discovery.provider"]
        assert own.get("/shop/items") == (200, b"/shop/items")
        assert own.json("/health")["checks"]["discovery"]["provider"] == "consul"
        assert own.json("/admin/config")["discovery"]["provider"] == "consul"

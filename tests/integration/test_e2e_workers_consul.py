"""Several workers and a real Consul: one set of watches, one registration, one snapshot on disk, for all of them."""

from __future__ import annotations

import time

from tests.support.consul_proxy import ConsulProxy
from tests.support.consul_server import ConsulServer
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.traffic import Instance, Traffic, config_for
from tests.support.upstream_server import UpstreamThread
from tests.support.workers import asked, children, instances, kept_connections, serves

SERVICES = ("orders", "users", "carts")


def reads_of(consul: ConsulServer, workers: int, seconds: float) -> int:
    """How many reads a gateway makes from its start on."""
    with ConsulProxy(consul.port) as proxy:
        config = config_for(proxy.url, server={"workers": workers}, logging={"access_log": False})
        with GatewayProcess(config) as gateway:
            wait_until(lambda: gateway.json("/admin/upstreams")["discovery"]["state"] == "fresh", 20, gateway.story)
            wait_until(lambda: workers == 1 or serves(gateway, workers), 20, gateway.story)
            time.sleep(seconds)
            return len(proxy.asked)


def test_consul_is_asked_once_however_many_workers_there_are(consul_server):
    """The reads of a gateway with three workers are those of one with one, give or take a repeated question."""
    consul = consul_server
    with UpstreamThread(Instance("one")) as one:
        for service in SERVICES:
            consul.register(service, one.port)
        alone, together = (reads_of(consul, workers, 2.0) for workers in (1, 3))
        assert together <= alone + 3, (alone, together)


def test_what_changes_in_consul_reaches_all_workers(consul_server):
    """Who registers gets requests of each, who leaves gets none, routes in tags and in the key-value store are everybody's."""
    consul = consul_server
    consul.request("PUT", "/v1/kv/lbgateway/routes", {"routes": [{"prefix": "/kv", "service": "orders", "strip_prefix": True}]})
    with UpstreamThread(Instance("one")) as one, UpstreamThread(Instance("two")) as two:
        first = consul.register("orders", one.port)
        discovery = {"consul": {"url": consul.url, "config_key": "lbgateway/routes", "tag_prefixes": {"orders": ["/shop"]}}}
        config = config_for(consul.url, discovery=discovery, server={"workers": 2}, logging={"access_log": False})
        with GatewayProcess(config) as gateway:
            wait_until(lambda: serves(gateway, 2), 20, gateway.story)
            with kept_connections(gateway, 6) as connections:

                def everywhere(path: str, *bodies: bytes) -> bool:
                    told = [asked(connection, path) for connection in connections for _ in range(4)]
                    return all(status == 200 for status, _ in told) and {body for _, body in told} == set(bodies)

                wait_until(lambda: everywhere("/api/orders/", b"one"), 10, gateway.story)
                wait_until(lambda: everywhere("/kv/", b"one"), 10, gateway.story)
                tags = ("lbgateway.enable=true", "lbgateway.prefix=/shop", "lbgateway.balancer=round_robin")
                consul.register("orders", two.port, tags=tags)
                wait_until(lambda: everywhere("/shop/", b"one", b"two"), 10, gateway.story)
                consul.deregister(first)
                wait_until(lambda: everywhere("/shop/", b"two"), 10, gateway.story)
                other = {"routes": [{"prefix": "/new", "service": "orders", "strip_prefix": True}]}
                consul.request("PUT", "/v1/kv/lbgateway/routes", other)
                wait_until(lambda: everywhere("/new/", b"two"), 10, gateway.story)
                assert {asked(connection, "/kv/")[0] for connection in connections} == {404}
                assert gateway.json("/admin/routes")["config_key"]["state"] == "applied"
            assert gateway.stop() == 0


def test_while_consul_is_away_all_workers_serve_and_the_snapshot_is_the_parent_s(persistent_consul, tmp_path):
    """Stale everywhere at once; after a restart without Consul, from the file that one process has written."""
    consul, file = persistent_consul, tmp_path / "registry.json"
    with UpstreamThread(Instance("one")) as one:
        consul.register("orders", one.port)
        discovery = {"consul": {"url": consul.url, "snapshot": str(file)}}
        config = config_for(consul.url, discovery=discovery, server={"workers": 2}, logging={"access_log": False})
        with GatewayProcess(config) as gateway:
            wait_until(lambda: serves(gateway, 2) and len(instances(gateway)) == 1, 20, gateway.story)
            wait_until(file.exists, 20, gateway.story)
            consul.kill()
            wait_until(lambda: gateway.json("/admin/upstreams")["discovery"]["state"] == "stale", 20, gateway.story)
            with kept_connections(gateway, 6) as connections:
                assert {asked(connection, "/api/orders/")[0] for connection in connections} == {200}
            assert gateway.stop() == 0
            gateway.start()
            wait_until(lambda: serves(gateway, 2), 20, gateway.story)
            with kept_connections(gateway, 6) as connections:
                assert {asked(connection, "/api/orders/")[0] for connection in connections} == {200}
            assert gateway.json("/health")["checks"]["discovery"]["state"] == "snapshot"
            assert [each["state"] for each in instances(gateway).values()] == ["suspect"]


def test_the_gateway_registers_itself_once(consul_server):
    """One entry, which leaves before the port closes."""
    consul = consul_server
    register = {"name": "edge", "address": "127.0.0.1", "drain_pause": "500ms"}
    discovery = {"consul": {"url": consul.url, "register": register}}
    config = config_for(consul.url, discovery=discovery, server={"workers": 2}, logging={"access_log": False})

    def entries() -> list[str]:
        return [each["ServiceID"] for each in consul.request("GET", "/v1/catalog/service/edge")]

    with GatewayProcess(config) as gateway:
        wait_until(lambda: len(entries()) == 1, 20, gateway.story)
        assert len(children(gateway.pid)) == 2
        with Traffic(gateway.port, "/health/live", clients=2, until_refused=True) as traffic:
            assert gateway.stop() == 0
            traffic.join()
        assert traffic.bad((200, "refused")) == []
        wait_until(lambda: entries() == [], 10, gateway.story)

"""`admin.listen`: the gateway's own paths on a port of their own, over its whole life."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lbgateway.cli import main
from tests.support.certificates import Authority
from tests.support.consul_server import ConsulServer
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import free_ports, wait_until
from tests.support.traffic import Traffic, config_for
from tests.support.upstream_server import Connection, Received, UpstreamServer, UpstreamThread, answer

TAKEN_OVER = "taken over: the gateway before this one finishes what it has, and leaves"


async def slow_or_not(request: Received, connection: Connection) -> bool:
    """Tells the path; ``/slow`` takes its time."""
    import asyncio

    if request.target == "/slow":
        await asyncio.sleep(2)
    await connection.send(answer(request.target.encode()))
    return True


@pytest.fixture
def upstream() -> Iterator[UpstreamServer]:
    with UpstreamThread(slow_or_not) as server:
        yield server


def config_of(upstream: UpstreamServer, listen: str, **more: Any) -> dict[str, Any]:
    return {
        "auth": {"default": "none"},
        "discovery": {"provider": "static"},
        "services": {"orders": {"instances": [upstream.address]}},
        "routes": [{"prefix": "/api/{service}", "strip_prefix": True}, {"prefix": "/metrics", "service": "orders"}],
        "admin": {"listen": listen},
        "logging": {"access_log": False},
        **more,
    }


@pytest.fixture
def listen() -> str:
    return f"127.0.0.1:{free_ports(1)[0]}"


def test_each_port_has_its_own_paths(upstream, listen):
    """On the public one they are paths like all others, of a route or of nobody; on the other one routes do not count."""
    with GatewayProcess(config_of(upstream, listen)) as gateway, contextlib.ExitStack() as stack:
        own = gateway.own_port
        for path in ("/admin", "/admin/upstreams", "/health", "/health/ready"):
            assert (gateway.get(path)[0], gateway.get(path, port=own)[0]) == (404, 200)
        assert gateway.get("/metrics") == (200, b"/metrics")
        assert b"lbgateway_build_info" in gateway.get("/metrics", port=own)[1]
        connection = stack.enter_context(contextlib.closing(http.client.HTTPConnection("127.0.0.1", own)))
        for _ in range(3):
            assert gateway.get("/api/orders/1") == (200, b"/1")
            connection.request("GET", "/api/orders/1")
            assert json.loads(connection.getresponse().read())["type"].endswith("no_route")
        assert main(["upstreams", "--admin", f"http://{listen}"]) == 0
        [started] = [event for event in gateway.events() if event["event"] == "listening"]
        assert (started["addresses"], started["admin"]) == ([gateway.url], [f"http://{listen}"])


def test_over_tls_and_behind_proxies_the_other_port_is_plain(upstream, listen, tmp_path: Path):
    """Probes and scrapers send no preamble and know no certificate; and the peer is who connects."""
    cert, key = Authority(tmp_path).issue("127.0.0.1")
    server = {"tls": {"cert": cert, "key": key}, "proxy_protocol": True, "trusted_proxies": ["127.0.0.0/8"]}
    with GatewayProcess(config_of(upstream, listen, server=server)) as gateway:
        assert gateway.get("/health", port=gateway.own_port)[0] == 200
        assert gateway.get("/admin/routes", port=gateway.own_port)[0] == 200


def test_over_ipv6(upstream):
    """In brackets, as everywhere."""
    with GatewayProcess(config_of(upstream, f"[::1]:{free_ports(1)[0]}")) as gateway:
        assert gateway.get("/health", port=gateway.own_port)[0] == 200


def test_the_drain_can_be_watched_to_its_end(upstream, listen):
    """The other port says 503 as long as something runs, the public one serves; then both are gone, and the exit is 0."""
    with GatewayProcess(config_of(upstream, listen)) as gateway:
        answers: list[tuple[int, bytes]] = []
        asking = threading.Thread(target=lambda: answers.append(gateway.get("/api/orders/slow")))
        asking.start()
        wait_until(lambda: b"lbgateway_requests_active 1" in gateway.get("/metrics", port=gateway.own_port)[1], 5, gateway.story)
        gateway.signal(signal.SIGTERM)
        wait_until(lambda: gateway.get("/health/ready", port=gateway.own_port)[0] == 503, 5, gateway.story)
        assert gateway.get("/api/orders/1") == (200, b"/1")
        assert gateway.get("/health/live", port=gateway.own_port)[0] == 200
        asking.join()
        with pytest.raises(ConnectionRefusedError):
            wait_until(lambda: gateway.get("/api/orders/1") is None, 2, gateway.story)
        assert answers == [(200, b"/slow")]
        assert gateway.wait(10) == 0
        assert "what was left is cut" not in gateway.log()


@contextlib.contextmanager
def successor(before: GatewayProcess, config: dict[str, Any]) -> Iterator[GatewayProcess]:
    """One that has taken over from `before`, which has ended."""
    gateway = GatewayProcess(config, before=before)
    try:
        gateway.start(wait=False)
        wait_until(lambda: any(each["event"] == TAKEN_OVER for each in gateway.events()), 30, gateway.story)
        assert before.wait() == 0
        yield gateway
    finally:
        gateway.close()


def test_a_takeover_hands_over_both(upstream, listen):
    """Neither port refuses anybody; a successor with another address for its own paths gets that one."""
    elsewhere = f"127.0.0.1:{free_ports(1)[0]}"
    with GatewayProcess(config_of(upstream, listen)) as first, Traffic(first.port, "/api/orders/", clients=2, pause_s=0.01) as clients:
        probes = Traffic(first.own_port, "/health/live", clients=2, pause_s=0.01)
        with probes, successor(first, config_of(upstream, listen)) as second:
            probes.stop()
            with successor(second, config_of(upstream, elsewhere)) as third:
                clients.stop()
                assert third.get("/health/live", port=third.own_port)[0] == 200
                with pytest.raises(ConnectionRefusedError):
                    third.get("/health/live", port=first.own_port)
    assert (clients.bad(), probes.bad()) == ([], [])


def test_a_busy_port_ends_the_start_and_leaves_the_running_gateway(upstream, listen):
    """With the key that is to blame; a takeover that fails on it changes nothing."""
    with socket.create_server(("127.0.0.1", 0)) as other, GatewayProcess(config_of(upstream, listen)) as running:
        busy = f"127.0.0.1:{other.getsockname()[1]}"
        for before in (None, running):
            gateway = GatewayProcess(config_of(upstream, busy), before=before).start(wait=False)
            assert gateway.wait() == 1
            assert f"lbgateway run: admin.listen: {busy} is in use by another process" in gateway.log()
            gateway.close()
        assert running.get("/api/orders/1") == (200, b"/1")
        assert running.get("/health", port=running.own_port)[0] == 200


def test_a_reload_says_that_the_address_needs_a_restart(upstream, listen):
    """And the paths stay where they are: nobody loses /health over a reload."""
    with GatewayProcess(config_of(upstream, listen)) as gateway:
        config = config_of(upstream, listen)
        del config["admin"]
        own = gateway.own_port
        gateway.reload(config)
        wait_until(lambda: any(each["event"] == "reloaded" for each in gateway.events()), 10, gateway.story)
        [warning] = [each for each in gateway.events() if each["event"] == "changed, but needs a restart to take effect"]
        assert warning["key"] == "admin.listen"
        assert (gateway.get("/health", port=own)[0], gateway.get("/health")[0]) == (200, 404)


def test_consul_asks_at_the_other_port(consul_server: ConsulServer, listen):
    """The entry names the public port, and its check passes."""
    config = config_for(consul_server.url, logging={"access_log": False}, admin={"listen": listen})
    config["discovery"]["consul"] |= {"register": {"name": "gateway-apart"}}

    def entries() -> list[int]:
        return [row["Service"]["Port"] for row in consul_server.request("GET", "/v1/health/service/gateway-apart?passing")]

    with GatewayProcess(config) as gateway:
        wait_until(lambda: entries() == [gateway.port], 20, gateway.story)

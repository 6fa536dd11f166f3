"""A gateway with the registry in it: `discovery.provider: embedded`, as a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from discovery import register
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import free_ports, wait_until
from tests.support.registry_client import RegistryClient
from tests.support.traffic import Instance, Traffic
from tests.support.upstream_server import UpstreamThread


@pytest.fixture
def registry_url() -> str:
    return f"http://127.0.0.1:{free_ports(1)[0]}"


@pytest.fixture
def gateway(registry_url: str) -> Iterator[GatewayProcess]:
    with GatewayProcess(config(registry_url)) as process:
        yield process


def config(registry_url: str, **discovery: Any) -> dict[str, Any]:
    return {
        "auth": {"default": "none"},
        "discovery": {"provider": "embedded", "consul": {"url": registry_url}, **discovery},
        "logging": {"access_log": False},
    }


def test_services_register_with_the_gateway_itself(gateway, registry_url):
    """Through the ordinary API, by the helper as by hand; nothing fails while one comes, the file is read again, and one goes."""
    assert gateway.json("/health")["status"] == "ok"
    with UpstreamThread(Instance("one")) as one, UpstreamThread(Instance("two")) as two, RegistryClient(registry_url) as registry:
        registry.register(Name="orders", ID="orders-1", Address="127.0.0.1", Port=one.port, Tags=["lbgateway.enable=true"])
        wait_until(lambda: gateway.get("/api/orders/") == (200, b"one"), 5, gateway.story)
        with Traffic(gateway.port, "/api/orders/") as traffic:
            with register("orders", two.port, address="127.0.0.1", consul_url=registry_url):
                wait_until(lambda: {told.body for told in traffic.told} == {b"one", b"two"}, 5, gateway.story)
                gateway.reload(config(registry_url))
                wait_until(lambda: "reloaded" in gateway.log(), 5, gateway.story)
            seen = len(traffic.told)
            wait_until(lambda: len(traffic.told) > seen + 50, 5, gateway.story)
        assert traffic.bad() == []
        assert {told.body for told in traffic.told[-20:]} == {b"one"}
    assert gateway.json("/admin/upstreams")["discovery"]["provider"] == "embedded"
    assert gateway.stop() == 0


def test_registrations_survive_the_gateway_where_a_file_keeps_them(registry_url, tmp_path):
    """A file that is something else ends the start with a sentence, and is left as it is."""
    file = tmp_path / "registry.json"
    with UpstreamThread(Instance("one")) as one, GatewayProcess(config(registry_url, embedded={"file": str(file)})) as gateway:
        with RegistryClient(registry_url) as registry:
            registry.register(Name="orders", Address="127.0.0.1", Port=one.port, Tags=["lbgateway.enable=true"])
        wait_until(lambda: gateway.get("/api/orders/") == (200, b"one"), 5, gateway.story)
        assert gateway.stop() == 0
        gateway.start()
        wait_until(lambda: gateway.get("/api/orders/") == (200, b"one"), 5, gateway.story)
        assert gateway.stop() == 0
        file.write_text("precious")
        gateway.start(wait=False)
        assert gateway.wait(20) == 1
        assert f"lbgateway run: {file} (discovery.embedded.file) cannot be used: not JSON" in gateway.log()
        assert file.read_text() == "precious"


def test_a_taken_port_ends_the_start_with_a_sentence(gateway, registry_url):
    """Not with a traceback."""
    second = GatewayProcess(config(registry_url))
    try:
        second.start(wait=False)
        assert second.wait(20) == 1
        assert second.story().splitlines()[-1] == (
            f"lbgateway run: the embedded registry cannot listen on {registry_url.removeprefix('http://')} (discovery.consul.url): "
            "it is in use by another process"
        )
        assert "Traceback" not in second.log()
    finally:
        second.close()

"""A registry that is killed, comes back and is frozen: the development registry with its file, and a real Consul with its data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import httpx
import pytest

from tests.contract.test_registry_blocking_contract import Blocked
from tests.support.consul_server import ConsulServer
from tests.support.embedded_registry import RegistryThread
from tests.support.registry_client import RegistryClient, eventually

Server: TypeAlias = RegistryThread | ConsulServer


@pytest.fixture(params=["embedded", "consul"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """One of this test's own, which keeps what it knows."""
    if request.param == "consul":
        yield request.getfixturevalue("persistent_consul")
        return
    with RegistryThread(file=tmp_path / "registry.json", first_index=10) as thread:
        yield thread


@pytest.fixture
def registry(server: Server) -> Iterator[RegistryClient]:
    with RegistryClient(server.url) as client:
        yield client


def restart(server: Server) -> None:
    """Kill it, and start another one on the same data."""
    if isinstance(server, RegistryThread):
        server.restart(empty=True)  # an empty object; what it knows is in its file
    else:
        server.restart()


def test_a_restart_keeps_services_and_keys_and_the_index_goes_on(server: Server, registry: RegistryClient) -> None:
    """A heartbeat is remembered, what was only claimed is not, and a probe begins anew."""
    registry.register(Name="web", ID="web-1", Tags=["t"], Meta={"k": "v"}, Port=80)
    registry.register(Name="heard", Check={"TTL": "60s"})
    registry.put("agent/check/pass/service:heard", None, params={"note": "fine"})
    registry.register(Name="claimed", Check={"TTL": "60s", "Status": "passing"})
    registry.register(Name="probed", Check={"TCP": "127.0.0.1:1", "Interval": "60s", "Status": "passing"})
    registry.put("agent/service/maintenance/web-1", None, params={"enable": "true", "reason": "moving"})
    registry.put("kv/a/b", b"value")
    paths = ("health/service/heard", "health/service/nobody", "catalog/services", "catalog/nodes", "kv/a/b", "kv/nothing", "kv/?keys")
    before = {path: registry.index(path) for path in paths}
    web = registry.health("web")[0]["Service"]
    restart(server)

    eventually(lambda: bool(registry.health("probed")) and registry.statuses("probed") == {"service:probed": "critical"}, 10)
    [entry] = registry.health("web")
    assert (entry["Service"], [check["Notes"] for check in entry["Checks"] if check["ServiceID"]]) == (web, ["moving"])
    assert registry.statuses("heard") == {"service:heard": "passing"}
    assert registry.statuses("claimed") == {"service:claimed": "critical"}
    assert registry.get("kv/a/b?raw").text == "value"
    assert {path: registry.index(path) for path in paths if registry.index(path) < before[path]} == {}


def test_a_kill_ends_blocked_queries_without_an_answer(server: Server, registry: RegistryClient) -> None:
    """So that a client learns of it at once."""
    registry.register(Name="web")
    blocked = Blocked(registry, "health/service/web", registry.index("health/service/web"), wait="30s")
    server.kill()
    with pytest.raises(httpx.TransportError):
        blocked.woken()
    with pytest.raises(httpx.ConnectError):
        registry.get("status/leader")

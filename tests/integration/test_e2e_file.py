"""``provider: file``: a list on disk, followed by a running gateway."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lbgateway.cli.check import run as check
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.traffic import Instance, Traffic
from tests.support.upstream_server import UpstreamThread

CONFIG = {"auth": {"default": "none"}, "logging": {"access_log": False}}


class Listed(GatewayProcess):
    """A gateway that follows ``instances.yaml`` beside its configuration."""

    def __init__(self, text: str) -> None:
        super().__init__(CONFIG)
        self.list = self.folder / "instances.yaml"
        self.say(text)
        self.write({**CONFIG, "discovery": {"provider": "file", "file": {"path": "instances.yaml"}}})

    def say(self, text: str) -> None:
        """Replace the list as one should: another file, renamed."""
        new = self.folder / "instances.new"
        new.write_text(text)
        new.rename(self.list)

    def discovery(self) -> dict[str, Any]:
        told: dict[str, Any] = self.json("/admin/upstreams")["discovery"]
        return told

    def states(self, service: str = "orders") -> dict[int, str]:
        return {one["port"]: one["state"] for one in self.json(f"/admin/upstreams/{service}").get("instances", ())}

    def eventually(self, condition: Any) -> None:
        wait_until(condition, 5, self.story)


@pytest.fixture
def upstreams() -> Iterator[tuple[int, int]]:
    with UpstreamThread(Instance("one")) as one, UpstreamThread(Instance("two")) as two:
        yield one.port, two.port


def test_instances_come_move_and_go_with_the_file(upstreams):
    """Services and instances, their states and weights, in use within a second and without a lost request."""
    one, two = upstreams
    with Listed(f"orders: [127.0.0.1:{one}]") as gateway, Traffic(gateway.port, "/api/orders/", clients=2) as traffic:
        assert gateway.discovery()["provider"] == "file"
        assert gateway.get("/api/users/")[0] == 404
        gateway.say(f"orders: [127.0.0.1:{one}, {{address: 127.0.0.1:{two}, weight: 3, meta: {{k: v}}}}]\nusers: []")
        gateway.eventually(lambda: gateway.states() == {one: "ready", two: "ready"})
        assert gateway.get("/api/users/")[0] == 503
        [_, second] = sorted(gateway.json("/admin/upstreams/orders")["instances"], key=lambda each: each["port"] == two)
        assert (second["weight"], second["meta"]) == (3, {"k": "v"})
        gateway.say(f"orders: [{{address: 127.0.0.1:{one}, state: draining, reason: disk swap}}, 127.0.0.1:{two}]")
        gateway.eventually(lambda: gateway.states() == {one: "draining", two: "ready"})
        [draining, _] = sorted(gateway.json("/admin/upstreams/orders/explain")["instances"], key=lambda each: each["port"] == two)
        assert (draining["reason"], draining["pickable"]) == ("disk swap", False)
        gateway.eventually(lambda: {gateway.get("/api/orders/")[1] for _ in range(4)} == {b"two"})
        gateway.say(json.dumps({"orders": [f"127.0.0.1:{one}"]}))
        gateway.eventually(lambda: gateway.states() == {one: "ready"})
        gateway.eventually(lambda: gateway.get("/api/users/")[0] == 404)
    assert traffic.bad() == []


def test_each_forced_state_does_what_it_says(upstreams):
    """Only the ready one is asked; a suspect is, too, when nobody else is left."""
    one, two = upstreams
    said = {1: "critical", 2: "maintenance", 3: "draining", two: "suspect", one: "passing"}
    lines = [f"- {{address: 127.0.0.1:{port}, state: {state}}}" for port, state in said.items()]
    with Listed("\n".join(["orders:", *lines])) as gateway:
        assert gateway.states() == {1: "critical", 2: "maintenance", 3: "draining", one: "ready", two: "suspect"}
        assert {gateway.get("/api/orders/") for _ in range(10)} == {(200, b"one")}
        gateway.say("\n".join(["orders:", *lines[:-1]]))
        gateway.eventually(lambda: gateway.get("/api/orders/") == (200, b"two"))


def test_a_bad_or_vanished_file_harms_nobody(upstreams):
    """Scenario 25: the last good list stays, the error is shown with its line; degraded until the next good one."""
    one, _ = upstreams
    with Listed(f"orders: [127.0.0.1:{one}]") as gateway, Traffic(gateway.port, "/api/orders/", clients=2) as traffic:
        gateway.say(f"orders: [127.0.0.1:{one}]\nusers:\n  - 127.0.0.1")
        gateway.eventually(lambda: gateway.discovery()["state"] == "stale")
        told = gateway.discovery()
        assert told["last_error"] == f"{gateway.list}:3: users[0]: must be host:port, such as 127.0.0.1:9001"
        assert gateway.json("/health")["status"] == "degraded"
        assert gateway.states() == {one: "ready"}
        [warning] = [event for event in gateway.events() if "instances file" in event["event"]]
        assert "users[0]: must be host:port" in warning["event"]
        gateway.say(f"orders: [127.0.0.1:{one}")
        gateway.eventually(lambda: "not valid YAML" in gateway.discovery()["last_error"])
        gateway.list.unlink()
        gateway.eventually(lambda: "No such file" in gateway.discovery()["last_error"])
        metrics = gateway.get("/metrics")[1].decode()
        assert 'lbgateway_discovery_errors_total{kind="malformed"} 2.0' in metrics
        assert 'lbgateway_discovery_errors_total{kind="unreachable"} 1.0' in metrics
        assert 'lbgateway_discovery_state{service="orders",state="stale"} 1.0' in metrics
        gateway.say(f"orders: [127.0.0.1:{one}]")
        gateway.eventually(lambda: gateway.discovery()["state"] == "fresh")
        assert gateway.discovery()["last_error"] is None
        assert gateway.json("/health")["status"] == "ok"
    assert traffic.bad() == []


def test_a_reload_may_name_another_file(upstreams):
    """Without a restart; a bad one is refused with its errors and the old one stays."""
    one, two = upstreams
    with Listed(f"orders: [127.0.0.1:{one}]") as gateway, Traffic(gateway.port, "/api/orders/", clients=2) as traffic:
        other = gateway.folder / "other.yaml"
        other.write_text("orders: [nonsense]")
        wanted = {**CONFIG, "discovery": {"provider": "file", "file": {"path": "other.yaml"}}}
        gateway.reload(wanted)
        gateway.eventually(lambda: [event for event in gateway.events() if "reload refused" in event["event"]])
        [refused] = [event for event in gateway.events() if "reload refused" in event["event"]]
        assert refused["errors"] == [f"{other}:1: orders[0]: must be host:port, such as 127.0.0.1:9001"]
        assert gateway.states() == {one: "ready"}
        other.write_text(f"orders: [127.0.0.1:{two}]")
        gateway.reload(wanted)
        gateway.eventually(lambda: gateway.states() == {two: "ready"})
        gateway.say("orders: []")
    assert traffic.bad() == []
    assert {told.body for told in traffic.told} == {b"one", b"two"}


def test_check_names_the_mistakes_of_both_files(tmp_path: Path, capsys):
    """So does a start."""
    config, listed = tmp_path / "gateway.yaml", tmp_path / "instances.yaml"
    config.write_text("auth: {default: none}\ndiscovery:\n  provider: file\n  file: {path: instances.yaml}\n")
    listed.write_text("orders:\n- {adress: 127.0.0.1:9001}\n")
    assert check(config, sys.stdout, {}) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{listed}:2: orders[0].address: is required",
        f"{listed}:2: orders[0].adress: unknown key; did you mean `address`?",
    ]
    listed.write_text("orders: [127.0.0.1:9001]\n")
    assert check(config, sys.stdout, {}) == 0
    assert "instances from file" in capsys.readouterr().out

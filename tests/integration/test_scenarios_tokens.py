"""Scenarios 13, 14, 15 and the ACL's part of 25: what becomes of a gateway whose token loses its rights, under steady load.

ACLs of a real Consul that deny by default. It says 403 to an unknown token; what a known one may not read it leaves out of a good answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.consul_server import ConsulServer
from tests.support.scenes import Scene, upstreams
from tests.support.traffic import Traffic

MASTER = "2d5b1b0c-6b2a-4f0e-9a57-1c1f0f0d9a12"
ACL = f'acl {{ enabled = true default_policy = "deny" tokens {{ master = "{MASTER}" agent = "{MASTER}" }} }}'
SERVICES = 'service_prefix "" { policy = "read" }'
KEYS = 'key_prefix "lbgateway/" { policy = "read" }'
ALL = f'{SERVICES} node_prefix "" {{ policy = "read" }} {KEYS}'
HOLD_S = 1.0


class Reader:
    """A policy that may be changed, and a token that has it."""

    def __init__(self, consul: ConsulServer, name: str, rules: str) -> None:
        self.consul, self.name = consul, name
        self.policy = consul.request("PUT", "/v1/acl/policy", {"Name": name, "Rules": rules})["ID"]
        made = consul.request("PUT", "/v1/acl/token", {"Policies": [{"Name": name}]})
        self.secret, self._accessor = made["SecretID"], made["AccessorID"]

    def may(self, rules: str) -> None:
        self.consul.request("PUT", f"/v1/acl/policy/{self.policy}", {"ID": self.policy, "Name": self.name, "Rules": rules})

    def revoke(self) -> None:
        self.consul.request("DELETE", f"/v1/acl/token/{self._accessor}")


@pytest.fixture(scope="module")
def consul() -> Iterator[ConsulServer]:
    with ConsulServer(hcl=ACL, token=MASTER) as server:
        yield server


@pytest.fixture(scope="module")
def port(consul: ConsulServer) -> Iterator[int]:
    with upstreams(1) as [server]:
        consul.register("orders", server.port)
        yield server.port


def scene(consul: ConsulServer, token: Any, **more: Any) -> Scene:
    return Scene(consul.url, consul={"token": token, "wait": "1s", "empty_hold": f"{HOLD_S:g}s", **more})


def test_scenario_13_a_token_is_revoked_and_replaced_in_its_file(consul, port, tmp_path: Path):
    """403: the last good answer stays, and whom to ask is in the log, once; the new token is picked up without a restart."""
    old, file = Reader(consul, "old", ALL), tmp_path / "token"
    file.write_text(old.secret)
    with scene(consul, {"file": str(file)}) as gateway:
        gateway.all_ready(1)
        with Traffic(gateway.port, "/api/orders/", clients=2) as traffic:
            old.revoke()
            gateway.eventually(lambda: gateway.discovery()["state"] == "stale")
            assert gateway.json("/health")["status"] == "degraded"
            assert "403" in gateway.discovery()["last_error"]
            time.sleep(2 * HOLD_S)
            assert gateway.states() == {f"orders-{port}": "ready"}
            file.write_text(Reader(consul, "new", ALL).secret)
            gateway.fresh(20)
        assert traffic.bad() == []
        assert gateway.errors()["denied"] < 10
        assert len([event for event in gateway.events() if "does it have service:read and node:read?" in event["event"]]) == 1
        assert old.secret not in gateway.log() + gateway.get("/admin/config")[1].decode()


@pytest.mark.parametrize("left", [KEYS, SERVICES], ids=["nothing", "services without nodes"])
def test_scenario_14_a_token_is_narrowed(consul, port, left):
    """200 and nothing, at the same index: nothing is removed, however long; the missing rule is named; back with the permission."""
    reader = Reader(consul, f"narrowed-to-{len(left)}", ALL)
    with scene(consul, reader.secret) as gateway:
        gateway.all_ready(1)
        with Traffic(gateway.port, "/api/orders/", clients=2) as traffic:
            reader.may(left)
            gateway.eventually(lambda: gateway.states() == {f"orders-{port}": "suspect"})
            [shown] = gateway.instances()
            assert "may the token still read it?" in shown["reason"]
            gateway.eventually(lambda: "the token needs" in str(gateway.discovery()["last_error"]))
            time.sleep(3 * HOLD_S)
            assert gateway.states() == {f"orders-{port}": "suspect"}
            reader.may(ALL)
            gateway.all_ready(1)
        assert traffic.bad() == []


def test_scenario_15_a_token_that_may_not_read_nodes_from_the_start(consul, port):
    """The missing rule is named and the gateway is not ready; it serves, without a restart, when the rule is there."""
    reader = Reader(consul, "no-nodes", SERVICES)
    with scene(consul, reader.secret) as gateway:
        gateway.eventually(lambda: "the token needs node:read" in str(gateway.discovery()["last_error"]))
        assert "service:read" not in gateway.discovery()["last_error"]
        assert (gateway.get("/health/ready")[0], gateway.get("/health")[0]) == (503, 503)
        assert gateway.get("/api/orders/")[0] == 503
        reader.may(ALL)
        gateway.eventually(lambda: gateway.get("/api/orders/")[0] == 200 and gateway.get("/health/ready")[0] == 200, 20)
        assert gateway.states() == {f"orders-{port}": "ready"}


def test_scenario_25_a_key_that_may_not_be_read_any_more(consul, port):
    """What it said last stays in force, and operators are told why nothing new comes."""
    key = "lbgateway/routes"
    consul.request("PUT", f"/v1/kv/{key}", {"routes": [{"prefix": "/kv", "service": "orders", "strip_prefix": True}]})
    reader = Reader(consul, "keys", ALL)
    with scene(consul, reader.secret, config_key=key) as gateway:
        gateway.eventually(lambda: gateway.get("/kv/x")[0] == 200)
        with Traffic(gateway.port, "/kv/x", clients=2) as traffic:
            reader.may(ALL.replace(KEYS, ""))
            gateway.eventually(lambda: "403" in str(gateway.json("/admin/routes")["config_key"]["error"]))
            time.sleep(HOLD_S)
            assert gateway.states() == {f"orders-{port}": "ready"}
            reader.may(ALL)
            gateway.eventually(lambda: gateway.json("/admin/routes")["config_key"]["error"] is None, 20)
        assert traffic.bad() == []

"""The Consul source against a real Consul: one that is killed, emptied, frozen and closed to us.

Every expectation is an order of things with a generous bound; exact times are the business of the
tests in virtual time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from discovery.consul import ConsulSource
from discovery.instance import Instance, Snapshot
from discovery.registry import Registry
from discovery.token_file import TokenFile
from tests.support.consul_server import ConsulServer

TTL = {"TTL": "60s", "Status": "passing"}


class Watched:
    """A registry on a real Consul, with everything it told."""

    def __init__(self, url: str | list[str], **settings: Any) -> None:
        self.told: list[Snapshot] = []
        self.errors: Counter[str] = Counter()
        self.gone: list[str] = []
        named = settings.pop("named", ())
        self.source = ConsulSource(url, on_error=self.count, **settings)
        self.registry = Registry(self.source, expose="tagged", named=named, on_snapshot=self.told.append, on_gone=self.gone.append)

    def count(self, kind: str) -> None:
        self.errors[kind] += 1

    def states(self, service: str = "orders") -> dict[str, str]:
        """``{"orders-9001": "passing"}``."""
        snapshot = self.registry.snapshot(service)
        return {} if snapshot is None else {i.id: str(i.state) for i in snapshot.instances}

    def instance(self, service: str = "orders") -> Instance:
        """The first one."""
        snapshot = self.registry.snapshot(service)
        assert snapshot is not None
        return snapshot.instances[0]

    async def until(self, condition: Callable[[], object], within_s: float = 5.0) -> float:
        """Wait for something to become true; returns how long it took."""
        began_s = time.monotonic()
        while not condition():
            assert time.monotonic() - began_s < within_s, f"{self.source!r} {self.told[-1:]!r} {self.errors!r}"
            await asyncio.sleep(0.002)
        return time.monotonic() - began_s

    async def until_states(self, within_s: float = 5.0, **states: str) -> float:
        """``until_states(o1="passing")`` means instance orders-9001 and no other."""
        wanted = {f"orders-900{name[1:]}": state for name, state in states.items()}
        return await self.until(lambda: self.states() == wanted, within_s)


@contextlib.asynccontextmanager
async def watching(url: str | list[str], **settings: Any) -> AsyncIterator[Watched]:
    """Start, and at the end make sure that closing is quick and complete."""
    before = asyncio.all_tasks()
    watched = Watched(url, **settings)
    await watched.registry.start()
    try:
        yield watched
    finally:
        began_s = time.monotonic()
        await watched.registry.aclose()
        assert time.monotonic() - began_s < 1.0
        assert asyncio.all_tasks() <= before


async def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Consul is controlled by blocking calls."""
    return await asyncio.to_thread(function, *args, **kwargs)


async def three_orders(server: ConsulServer, watched: Watched, **more: Any) -> None:
    for port in (9001, 9002, 9003):
        await call(server.register, "orders", port, **more)
    await watched.until_states(o1="passing", o2="passing", o3="passing")


async def test_registrations_are_seen_as_they_happen(consul_server: ConsulServer) -> None:
    """A new service that opts in, its second instance, and its end: each within a second, the last one held as suspect."""
    async with watching(consul_server.url) as watched:
        await watched.until(lambda: watched.registry.registered("consul"))
        await call(consul_server.register, "hidden", 9009, tags=())
        await call(consul_server.register, "orders", 9001)
        assert await watched.until_states(o1="passing") < 1.0
        await call(consul_server.register, "orders", 9002)
        assert await watched.until_states(o1="passing", o2="passing") < 1.0
        await call(consul_server.deregister, "orders-9001")
        assert await watched.until_states(o2="passing") < 1.0
        await call(consul_server.deregister, "orders-9002")
        assert await watched.until_states(o2="suspect") < 1.0
        assert watched.registry.unexposed() == ("hidden",)
        assert not watched.errors


async def test_a_new_service_is_known_within_100_ms(consul_server: ConsulServer) -> None:
    """The median over twenty of them, one right after the other."""
    async with watching(consul_server.url) as watched:
        await watched.until(lambda: watched.registry.registered("consul"))
        delays = []
        for port in range(9001, 9021):
            await call(consul_server.register, f"s{port}", port)
            delays.append(await watched.until(lambda name=f"s{port}": watched.states(name)))

        assert sorted(delays)[10] < 0.1


async def test_states_weights_and_reasons_follow_the_checks(consul_server: ConsulServer) -> None:
    """Warning, critical, maintenance of the service and of the node, and back."""
    put = consul_server.request
    check = "/v1/agent/check/{}/service:orders-9001"
    async with watching(consul_server.url) as watched:
        await call(consul_server.register, "orders", 9001, Check=TTL, Weights={"Passing": 8, "Warning": 2}, Meta={"zone": "a"})
        await watched.until_states(o1="passing")
        instance = watched.instance()
        assert (instance.weight, instance.zone, instance.key.node) == (8, "a", "test-node")

        await call(put, "PUT", check.format("warn") + "?note=slow")
        await watched.until_states(o1="warning")
        instance = watched.instance()
        assert (instance.weight, instance.reason) == (2, "Service 'orders' check: slow")

        await call(put, "PUT", check.format("fail") + "?note=dead")
        await watched.until_states(o1="critical")
        await call(put, "PUT", check.format("pass"))
        await watched.until_states(o1="passing")
        await call(put, "PUT", "/v1/agent/service/maintenance/orders-9001?enable=true&reason=upgrade")
        await watched.until_states(o1="maintenance")
        assert watched.instance().reason == "upgrade"
        await call(put, "PUT", "/v1/agent/service/maintenance/orders-9001?enable=false")
        await watched.until_states(o1="passing")
        await call(put, "PUT", "/v1/agent/maintenance?enable=true&reason=kernel")
        await watched.until_states(o1="maintenance")
        await call(put, "PUT", "/v1/agent/maintenance?enable=false")
        await watched.until_states(o1="passing")


async def test_a_kill_and_a_restart_with_data_cost_nothing(persistent_consul: ConsulServer) -> None:
    """Stale at once, fresh soon after the restart; no instance is ever missing or out of use, though all checks begin critical."""
    async with watching(persistent_consul.url) as watched:
        await three_orders(persistent_consul, watched, Check=TTL)
        known = len(watched.told)

        await call(persistent_consul.kill)
        await watched.until(lambda: watched.source.status().state == "stale", 1.0)
        await call(persistent_consul.restart)
        await watched.until(lambda: watched.source.status().state == "fresh", 6.0)
        for port in (9001, 9002, 9003):
            await asyncio.sleep(0.3)
            await call(persistent_consul.request, "PUT", f"/v1/agent/check/pass/service:orders-{port}")
        await watched.until_states(o1="passing", o2="passing", o3="passing")

        assert {i.state for s in watched.told[known:] for i in s.instances} <= {"passing", "suspect"}
        assert {len(s.instances) for s in watched.told[known:]} == {3}
        assert watched.errors.keys() <= {"connection_lost", "unreachable", "server_error", "timeout", "index_reset"}


async def test_a_restart_without_data_is_survived(consul_server: ConsulServer) -> None:
    """Everything is suspect until it registers again, and changes are seen again."""
    async with watching(consul_server.url) as watched:
        await three_orders(consul_server, watched)
        known = len(watched.told)

        await call(consul_server.restart, empty=True)
        await watched.until_states(o1="suspect", o2="suspect", o3="suspect")
        await call(consul_server.register, "orders", 9002)
        await watched.until_states(o1="suspect", o2="passing", o3="suspect")
        await call(consul_server.register, "orders", 9001, Check={"TTL": "60s"})
        await call(consul_server.register, "orders", 9003)
        await watched.until_states(o1="suspect", o2="passing", o3="passing")
        await call(consul_server.request, "PUT", "/v1/agent/check/pass/service:orders-9001")
        await watched.until_states(o1="passing", o2="passing", o3="passing")
        await call(consul_server.deregister, "orders-9003")
        assert await watched.until_states(o1="passing", o2="passing") < 1.0

        assert {len(s.instances) for s in watched.told[known:-1]} == {3}
        assert watched.gone == []


async def test_an_agent_that_leaves_in_good_order_fails_nobody(consul_server: ConsulServer) -> None:
    """It answers all blocked reads once more before it goes; that is neither a change nor a reason to spin."""
    async with watching(consul_server.url) as watched:
        await three_orders(consul_server, watched)
        await call(consul_server.terminate)
        await watched.until(lambda: watched.source.status().state == "stale", 5.0)
        assert len(watched.states()) == 3
        await call(consul_server.start)
        await watched.until(lambda: watched.source.status().state == "fresh", 6.0)
        assert set(watched.states().values()) <= {"passing", "suspect"}
        assert watched.errors.total() < 100


async def test_a_real_end_is_believed_in_the_end(consul_server: ConsulServer) -> None:
    """One of one: suspect for the hold, then gone, and the service is still known."""
    async with watching(consul_server.url, empty_hold_s=2.0) as watched:
        await call(consul_server.register, "orders", 9001)
        await watched.until_states(o1="passing")
        await call(consul_server.deregister, "orders-9001")
        await watched.until_states(o1="suspect")
        assert await watched.until_states() > 1.0
        assert watched.registry.exposed("orders")


async def test_a_frozen_agent_is_left_as_soon_as_the_read_times_out(consul_server: ConsulServer) -> None:
    """The connection stays open, so nothing but our own timeout tells; what is known stays."""
    async with watching(consul_server.url, wait_s=1.0) as watched:
        await call(consul_server.register, "orders", 9001)
        await watched.until_states(o1="passing")
        consul_server.pause()
        try:
            await watched.until(lambda: watched.source.status().state == "stale", 15.0)
        finally:
            consul_server.resume()
        assert watched.states() == {"orders-9001": "passing"}
        assert watched.errors["timeout"] > 0
        await watched.until(lambda: watched.source.status().state == "fresh", 15.0)


@pytest.mark.alone
async def test_another_agent_is_asked_when_one_is_frozen(consul_server: ConsulServer) -> None:
    """All watches go there at the first timeout, and what changes there is seen. The catalog and the service may time out together."""
    with ConsulServer(node="other-node") as other:
        for server in (consul_server, other):
            await call(server.register, "orders", 9001)
        async with watching([consul_server.url, other.url], wait_s=0.2, empty_hold_s=0.0) as watched:
            await watched.until_states(o1="passing")
            consul_server.pause()
            try:
                await watched.until(lambda: watched.source.agents.url == other.url, 15.0)
                await watched.until(lambda: watched.source.status().state == "fresh", 2.0)
                await call(other.register, "orders", 9002)
                await watched.until_states(o1="passing", o2="passing")
            finally:
                consul_server.resume()
            assert 1 <= watched.errors["timeout"] <= 2


RULES = 'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }'
ACL = 'acl { enabled = true default_policy = "deny" tokens { master = "5ec2e700-0000-4000-8000-000000000001" } }'
MASTER = "5ec2e700-0000-4000-8000-000000000001"


@pytest.fixture
def guarded():
    """A Consul that denies what is not allowed, and a token that may read."""
    with ConsulServer(hcl=ACL, token=MASTER) as server:
        server.request("PUT", "/v1/acl/policy", {"Name": "gateway", "Rules": RULES})
        made = server.request("PUT", "/v1/acl/token", {"Policies": [{"Name": "gateway"}]})
        yield server, made["AccessorID"], made["SecretID"]


async def test_a_wrong_token_is_told_and_a_right_one_is_picked_up(guarded: tuple[ConsulServer, str, str], tmp_path: Path) -> None:
    """From its file, without a restart. 403 is not hammered; nothing is known, and that is no empty service."""
    server, _, secret = guarded
    file, wrong = tmp_path / "token", "00000000-0000-4000-8000-00000000dead"
    file.write_text(wrong)
    await call(server.register, "orders", 9001)
    async with watching(server.url, token=TokenFile(file, wrong), named=["orders"]) as watched:
        await watched.until(lambda: watched.errors["denied"] >= 2)
        assert watched.told == []
        assert "403" in str(watched.source.status().last_error)
        file.write_text(secret)
        await watched.until_states(15.0, o1="passing")


@pytest.mark.parametrize(
    ("rules", "missing"),
    [
        ('service_prefix "" { policy = "read" }', "the token needs node:read ("),
        ('node_prefix "" { policy = "read" }', "the token needs service:read ("),
        ('key "x" { policy = "read" }', "the token needs service:read and node:read ("),
    ],
)
async def test_a_missing_rule_is_named_at_the_start(guarded: tuple[ConsulServer, str, str], rules: str, missing: str) -> None:
    """Consul says 200 to everything; nothing is known, so the gateway is not ready, until the rule is there."""
    server, _, _ = guarded
    policy = await call(server.request, "PUT", "/v1/acl/policy", {"Name": "narrow", "Rules": rules})
    token = await call(server.request, "PUT", "/v1/acl/token", {"Policies": [{"Name": "narrow"}]})
    await call(server.register, "orders", 9001)
    async with watching(server.url, token=token["SecretID"], wait_s=1.0, named=["orders"]) as watched:
        await watched.until(lambda: missing in str(watched.source.status().last_error))
        assert watched.source.status().state is None
        whole = {"ID": policy["ID"], "Name": "narrow", "Rules": RULES}
        await call(server.request, "PUT", f"/v1/acl/policy/{policy['ID']}", whole)
        await watched.until_states(10.0, o1="passing")
        await watched.until(lambda: watched.source.status().last_error is None, 7.0)
        assert watched.source.status().state == "fresh"


async def test_a_token_that_is_narrowed_takes_nothing_away(guarded: tuple[ConsulServer, str, str]) -> None:
    """Consul answers 200 and an empty list: suspect, longer than the hold, and back with the permission."""
    server, _, secret = guarded
    await call(server.register, "orders", 9001)
    async with watching(server.url, token=secret, wait_s=1.0, empty_hold_s=1.0) as watched:
        await watched.until_states(o1="passing")
        policies = await call(server.request, "GET", "/v1/acl/policies")
        policy = next(p for p in policies if p["Name"] == "gateway")
        path = f"/v1/acl/policy/{policy['ID']}"
        await call(server.request, "PUT", path, {"ID": policy["ID"], "Name": "gateway", "Rules": 'key "x" { policy = "read" }'})
        await watched.until_states(10.0, o1="suspect")
        await asyncio.sleep(3.0)
        assert watched.states() == {"orders-9001": "suspect"}
        await call(server.request, "PUT", path, {"ID": policy["ID"], "Name": "gateway", "Rules": RULES})
        await watched.until_states(10.0, o1="passing")


async def test_a_token_that_is_revoked_keeps_the_last_good_answer(guarded: tuple[ConsulServer, str, str]) -> None:
    """Stale, with the registry's own words."""
    server, accessor, secret = guarded
    await call(server.register, "orders", 9001)
    async with watching(server.url, token=secret, wait_s=1.0) as watched:
        await watched.until_states(o1="passing")
        await call(server.request, "DELETE", f"/v1/acl/token/{accessor}")
        await watched.until(lambda: watched.source.status().state == "stale", 10.0)
        assert watched.states() == {"orders-9001": "passing"}
        assert "ACL not found" in str(watched.source.status().last_error)


@pytest.mark.parametrize(("consistency", "header"), [("stale", "stale"), ("default", "leader"), ("consistent", "consistent")])
async def test_consul_reads_in_the_mode_that_was_asked_for(consul_url: str, consistency: str, header: str) -> None:
    """It names the mode it used, for plain and for blocking reads; and no sign of age in a healthy cluster."""
    from discovery.consul_client import ConsulClient
    from discovery.consul_wire import Consistency, Read, parameters

    async with httpx.AsyncClient(base_url=consul_url) as plain:
        answer = await plain.get("/v1/health/service/nobody", params=parameters(Read(consistency=Consistency(consistency))))
    assert answer.headers["X-Consul-Effective-Consistency"] == header
    client = ConsulClient(consul_url, verify=False)
    reply = await client.ask("/v1/health/service/nobody", Read(1, 0.2, Consistency(consistency)))
    await client.aclose()
    assert (reply.status, reply.dubious, reply.body.strip()) == (200, None, b"[]")
    assert int(reply.index or 0) > 0

"""Hundreds of services in a real Consul: what is seen how soon, at what price for the loop, over how many connections."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import pytest

from discovery.budget import SOCKETS
from discovery.consul import ConsulSource
from discovery.instance import Catalog, Snapshot
from tests.support.consul_server import ConsulServer

pytestmark = pytest.mark.alone

NODE = {"Node": "far", "Address": "127.0.0.1"}
OURS = 3
"""Connections of the test itself."""
PER_TRANSACTION = 30
LAG_S = 0.05


def instance(service: str, number: int) -> dict[str, Any]:
    return {"ID": f"{service}-{number}", "Service": service, "Address": "127.0.0.1", "Port": 10_000 + number, "Tags": []}


def check(service: str, number: int, status: str = "passing") -> dict[str, Any]:
    id_ = f"{service}-{number}"
    return {"Node": NODE["Node"], "CheckID": f"service:{id_}", "Name": "check", "Status": status, "ServiceID": id_}


class Agent:
    """Writes to the catalog over one connection: an agent of the test would check and sync at its own pace."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(str(urlsplit(url).netloc), timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def put(self, path: str, body: Any) -> None:
        self._connection.request("PUT", path, json.dumps(body))
        answer = self._connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text

    def fill(self, services: Iterable[str], instances: int) -> None:
        """Everything with its check, many in one transaction."""
        every = [(service, number) for service in services for number in range(instances)]
        for at in range(0, len(every), PER_TRANSACTION):
            some = every[at : at + PER_TRANSACTION]
            written = [{"Service": {"Verb": "set", "Node": NODE["Node"], "Service": instance(*one)}} for one in some]
            checks = [{"Check": {"Verb": "set", "Check": check(*one)}} for one in some]
            self.put("/v1/txn", [{"Node": {"Verb": "set", "Node": NODE}}, *written, *checks])

    def register(self, service: str, number: int, *, checked: bool, status: str = "passing") -> None:
        more = {"Check": check(service, number, status)} if checked else {}
        self.put("/v1/catalog/register", {**NODE, "Service": instance(service, number), **more})

    def deregister(self, service: str, number: int) -> None:
        self.put("/v1/catalog/deregister", {"Node": NODE["Node"], "ServiceID": f"{service}-{number}"})


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    began_s = time.monotonic()
    while not condition():
        assert time.monotonic() - began_s < within_s
        await asyncio.sleep(0.01)


class Seen:
    """A source with the moment at which each instance was told for the first time, and how long the loop was kept busy."""

    def __init__(self, url: str, services: list[str], **settings: Any) -> None:
        self.at_s: dict[str, float] = {}
        self.gone_at_s: dict[str, float] = {}
        self.errors: Counter[str] = Counter()
        self.lag_s = 0.0
        self.source = ConsulSource(url, on_error=self.count, **settings)
        self.source.watch_catalog(self.ignore)
        for service in services:
            self.source.watch(service, self.hear)

    def count(self, kind: str) -> None:
        self.errors[kind] += 1

    def ignore(self, _catalog: Catalog) -> None:
        pass

    def hear(self, snapshot: Snapshot) -> None:
        now_s = time.perf_counter()
        there = {one.id for one in snapshot.instances if one.state == "passing"}
        for id_ in there:
            self.at_s.setdefault(id_, now_s)
        for id_ in self.at_s.keys() - there:
            if id_.rpartition("-")[0] == snapshot.service:
                self.gone_at_s.setdefault(id_, now_s)

    async def until(self, count: int, within_s: float = 20.0) -> None:
        """Wait for so many instances."""
        await until(lambda: len(self.at_s) >= count, within_s)

    async def measure_lag(self) -> None:
        """The longest that this thread computed without letting a timer run; a busy machine's pauses are not counted."""
        while True:
            before_s = time.thread_time()
            await asyncio.sleep(0.002)
            self.lag_s = max(self.lag_s, time.thread_time() - before_s)


@contextlib.asynccontextmanager
async def seeing(url: str, services: list[str], **settings: Any) -> AsyncIterator[Seen]:
    seen = Seen(url, services, **settings)
    await seen.source.start()
    gc.freeze()  # what pytest and its plugins hold is not the source's to look through
    lag = asyncio.create_task(seen.measure_lag())
    try:
        yield seen
    finally:
        lag.cancel()
        gc.unfreeze()
        await seen.source.aclose()


@pytest.fixture
def tight() -> Iterator[ConsulServer]:
    """A Consul that closes a connection at once if we had one more than the budget."""
    with ConsulServer(hcl=f"limits {{ http_max_conns_per_client = {SOCKETS + OURS} }}") as server:
        yield server


async def slowness_of_this_machine(url: str) -> float:
    """How many times longer than on two free cores, 0.6 s, it takes to read 300 services; at least 1."""
    began_s = time.perf_counter()
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        for number in range(300):
            await client.get(f"/v1/health/service/s{number % 80}?stale")
    return max(1.0, (time.perf_counter() - began_s) / 0.6)


def burst(url: str, services: list[str], first: int, *, checked: bool, seconds: float) -> dict[str, float]:
    """200 registrations, one after the other; the moment at which each was written."""
    written = {}
    with Agent(url) as agent:
        for number in range(200):
            service = services[number % len(services)]
            agent.register(service, first + number, checked=checked)
            written[f"{service}-{first + number}"] = time.perf_counter()
            time.sleep(seconds / 200)
    return written


async def write(url: str, what: Callable[..., None], *args: Any, **more: Any) -> None:
    """One call of an `Agent`, in a thread."""

    def run() -> None:
        with Agent(url) as agent:
            what(agent, *args, **more)

    await asyncio.to_thread(run)


def late(written: dict[str, float], seen: dict[str, float], bound_s: float) -> list[tuple[str, float]]:
    return [(id_, seen[id_] - at_s) for id_, at_s in written.items() if seen[id_] - at_s > bound_s]


async def test_300_services_are_swept(tight: ConsulServer) -> None:
    """3000 instances; every registration of a burst is seen within 1.5 s, with or without a check, and the loop stays free."""
    services = [f"s{n}" for n in range(300)]
    await write(tight.url, Agent.fill, services, 10)
    async with seeing(tight.url, services) as seen:
        await seen.until(3000)
        await asyncio.sleep(1.5)
        assert not seen.source.fan_in.direct
        slowness = await slowness_of_this_machine(tight.url)
        seen.lag_s = 0.0
        checked = await asyncio.to_thread(burst, tight.url, services, 1000, checked=True, seconds=4.0)
        await seen.until(3200)
        unchecked = await asyncio.to_thread(burst, tight.url, services, 2000, checked=False, seconds=4.0)
        await seen.until(3400)
        slowness = max(slowness, await slowness_of_this_machine(tight.url))
        assert late(checked | unchecked, seen.at_s, 1.5 * slowness) == []
        assert seen.lag_s < LAG_S
        assert seen.source.agents.slots_in_use() <= 3

        began_s = time.perf_counter()
        await write(tight.url, Agent.register, "s7", 3, checked=True, status="critical")
        await until(lambda: "s7-3" in seen.gone_at_s)
        assert seen.gone_at_s["s7-3"] - began_s < slowness
        assert seen.errors == {}


async def test_80_services_have_a_blocking_read_each(tight: ConsulServer) -> None:
    """Nine of ten registrations of a burst are seen within 100 ms, a deregistration in its middle too; never a connection too many."""
    services = [f"s{n}" for n in range(80)]
    await write(tight.url, Agent.fill, services, 10)
    async with seeing(tight.url, services) as seen:
        await seen.until(800)
        await asyncio.sleep(0.5)
        assert seen.source.fan_in.direct
        assert seen.source.agents.slots_in_use() == 81
        slowness = await slowness_of_this_machine(tight.url)
        seen.lag_s = 0.0
        writing = asyncio.create_task(asyncio.to_thread(burst, tight.url, services, 1000, checked=True, seconds=4.0))
        await asyncio.sleep(0.5)
        began_s = time.perf_counter()
        await write(tight.url, Agent.deregister, "s7", 3)
        written = await writing
        await seen.until(1000)
        slowness = max(slowness, await slowness_of_this_machine(tight.url))
        assert len(late(written, seen.at_s, 0.1 * slowness)) <= len(written) // 10
        assert seen.gone_at_s["s7-3"] - began_s < 0.1 * slowness
        assert seen.lag_s < LAG_S
        assert seen.errors == {}


async def test_an_agent_that_is_full_is_swept() -> None:
    """Others have its connections: what is known stays, fewer reads block, and changes are still seen."""
    services = [f"s{n}" for n in range(40)]
    with ConsulServer(hcl="limits { http_max_conns_per_client = 25 }") as server, Agent(server.url) as agent:
        await asyncio.to_thread(agent.fill, services, 1)  # whose connection is open before there are too many
        async with seeing(server.url, services, wait_s=3.0) as seen:
            await seen.until(40)
            await until(lambda: not seen.source.fan_in.direct)
            assert seen.errors["connection_lost"] > 0
            await asyncio.to_thread(agent.register, "s39", 100, checked=True)
            await seen.until(41, within_s=5.0)
            assert seen.gone_at_s == {}

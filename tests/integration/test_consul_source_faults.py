"""The Consul source over a registry that breaks in every way that real ones do (scenarios 6, 7, 11, 12 and 22).

While it is broken nothing is lost, and afterwards news arrives without anybody's help.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.integration.test_consul_source import Watched, watching
from tests.support import faulty_registry as faults
from tests.support.faulty_registry import FaultyRegistry, faulty_registry

WAIT_S = 0.3
BROKEN_S = 0.8
LONG_WAIT_S = 2.0
PLAIN_IS_IDLE_S = 0.3
"""After the first plain reads, until the blocking ones have begun."""
BACK_WITHIN_S = 10.0
READS_AT_MOST = 40
"""In `BROKEN_S`, of two watches: a fault that is answered with ever more reads would be one of ours."""

Make = Callable[[FaultyRegistry], faults.Fault]


@pytest.fixture
def registry() -> Iterator[FaultyRegistry]:
    with faulty_registry(first_index=100) as registry:
        yield registry


async def register(registry: FaultyRegistry, *ports: int) -> None:
    async with httpx.AsyncClient(base_url=registry.url, trust_env=False) as http:
        for port in ports:
            body = {"Name": "orders", "ID": f"orders-{port}", "Address": "127.0.0.1", "Port": port, "Tags": ["lbgateway.enable=true"]}
            assert (await http.put("/v1/agent/service/register", json=body)).status_code == 200


async def two_orders(registry: FaultyRegistry, watched: Watched) -> None:
    await register(registry, 9001, 9002)
    await watched.until_states(o1="passing", o2="passing")


@pytest.mark.parametrize(
    ("make", "state", "kinds"),
    [
        pytest.param(lambda _: faults.delay(0.2), "fresh", set(), id="delay"),
        pytest.param(lambda _: faults.status(500, "No cluster leader"), "stale", {"server_error"}, id="500"),
        pytest.param(lambda _: faults.status(429, "slow down", Retry_After="1"), "stale", {"busy"}, id="429"),
        pytest.param(lambda _: faults.status(403, "ACL not found"), "stale", {"denied"}, id="403"),
        pytest.param(lambda _: faults.reset, "stale", {"connection_lost"}, id="reset"),
        pytest.param(faults.hang, "fresh", set(), id="hang"),
        pytest.param(lambda _: faults.truncated, "stale", {"malformed"}, id="truncated"),
        pytest.param(lambda _: faults.index(lambda one: str(one - 50)), "fresh", {"index_reset"}, id="index backwards"),
        pytest.param(lambda _: faults.index(lambda _: "0"), "fresh", {"index_reset"}, id="index 0"),
        pytest.param(lambda _: faults.index(lambda _: None), "fresh", {"index_reset"}, id="no index"),
        pytest.param(lambda _: faults.index(lambda _: "soon"), "fresh", {"index_reset"}, id="index no number"),
        pytest.param(lambda _: faults.index(lambda _: str(2**64 - 1)), "fresh", {"index_reset"}, id="index too high"),
    ],
)
async def test_nothing_is_lost_while_the_registry_is_broken(registry: FaultyRegistry, make: Make, state: str, kinds: set[str]) -> None:
    """Both instances stay passing all the time, reads keep their distance, and the third one is seen when it is over."""
    async with watching(registry.url, wait_s=WAIT_S) as watched:
        await two_orders(registry, watched)
        told, asked = len(watched.told), len(registry.asked)
        with registry.broken(make(registry)):
            await asyncio.sleep(BROKEN_S)
            assert str(watched.source.status().state) == state
            assert watched.errors.keys() == kinds
            assert len(registry.asked) - asked <= READS_AT_MOST
        await register(registry, 9003)
        await watched.until_states(BACK_WITHIN_S, o1="passing", o2="passing", o3="passing")
        await watched.until(lambda: any(len(snapshot.instances) == 3 for snapshot in watched.told[told:]), BACK_WITHIN_S)  # it is debounced
        await watched.until(lambda: str(watched.source.status().state) == "fresh", BACK_WITHIN_S)
    assert all(len(snapshot.instances) >= 2 for snapshot in watched.told[told:])
    assert {str(instance.state) for snapshot in watched.told[told:] for instance in snapshot.instances} == {"passing"}


async def test_an_empty_answer_takes_nothing_away(registry: FaultyRegistry) -> None:
    """All of it is suspect until the registry says otherwise; then it is what it was, at once."""
    async with watching(registry.url, wait_s=WAIT_S) as watched:
        await two_orders(registry, watched)
        with registry.broken(faults.empty):
            await watched.until_states(o1="suspect", o2="suspect")
            await asyncio.sleep(BROKEN_S)
            assert set(watched.states().values()) == {"suspect"}
        await watched.until_states(BACK_WITHIN_S, o1="passing", o2="passing")


async def test_an_agent_that_is_full_is_waited_for(registry: FaultyRegistry) -> None:
    """Restarted within the wait of its watches, a source finds their slots still taken; it serves as soon as it gets its own."""
    async with watching(registry.url, wait_s=LONG_WAIT_S) as watched:
        await two_orders(registry, watched)
        await asyncio.sleep(PLAIN_IS_IDLE_S)
        registry.limit = registry.slots
    for _ in range(2):
        async with watching(registry.url, wait_s=LONG_WAIT_S) as watched:
            await watched.until(lambda watched=watched: watched.errors["connection_lost"])
    assert registry.refused
    async with watching(registry.url, wait_s=LONG_WAIT_S) as watched:
        await watched.until_states(BACK_WITHIN_S, o1="passing", o2="passing")
        assert registry.slots <= registry.limit

"""The registry as one object. What it answers is the contract suite's business."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest

from discovery.embedded import EmbeddedRegistry


async def registered(registry: EmbeddedRegistry) -> set[str]:
    async with httpx.AsyncClient(trust_env=False) as http:
        return set((await http.get(f"{registry.url}/v1/catalog/services")).json())


async def register(registry: EmbeddedRegistry) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        await http.put(f"{registry.url}/v1/agent/service/register", json={"Name": "web", "Check": {"TTL": "10s"}})


async def test_it_listens_while_it_is_started_and_frees_its_port() -> None:
    """Closing twice does no harm."""
    registry = EmbeddedRegistry()
    await registry.start(port=0)
    port = registry.port
    assert registry.url == f"http://127.0.0.1:{port}"
    assert await registered(registry) == {"consul"}
    await registry.aclose()
    await registry.aclose()
    assert registry.port == 0
    with socket.create_server(("127.0.0.1", port)):
        pass


async def test_a_taken_port_is_an_error_and_the_next_one_may_be_tried() -> None:
    """Nothing is left running by the first attempt."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        registry = EmbeddedRegistry()
        with pytest.raises(OSError, match="in use"):
            await registry.start(port=taken.getsockname()[1])
        await registry.start(port=0)
        assert await registered(registry) == {"consul"}
        await registry.aclose()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
async def test_it_does_not_listen_to_the_network(host: str) -> None:
    """Whoever reaches it can make it send requests."""
    with pytest.raises(ValueError, match="loopback address only"):
        await EmbeddedRegistry().start(host, 0)


async def test_a_restart_goes_on_where_it_was_and_a_new_one_starts_empty() -> None:
    """With a higher index in either case, so that no watcher is left waiting for the past."""
    registry = EmbeddedRegistry()
    await registry.start(port=0)
    await register(registry)
    await registry.aclose()
    await registry.start(port=0)
    assert await registered(registry) == {"consul", "web"}
    before = registry._catalog.changes.index
    await registry.aclose()
    await asyncio.sleep(0.002)
    assert EmbeddedRegistry()._catalog.changes.index > before


async def test_a_watcher_that_leaves_is_forgotten() -> None:
    """The representation shows how many there are."""
    registry = EmbeddedRegistry(first_index=10)
    assert repr(registry) == "<EmbeddedRegistry stopped services=0 blocked=0>"
    await registry.start(port=0)
    await register(registry)
    async with httpx.AsyncClient(trust_env=False) as http:
        watching = asyncio.get_running_loop().create_task(http.get(f"{registry.url}/v1/health/service/web?index=99&wait=5s"))
        await asyncio.sleep(0.1)
        assert repr(registry) == f"<EmbeddedRegistry {registry.url} services=1 blocked=1>"
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    await asyncio.sleep(0.05)
    assert repr(registry).endswith("blocked=0>")
    await registry.aclose()


async def test_closing_ends_blocked_queries_and_checks_at_once() -> None:
    """No task is left, and no client waits for the end of its time."""
    registry = EmbeddedRegistry(first_index=10)
    await registry.start(port=0)
    async with httpx.AsyncClient(trust_env=False) as http:
        check = {"HTTP": "http://127.0.0.1:1/", "Interval": "1s"}
        await http.put(f"{registry.url}/v1/agent/service/register", json={"Name": "web", "Check": check})
        watching = asyncio.get_running_loop().create_task(http.get(f"{registry.url}/v1/health/service/web?index=99&wait=5s"))
        await asyncio.sleep(0.1)
        async with asyncio.timeout(1):
            await registry.aclose()
            with pytest.raises(httpx.TransportError):
                await watching
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

"""Blocked queries are woken, time out, and leave nothing behind."""

from __future__ import annotations

import asyncio

import pytest

from discovery.embedded.catalog import Catalog, service_scope
from discovery.embedded.changes import Changes
from discovery.embedded.records import Node, Service
from discovery.embedded.watches import Watches

A = service_scope("a")


@pytest.fixture
def catalog() -> Catalog:
    made = Catalog(Node("0", "n"), Changes(10))
    made.put(Service("a", "a"))
    return made


@pytest.fixture
def watches(catalog: Catalog) -> Watches:
    made = Watches(catalog.index_of)
    catalog.changes.on_change = made.wake
    return made


async def blocked(watches: Watches, index: int, timeout_s: float = 5) -> asyncio.Task[None]:
    task = asyncio.get_running_loop().create_task(watches.past(A, index, timeout_s))
    await asyncio.sleep(0)
    return task


async def test_a_change_wakes_all_who_wait_for_its_scope(catalog: Catalog, watches: Watches) -> None:
    """And only them."""
    waiting = [await blocked(watches, catalog.index_of(A)) for _ in range(3)]
    catalog.put(Service("b", "b"))
    await asyncio.sleep(0)
    assert len(watches) == 3
    catalog.put(Service("a", "a", port=1))
    await asyncio.gather(*waiting)
    assert len(watches) == 0


async def test_two_changes_at_once_wake_once(catalog: Catalog, watches: Watches) -> None:
    """The second finds the query already on its way."""
    waiting = await blocked(watches, catalog.index_of(A))
    catalog.put(Service("a", "a", port=1))
    catalog.put(Service("a", "a", port=2))
    await waiting


async def test_an_index_of_the_past_does_not_wait(catalog: Catalog, watches: Watches) -> None:
    """There is something new already."""
    assert (await blocked(watches, catalog.index_of(A) - 1)).done()


async def test_an_index_of_the_future_waits_to_the_end(catalog: Catalog, watches: Watches) -> None:
    """Changes below it do not count."""
    waiting = await blocked(watches, catalog.index_of(A) + 2, timeout_s=0.05)
    catalog.put(Service("a", "a", port=1))
    await asyncio.sleep(0)
    assert not waiting.done()
    await waiting
    assert len(watches) == 0


async def test_a_client_that_leaves_is_forgotten(catalog: Catalog, watches: Watches) -> None:
    """Cancelling the wait is all it takes."""
    waiting = await blocked(watches, catalog.index_of(A))
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert len(watches) == 0

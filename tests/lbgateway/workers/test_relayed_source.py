"""The registry as a worker has it."""

from __future__ import annotations

from typing import Any

from discovery.instance import Catalog, KeyValue, SnapshotState, SourceStatus
from lbgateway.workers import registry_wire
from lbgateway.workers.relayed_source import RelayedSource
from lbgateway.workers.slots import Slots
from tests.lbgateway.workers.test_registry_wire import of, snapshot
from tests.support.worker_gateways import heard

CATALOG = Catalog({"orders": frozenset({"a"})}, 2.5, SnapshotState.FRESH, None)


def tells(source: RelayedSource, kind: str, facts: dict[str, Any], payload: bytes = b"") -> bool:
    return source.hear(heard(kind, payload, facts))


async def test_who_listens_hears_what_is_known_and_what_comes():
    """Snapshots, the catalog and the key's value, before and after."""
    source, told, heard_of = RelayedSource("consul", {}), registry_wire.SnapshotTeller(Slots(lambda _slot: True)), []
    await source.start()
    value = KeyValue("any", b"routes", 1, None)
    facts, payload = registry_wire.value_facts(value)
    assert tells(source, "snapshot", told.news(snapshot(of(1)), 0.0))
    assert tells(source, "catalog", registry_wire.catalog_facts(CATALOG))
    assert tells(source, "value", facts, payload)
    source.watch("orders", heard_of.append)
    source.watch_catalog(heard_of.append)
    source.watch_key("any", heard_of.append)
    assert heard_of == [snapshot(of(1)), CATALOG, value]

    tells(source, "snapshot", told.news(snapshot(of(2)), 0.0))
    tells(source, "catalog", registry_wire.catalog_facts(CATALOG))
    tells(source, "value", facts, payload)
    assert heard_of[3:] == [snapshot(of(2)), CATALOG, value]
    assert source.snapshot("orders") == snapshot(of(2))
    assert repr(source) == "<RelayedSource consul services=1 watched=1>"


async def test_who_listens_no_more_hears_nothing():
    """A service that is not watched, one that is gone, and a source that is closed."""
    source, told, heard_of = RelayedSource("consul", {}), registry_wire.SnapshotTeller(Slots(lambda _slot: True)), []
    source.watch("orders", heard_of.append)
    source.unwatch("orders")
    tells(source, "snapshot", told.news(snapshot(of(1)), 0.0))
    tells(source, "gone", {"service": "orders"})
    assert source.snapshot("orders") is None
    source.watch("orders", heard_of.append)
    source.watch_catalog(heard_of.append)
    await source.aclose()
    tells(source, "catalog", registry_wire.catalog_facts(CATALOG))
    assert heard_of == []


def test_how_the_registry_is_comes_from_the_parent():
    """A worker has no opinion of its own; what is about something else is left to others."""
    source = RelayedSource("consul", {})
    assert source.status() == SourceStatus("consul", None, None, None)
    status = SourceStatus("consul", SnapshotState.STALE, 3.0, "away")
    assert tells(source, "registry", registry_wire.status_facts(status))
    assert source.status() == status
    assert not tells(source, "serve", {})

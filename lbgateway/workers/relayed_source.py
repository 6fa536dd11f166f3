"""The registry as a worker sees it: a `discovery.Source` that hears everything from the parent, and asks nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discovery.instance import SourceStatus
from lbgateway.workers import registry_wire

if TYPE_CHECKING:
    from collections.abc import Hashable

    from discovery.instance import Catalog, KeyValue, Snapshot
    from discovery.source import CatalogListener, KeyListener, SnapshotListener
    from lbgateway.workers.frames import Frame


class RelayedSource:
    """`slots`: filled with where instances and services are on the board."""

    def __init__(self, provider: str, slots: dict[Hashable, int]) -> None:
        self.provider = provider
        self._hearer = registry_wire.SnapshotHearer(slots)
        self._snapshots: dict[str, Snapshot] = {}
        self._listeners: dict[str, SnapshotListener] = {}
        self._catalog: Catalog | None = None
        self._catalog_listener: CatalogListener | None = None
        self._value: KeyValue | None = None
        self._key_listener: KeyListener | None = None
        self._status = SourceStatus(provider, None, None, None)

    def __repr__(self) -> str:
        return f"<RelayedSource {self.provider} services={len(self._snapshots)} watched={len(self._listeners)}>"

    def hear(self, frame: Frame) -> bool:
        """Take in what the parent tells of the registry; False if the frame is about something else."""
        facts = frame.facts
        match facts["kind"]:
            case "snapshot":
                self._take(self._hearer.hear(facts))
            case "catalog":
                self._catalog = registry_wire.catalog_of(facts)
                if self._catalog_listener is not None:
                    self._catalog_listener(self._catalog)
            case "gone":
                self._snapshots.pop(facts["service"], None)
                self._hearer.forget(facts["service"])
            case "value":
                self._value = registry_wire.value_of(facts, frame.payload)
                if self._key_listener is not None:
                    self._key_listener(self._value)
            case "registry":
                self._status = registry_wire.status_of(self.provider, facts)
            case _:
                return False
        return True

    def _take(self, snapshot: Snapshot) -> None:
        self._snapshots[snapshot.service] = snapshot
        listener = self._listeners.get(snapshot.service)
        if listener is not None:
            listener(snapshot)

    # -- discovery.Source ----------------------------------------------------------------------

    async def start(self) -> None:
        """The parent tells by itself."""

    def watch(self, service: str, listener: SnapshotListener) -> None:
        self._listeners[service] = listener
        if service in self._snapshots:
            listener(self._snapshots[service])

    def unwatch(self, service: str) -> None:
        self._listeners.pop(service, None)

    def watch_catalog(self, listener: CatalogListener) -> None:
        self._catalog_listener = listener
        if self._catalog is not None:
            listener(self._catalog)

    def watch_key(self, key: str, listener: KeyListener) -> None:  # noqa: ARG002 there is one key, which the parent knows
        self._key_listener = listener
        if self._value is not None:
            listener(self._value)

    def snapshot(self, service: str) -> Snapshot | None:
        return self._snapshots.get(service)

    def status(self) -> SourceStatus:
        return self._status

    async def aclose(self) -> None:
        self._listeners.clear()
        self._catalog_listener = self._key_listener = None

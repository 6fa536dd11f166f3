"""Instances that are simply known: from a configuration file, or from a test. Always fresh."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from discovery.instance import Catalog, Instance, InstanceKey, Snapshot, SnapshotState, SourceStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from discovery.source import CatalogListener, SnapshotListener

PROVIDER: Final = "static"


def static_instance(
    service: str,
    address: str,
    port: int,
    *,
    id: str | None = None,  # noqa: A002 the registry's own word
    weight: int = 1,
    tags: Iterable[str] = (),
    meta: Mapping[str, str] | None = None,
    zone: str | None = None,
) -> Instance:
    """An instance from a file. Without an `id` its identity is its place, so that reordering a file changes nothing."""
    return Instance(
        key=InstanceKey(PROVIDER, "", "", "", id or f"{address}:{port}"),
        service=service.lower(),
        address=address,
        port=port,
        weight=weight,
        tags=tuple(tags),
        meta=dict(meta or {}),
        zone=zone,
    )


class StaticSource:
    """A `Source` whose services change only by `replace`. A service that it does not have is empty.

    `services`: name to instances, names in any case.
    """

    provider = PROVIDER

    def __init__(
        self, services: Mapping[str, Iterable[Instance]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        # for life
        self._clock = clock
        # since the last replacement
        self._services: dict[str, tuple[Instance, ...]] = _ordered(services)
        self._versions: dict[str, int] = {}
        self._index = 1
        # who listens
        self._listeners: dict[str, SnapshotListener] = {}
        self._catalog_listener: CatalogListener | None = None

    def __repr__(self) -> str:
        return f"<StaticSource services={len(self._services)} index={self._index}>"

    async def start(self) -> None:
        """Nothing to begin: what there is to know is known."""

    def watch(self, service: str, listener: SnapshotListener) -> None:
        """Follow one service; the listener is called at once."""
        self._listeners[service.lower()] = listener
        listener(self._snapshot(service.lower()))

    def unwatch(self, service: str) -> None:
        """Stop following."""
        self._listeners.pop(service.lower(), None)

    def watch_catalog(self, listener: CatalogListener) -> None:
        """Follow the names; the listener is called at once."""
        self._catalog_listener = listener
        listener(self._catalog())

    def snapshot(self, service: str) -> Snapshot | None:
        """The present one of a watched service."""
        return self._snapshot(service.lower()) if service.lower() in self._listeners else None

    def replace(self, services: Mapping[str, Iterable[Instance]]) -> None:
        """Put `services` in the place of all that was known; tells those whose service changed."""
        old, self._services = self._services, _ordered(services)
        if old == self._services:
            return
        self._index += 1
        changed = [name for name in old.keys() | self._services.keys() if old.get(name, ()) != self._services.get(name, ())]
        for name in changed:
            self._versions[name] = self._versions.get(name, 1) + 1
        if self._catalog_listener is not None:
            self._catalog_listener(self._catalog())
        for name in sorted(changed):
            if name in self._listeners:
                self._listeners[name](self._snapshot(name))

    def status(self) -> SourceStatus:
        """Always fresh, of age 0."""
        return SourceStatus(PROVIDER, SnapshotState.FRESH, 0.0, None)

    async def aclose(self) -> None:
        """Forget the listeners."""
        self._listeners.clear()
        self._catalog_listener = None

    def _snapshot(self, service: str) -> Snapshot:
        instances = self._services.get(service, ())
        return Snapshot(service, self._versions.get(service, 1), instances, self._index, self._clock())

    def _catalog(self) -> Catalog:
        tags = {name: frozenset(tag for i in instances for tag in i.tags) for name, instances in self._services.items()}
        return Catalog(tags, self._clock())


def _ordered(services: Mapping[str, Iterable[Instance]]) -> dict[str, tuple[Instance, ...]]:
    return {name.lower(): tuple(sorted(instances, key=lambda i: i.key)) for name, instances in services.items()}

"""Instances that somebody lists: in the configuration, in a file, in a test. What is listed is all there is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from discovery.instance import Catalog, Instance, InstanceKey, InstanceState, Snapshot, SourceStatus
from discovery.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from discovery.source import CatalogListener, SnapshotListener

PROVIDER: Final = "static"


def static_instance(  # noqa: PLR0913 one keyword per thing that a list may say of an instance
    service: str,
    address: str,
    port: int,
    *,
    provider: str = PROVIDER,
    id: str | None = None,  # noqa: A002 the registry's own word
    weight: int = 1,
    tags: Iterable[str] = (),
    meta: Mapping[str, str] | None = None,
    zone: str | None = None,
    state: InstanceState = InstanceState.PASSING,
    reason: str | None = None,
) -> Instance:
    """An instance of a list. Without an `id` its identity is its place, so that reordering a file changes nothing."""
    return Instance(
        key=InstanceKey(provider, "", "", "", id or f"{address}:{port}"),
        service=service.lower(),
        address=address,
        port=port,
        weight=weight,
        state=state,
        reason=reason,
        consul_status=state.value,
        tags=tuple(tags),
        meta=dict(meta or {}),
        zone=zone,
    )


class ListedSource:
    """What the sources of this kind have in common: the whole list is replaced at once, never a part of it.

    A service that is not listed is empty. `on_update` gets the name of each service whose instances changed.
    """

    def __init__(self, provider: str, *, clock: Callable[[], float], on_update: Callable[[str], None]) -> None:
        # for life
        self.provider = provider
        self.trust = Trust(float("inf"))
        self._clock = clock
        self._on_update = on_update
        # since the last replacement
        self._services: dict[str, tuple[Instance, ...]] = {}
        self._versions: dict[str, int] = {}
        self._index = 0
        # who listens
        self._listeners: dict[str, SnapshotListener] = {}
        self._catalog_listener: CatalogListener | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} services={len(self._services)} index={self._index}>"

    async def start(self) -> None:
        """Nothing to begin: what there is to know is known."""

    def watch(self, service: str, listener: SnapshotListener) -> None:
        """Follow one service; the listener is called at once if the list is known."""
        self._listeners[service.lower()] = listener
        snapshot = self.snapshot(service)
        if snapshot is not None:
            listener(snapshot)

    def unwatch(self, service: str) -> None:
        """Stop following."""
        self._listeners.pop(service.lower(), None)

    def watch_catalog(self, listener: CatalogListener) -> None:
        """Follow the names; the listener is called at once if the list is known."""
        self._catalog_listener = listener
        self._tell_catalog()

    def snapshot(self, service: str) -> Snapshot | None:
        """The present one of a watched service; None while the list is unknown."""
        name, trust = service.lower(), self._worth()
        if name not in self._listeners or trust.state is None or trust.confirmed_at_s is None:
            return None
        instances, version = self._services.get(name, ()), self._versions.get(name, 1)
        return Snapshot(name, version, instances, self._index, trust.confirmed_at_s, trust.state, trust.last_error)

    def status(self) -> SourceStatus:
        """How much the list is worth."""
        trust = self._worth()
        age_s = None if trust.confirmed_at_s is None else self._clock() - trust.confirmed_at_s
        return SourceStatus(self.provider, trust.state, age_s, trust.last_error)

    async def aclose(self) -> None:
        """Forget the listeners."""
        self._listeners.clear()
        self._catalog_listener = None

    def _worth(self) -> Trust:
        """The worth of the list now."""
        return self.trust

    def _put(self, services: Mapping[str, Iterable[Instance]]) -> list[str]:
        """Take over the list, without telling anybody; returns the names of what changed, sorted."""
        old, self._services = self._services, _ordered(services)
        changed = sorted(name for name in old.keys() | self._services.keys() if old.get(name, ()) != self._services.get(name, ()))
        if old != self._services:
            self._index += 1
        for name in changed:
            self._versions[name] = self._versions.get(name, 1) + 1
            self._on_update(name)
        return changed

    def _tell(self, names: Iterable[str]) -> None:
        """Tell the names of all services first: a listener may begin to watch a new one."""
        self._tell_catalog()
        for name in names:
            snapshot = self.snapshot(name)
            if snapshot is not None:
                self._listeners[name](snapshot)

    def _tell_catalog(self) -> None:
        trust = self._worth()
        if self._catalog_listener is None or trust.state is None or trust.confirmed_at_s is None:
            return
        tags = {name: frozenset(tag for i in instances for tag in i.tags) for name, instances in self._services.items()}
        self._catalog_listener(Catalog(tags, trust.confirmed_at_s, trust.state, trust.last_error))


class StaticSource(ListedSource):
    """A `Source` whose list changes only by `replace`, and is always fresh.

    `services`: name to instances, names in any case.
    """

    def __init__(
        self,
        services: Mapping[str, Iterable[Instance]],
        *,
        clock: Callable[[], float] = time.monotonic,
        on_update: Callable[[str], None] = lambda _service: None,
    ) -> None:
        super().__init__(PROVIDER, clock=clock, on_update=on_update)
        self._services = _ordered(services)
        self._index = 1

    def replace(self, services: Mapping[str, Iterable[Instance]]) -> None:
        """Put `services` in the place of all that was known; tells those whose service changed."""
        index = self._index
        changed = self._put(services)
        if self._index != index:
            self._tell(changed)

    def _worth(self) -> Trust:
        self.trust.confirm(self._clock())
        return self.trust


def _ordered(services: Mapping[str, Iterable[Instance]]) -> dict[str, tuple[Instance, ...]]:
    return {name.lower(): tuple(sorted(instances, key=lambda i: i.key)) for name, instances in services.items()}

"""The live registry: which services there are, which of them may be reached, and their newest snapshots.

Nothing in the registry is reachable by accident. A service is *exposed* if it opts in by a tag (or if
all or a list of names are), or if the operator names it in the configuration. Exactly the exposed
ones are watched. Consul's own service never is.

A name that vanishes from the catalog stays known, with the tags it had, for a grace: a registry that
restarts empty must not turn "no instance" (503) into "no such service" (404).
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from discovery.instance import Catalog, InstanceState, Remembered, Snapshot, SnapshotState, SourceStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from discovery.source import Source

log = logging.getLogger(__name__)

Expose: TypeAlias = "Literal['tagged', 'all'] | frozenset[str]"

OPT_IN_TAG: Final = "lbgateway.enable=true"
NEVER: Final = frozenset(("consul",))
LISTED: Final = frozenset(("static", "file"))
"""The providers whose services an operator has listed: all of them are meant to be reached."""
GRACE_S: Final = 30.0
RETRY_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Known:
    """A registered name; ``gone_at_s`` since when the catalog lacks it, None while it is there."""

    tags: frozenset[str]
    gone_at_s: float | None = None


def remember(
    known: Mapping[str, Known],
    services: Mapping[str, frozenset[str]],
    now_s: float,
    *,
    grace_s: float,
    alive: Callable[[str], bool],
) -> dict[str, Known]:
    """All names of the catalog, and those that left it less than `grace_s` ago or still are `alive`."""
    names = {name: Known(tags) for name, tags in services.items()}
    for name, old in known.items():
        if name not in names:
            gone_at_s = now_s if old.gone_at_s is None else old.gone_at_s
            if now_s - gone_at_s < grace_s or alive(name):
                names[name] = Known(old.tags, gone_at_s)
    return names


def desired(known: Mapping[str, Known], expose: Expose, named: frozenset[str]) -> frozenset[str]:
    """The services to watch: all that are `named`, and the known ones that `expose` lets through."""
    return named - NEVER | {name for name, entry in known.items() if name not in NEVER and _opted_in(name, entry, expose)}


def _opted_in(name: str, entry: Known, expose: Expose) -> bool:
    if expose == "all":
        return True
    if expose == "tagged":
        return any(tag.lower() == OPT_IN_TAG for tag in entry.tags)
    return name in expose


class Registry:
    """Watches what is exposed.

    `on_snapshot` gets every snapshot of an exposed service whose instances or state changed, `on_gone`
    the name of a service that is exposed no longer, `on_catalog` each catalog; all on the event loop's thread. Names are lower case.
    Everything in a list is exposed, and gone at once when it is taken out.
    """

    def __init__(
        self,
        source: Source,
        *,
        expose: Expose,
        named: Iterable[str],
        on_snapshot: Callable[[Snapshot], None],
        on_gone: Callable[[str], None],
        on_catalog: Callable[[Catalog], None] = lambda _catalog: None,
        clock: Callable[[], float] = time.monotonic,
        grace_s: float = GRACE_S,
    ) -> None:
        # for life
        self.source = source
        self._listed = source.provider in LISTED
        self._on_snapshot = on_snapshot
        self._on_gone = on_gone
        self._tell_catalog = on_catalog
        self._clock = clock
        self._grace_s = 0.0 if self._listed else grace_s
        # until the next configuration
        self._expose: Expose = "tagged"
        self._named: frozenset[str] = frozenset()
        self._configure(expose, named)
        # as the catalog says
        self._catalog: Catalog | None = None
        self._known: dict[str, Known] = {}
        self._watched: frozenset[str] = frozenset()
        # while it runs
        self._running = False
        self._sweep: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Registry {self.source.provider} exposed={len(self._watched)} registered={len(self._known)}>"

    async def start(self) -> None:
        """Watch the named services and the catalog; returns at once, whether or not the registry answers."""
        self._running = True
        self._follow()
        self.source.watch_catalog(self._on_catalog)
        await self.source.start()

    def configure(self, *, expose: Expose, named: Iterable[str]) -> None:
        """Apply other rules; what is still exposed is watched without a break."""
        self._configure(expose, named)
        if self._running:
            self._follow()

    def snapshot(self, service: str) -> Snapshot | None:
        """The newest snapshot of an exposed service; None if it is not exposed or the registry has not answered yet."""
        return self.source.snapshot(service) if self.exposed(service) else None

    def exposed(self, service: str) -> bool:
        """Whether routes may reach it. True does not say that it has instances."""
        return service.lower() in self._watched

    def opted_in(self, service: str, tags: Iterable[str] = ()) -> bool:
        """Whether it is exposed by a rule, not only because somebody names it. `tags`: what is known of it beyond the catalog."""
        name = service.lower()
        entry = self._known.get(name, Known(frozenset()))
        return _opted_in(name, Known(entry.tags.union(tags)), self._expose)

    def registered(self, service: str) -> bool:
        """Whether the registry knows the name, or knew it a moment ago."""
        return service.lower() in self._known

    def heard(self) -> bool:
        """Whether the registry has ever told which services there are; before, an unknown name says nothing."""
        return self._catalog is not None

    def settled(self) -> bool:
        """Whether everything that is watched has been heard of, or cannot be: no use to wait any longer.

        What only the disk knows is worth waiting a moment for the registry's own word.
        """
        if self.status().last_error is not None:
            return True
        told = (self._catalog, *(self.source.snapshot(name) for name in self._watched))
        return all(each is not None and each.state in (SnapshotState.FRESH, SnapshotState.STALE) for each in told)

    def services(self) -> tuple[str, ...]:
        """All exposed services, sorted."""
        return tuple(sorted(self._watched))

    def unexposed(self) -> tuple[str, ...]:
        """Services that are registered, but that no route may reach, sorted; without Consul itself."""
        present = {name for name, entry in self._known.items() if entry.gone_at_s is None}
        return tuple(sorted(present - self._watched - NEVER))

    def known(self) -> Remembered:
        """All that a start without the registry would need."""
        snapshots = {name: snapshot for name in self._watched if (snapshot := self.source.snapshot(name)) is not None}
        return Remembered(self._catalog, snapshots)

    def status(self) -> SourceStatus:
        """The source at a glance."""
        return self.source.status()

    async def aclose(self) -> None:
        """Stop watching and close the source; may be called twice."""
        self._running = False
        if self._sweep is not None:
            self._sweep.cancel()
        await self.source.aclose()

    def _configure(self, expose: Expose, named: Iterable[str]) -> None:
        if self._listed:
            expose = "all"
        self._expose = expose if isinstance(expose, str) else frozenset(name.lower() for name in expose)
        self._named = frozenset(name.lower() for name in named)

    def _on_catalog(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._tell_catalog(catalog)
        self._recall()

    def _recall(self) -> None:
        """Compare what is known with the catalog, now and whenever a grace ends."""
        catalog = self._catalog
        if not self._running or catalog is None:
            return
        # While the catalog itself is in doubt nothing is forgotten, however long ago it went.
        grace_s = self._grace_s if catalog.state is SnapshotState.FRESH else float("inf")
        self._known = remember(self._known, catalog.services, self._clock(), grace_s=grace_s, alive=self._alive)
        self._follow()
        self._arm()

    def _alive(self, service: str) -> bool:
        """Its own watch still sees instances: the catalog may be hidden from us rather than empty."""
        snapshot = None if self._listed else self.snapshot(service)
        return snapshot is not None and any(i.state is not InstanceState.SUSPECT for i in snapshot.instances)

    def _follow(self) -> None:
        wanted = desired(self._known, self._expose, self._named)
        before, self._watched = self._watched, wanted
        for name in sorted(before - wanted):
            self.source.unwatch(name)
            self._on_gone(name)
        for name in sorted(wanted - before):
            self.source.watch(name, self._on_snapshot)

    def _arm(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        gone = [entry.gone_at_s for entry in self._known.values() if entry.gone_at_s is not None]
        if gone:
            left_s = min(gone) + self._grace_s - self._clock()
            self._sweep = asyncio.get_running_loop().call_later(left_s if left_s > 0 else RETRY_S, self._recall)

"""Consul as a source of snapshots: one blocking query per service and one for the catalog.

It only puts the parts together: `consul_client` talks, `watcher` waits, `pacing` and `protection`
decide, `last_good` keeps.
"""

from __future__ import annotations

import asyncio
import logging
import time
from random import Random
from typing import TYPE_CHECKING, Final

from discovery.consul_body import PROVIDER
from discovery.consul_client import MAX_BLOCKED, ConsulClient, tls_context
from discovery.consul_wire import Consistency
from discovery.errors import Denied
from discovery.instance import SnapshotState, SourceStatus
from discovery.last_good import LastGood, LastGoodCatalog, LastGoodService, Rules, tell
from discovery.pacing import Pacer
from discovery.protection import NodeBoard
from discovery.watcher import INDEX_RESET, Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import httpx

    from discovery.consul_client import Credential
    from discovery.instance import Snapshot
    from discovery.source import CatalogListener, SnapshotListener

log = logging.getLogger(__name__)

CROWDED_WAIT_S: Final = 1.0
ABOUT_TOKENS: Final = " (is the token known to this Consul, and does it have service:read and node:read?)"
"""With more watches than may block at a time they take turns, each blocking for so long."""
_WORST_FIRST: Final = (SnapshotState.EXPIRED, SnapshotState.STALE, SnapshotState.SNAPSHOT, SnapshotState.FRESH)


class ConsulSource:
    """A `Source` on one Consul agent.

    `url` is the agent's address, with a path where it stands behind one. `token` may be a function,
    called for every read, so that a renewed token is picked up. `consistency`: ``stale``, ``default`` or
    ``consistent``. `wait_s`, > 0: for how long a query may block. `max_age_s`: from then on an unconfirmed snapshot
    is called expired. `tags`: only instances that have all of them. `empty_hold_s`: for how long a suspicious
    loss is not believed, 0 for not at all (see `protection`). `on_error` gets the kind of every
    failure, `on_update` the name of a service whose instances changed.

    Raises:
        ValueError: a setting that cannot work.

    """

    provider = PROVIDER

    def __init__(  # noqa: PLR0913 plain settings, one keyword each
        self,
        url: str = "http://127.0.0.1:8500",
        *,
        token: Credential = None,
        datacenter: str | None = None,
        consistency: str = "stale",
        wait_s: float = 30.0,
        max_age_s: float = 600.0,
        passing_only: bool = True,
        tags: Iterable[str] = (),
        empty_hold_s: float = 10.0,
        tls_ca: str | None = None,
        tls_cert: str | None = None,
        tls_key: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
        on_error: Callable[[str], None] = lambda _kind: None,
        on_update: Callable[[str], None] = lambda _service: None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if not wait_s > 0:
            raise ValueError("wait must be longer than 0: without it every read would be a plain one")
        # for life
        self._consistency = Consistency(consistency)
        self._wait_s = wait_s
        self._hold_s = empty_hold_s
        self._clock = clock
        self._random = random or Random()
        self._on_error = on_error
        board = NodeBoard()
        self._rules = Rules(datacenter, frozenset(tags), passing_only, max_age_s, empty_hold_s, board, on_update, on_error)
        verify = tls_context(url, tls_ca, tls_cert, tls_key)
        self._http = ConsulClient(url, token=token, datacenter=datacenter, verify=verify, transport=transport)
        # what is watched
        self._services: dict[str, tuple[LastGoodService, Watcher]] = {}
        self._catalog: tuple[LastGoodCatalog, Watcher] | None = None
        # while it runs
        self._running = False
        self._ending: set[asyncio.Task[None]] = set()
        # since the last recovery
        self._logged: str | None = None

    def __repr__(self) -> str:
        state = self.status().state
        return f"<ConsulSource {self._http.url} {state.value if state else 'unknown'} services={len(self._services)}>"

    async def start(self) -> None:
        """Begin to watch; the first reads go out at once."""
        self._running = True
        for watcher in self._watchers():
            watcher.start()

    def watch(self, service: str, listener: SnapshotListener) -> None:
        """Follow one service; names are compared in lower case, as Consul does."""
        service = service.lower()
        if service in self._services:
            kept = self._services[service][0]
            kept.listener = listener
            if kept.snapshot is not None:
                tell(listener, kept.snapshot)
            return
        kept = LastGoodService(service, listener, self._rules)
        self._services[service] = kept, self._watcher(kept)
        self._make_room()

    def unwatch(self, service: str) -> None:
        """Forget one service."""
        entry = self._services.pop(service.lower(), None)
        if entry is not None:
            self._rules.board.forget(service.lower())
            self._end(entry[1])
            self._make_room()

    def watch_catalog(self, listener: CatalogListener) -> None:
        """Follow all names; there is one listener, the last one given."""
        if self._catalog is None:
            kept = LastGoodCatalog(listener, self._rules)
            self._catalog = kept, self._watcher(kept)
            return
        kept = self._catalog[0]
        kept.listener = listener
        if kept.catalog is not None:
            tell(listener, kept.catalog)

    def snapshot(self, service: str) -> Snapshot | None:
        """The newest of a watched service, with the moment of its last confirmation."""
        entry = self._services.get(service.lower())
        return None if entry is None else entry[0].snapshot

    def status(self) -> SourceStatus:
        """The worst state, the oldest confirmation and the last error of all watches that know something."""
        trusts = [watcher.kept.trust for watcher in self._watchers()]
        confirmed = [trust.confirmed_at_s for trust in trusts if trust.confirmed_at_s is not None]
        failing = [trust for trust in trusts if trust.last_error is not None]
        # A watch that fails before it ever knew anything has no state of its own, but is no good news either.
        states = {trust.state or (SnapshotState.STALE if trust.last_error and confirmed else None) for trust in trusts}
        return SourceStatus(
            PROVIDER,
            next((state for state in _WORST_FIRST if state in states), None),
            self._clock() - min(confirmed) if confirmed else None,
            failing[0].last_error if failing else None,
        )

    async def aclose(self) -> None:
        """Cancel all reads and close all connections."""
        self._running = False
        for watcher in self._watchers():
            self._end(watcher)
        self._services.clear()
        self._catalog = None
        await asyncio.gather(*self._ending, return_exceptions=True)
        await self._http.aclose()

    def _watchers(self) -> list[Watcher]:
        watchers = [watcher for _, watcher in self._services.values()]
        return watchers if self._catalog is None else [self._catalog[1], *watchers]

    def _watcher(self, kept: LastGood) -> Watcher:
        pacer = Pacer(wait_s=self._wait_s, consistency=self._consistency, random=self._random)
        watcher = Watcher(
            kept,
            pacer,
            self._http.ask,
            clock=self._clock,
            hold_s=self._hold_s,
            on_error=self._failed,
            on_recovered=self._recovered,
        )
        if self._running:
            watcher.start()
        return watcher

    def _make_room(self) -> None:
        watchers = self._watchers()
        wait_s = self._wait_s if len(watchers) <= MAX_BLOCKED else min(self._wait_s, CROWDED_WAIT_S)
        for watcher in watchers:
            watcher.pacer.wait_s = wait_s
            watcher.pacer.crowd = len(watchers)

    def _end(self, watcher: Watcher) -> None:
        task = watcher.stop()
        if task is not None:
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def _failed(self, kind: str, text: str) -> None:
        self._on_error(kind)
        if kind == INDEX_RESET:
            log.info("Consul's index went backwards: it was restarted or restored", extra={"url": self._http.url})
        elif kind != self._logged:  # one line per kind and outage, however many watches fail
            self._logged = kind
            text += ABOUT_TOKENS if kind == Denied.kind else ""
            log.warning("Consul cannot be read, what is known stays: %s", text, extra={"url": self._http.url, "reason": kind})

    def _recovered(self, recovered: Watcher) -> None:
        if self._logged is not None:
            self._logged = None
            log.info("Consul answers again", extra={"url": self._http.url})
        for watcher in self._watchers():
            if watcher is not recovered:
                watcher.nudge()

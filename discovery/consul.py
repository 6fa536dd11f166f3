"""Consul as a source of snapshots: a blocking query per service, or a sweep over many, and one for the catalog.

It only puts the parts together: `agents` and `consul_client` talk, `watcher` waits, `pacing`, `fan_in` and
`protection` decide, `last_good` keeps.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from random import Random
from typing import TYPE_CHECKING, TypeVar

from discovery.agents import Agents
from discovery.budget import Budgets
from discovery.canary import Canary
from discovery.consul_body import PROVIDER
from discovery.consul_client import ConsulClient, tls_context
from discovery.consul_wire import Consistency
from discovery.debounce import Debouncer
from discovery.fan_in import FanIn
from discovery.instance import NOTHING, Catalog, InstanceState, Snapshot, SnapshotState
from discovery.last_good import LastGood, LastGoodCatalog, LastGoodService, Rules, tell
from discovery.last_good_key import LastGoodKey, absence_is_an_answer
from discovery.outage_log import OutageLog
from discovery.pacing import INTERVAL_S, Pacer
from discovery.protection import NodeBoard
from discovery.sweep import INTERVAL_S as SWEEP_INTERVAL_S
from discovery.sweep import Sweep
from discovery.trust import status_of
from discovery.watcher import Watcher

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Sequence

    import httpx

    from discovery.consul_client import Credential
    from discovery.consul_wire import Read, Reply
    from discovery.instance import Remembered, SourceStatus
    from discovery.source import CatalogListener, KeyListener, SnapshotListener
    from discovery.watcher import Ask

T = TypeVar("T")


class ConsulSource:
    """A `Source` on a Consul cluster, asked through one agent at a time.

    `url` is the agent's address, with a path where it stands behind one, or several: the next one is asked
    when one fails (see `agents`). `budgets` keeps the accounts of blocking reads where several sources ask
    the same agents, one after the other or at the same time. `token` may be a function,
    called for every read, so that a renewed token is picked up. `consistency`: ``stale``, ``default`` or
    ``consistent``. `wait_s`, > 0: for how long a query may block. `max_age_s`: from then on an unconfirmed snapshot
    is called expired. `tags`: only instances that have all of them. `empty_hold_s`: for how long a suspicious
    loss is not believed, 0 for not at all (see `protection`). `remembered` is what to begin with until Consul
    answers. `on_error` gets the kind of every failure, `on_update` the name of a service whose instances changed.

    Raises:
        ValueError: a setting that cannot work.

    """

    provider = PROVIDER

    def __init__(  # noqa: PLR0913 plain settings, one keyword each
        self,
        url: str | Sequence[str] = "http://127.0.0.1:8500",
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
        remembered: Remembered = NOTHING,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
        on_error: Callable[[str], None] = lambda _kind: None,
        on_update: Callable[[str], None] = lambda _service: None,
        transport: httpx.AsyncBaseTransport | None = None,
        budgets: Budgets | None = None,
    ) -> None:
        if not wait_s > 0:
            raise ValueError("wait must be longer than 0: without it every read would be a plain one")
        # for life
        self._consistency = Consistency(consistency)
        self._wait_s = wait_s
        self._hold_s = empty_hold_s
        self._clock = clock
        self._random = random or Random()
        self._log = OutageLog(lambda: self.agents.url, on_error, clock)
        board = NodeBoard()
        self._rules = Rules(datacenter, frozenset(tags), passing_only, max_age_s, empty_hold_s, board, on_update, on_error)
        talk = partial(ConsulClient, token=token, datacenter=datacenter, transport=transport)
        verify = partial(tls_context, ca=tls_ca, cert=tls_cert, key=tls_key)
        self.agents = Agents(_clients(url, talk, verify, budgets or Budgets(clock=clock)), self._log.moved)
        self._canary = Canary(self.agents.ask, clock)
        # until it is asked for the first time
        self._old_snapshots = dict(remembered.snapshots)
        self._old_catalog = remembered.catalog
        # what is watched
        self._services: dict[str, tuple[LastGoodService, Watcher]] = {}
        self._debouncers: dict[str, Debouncer] = {}
        self._catalog: tuple[LastGoodCatalog, Watcher] | None = None
        self._key: Watcher | None = None
        self.fan_in = self._make_fan_in(max_age_s)
        # while it runs
        self._running = False
        self._ending: set[asyncio.Task[None]] = set()

    def _make_fan_in(self, max_age_s: float) -> FanIn:
        return FanIn(
            self._services,
            Sweep(self._services, self.agents.ask, max_age_s=max_age_s, clock=self._clock),
            room=self.agents.room,
            others=lambda: len(self._others()),
            make_watcher=self._sweeper,
            end=self._end,
            clock=self._clock,
        )

    def __repr__(self) -> str:
        state = self.status().state
        return f"<ConsulSource {self.agents.url} {state.value if state else 'unknown'} services={len(self._services)}>"

    async def start(self) -> None:
        """Begin to watch; the first reads go out at once."""
        self._running = True
        self.fan_in.start()
        for watcher in self._watchers():
            watcher.start()

    def watch(self, service: str, listener: SnapshotListener) -> None:
        """Follow one service; names are compared in lower case, as Consul does."""
        service = service.lower()
        if service in self._services:
            self._debouncers[service].replace(listener)
            return
        self._debouncers[service] = debouncer = Debouncer(listener, self._clock)
        kept = LastGoodService(service, partial(self._hear, debouncer.offer), self._rules)
        self._services[service] = kept, self._watcher(kept, self.fan_in.sweep.ask_for_one, direct=self.fan_in.direct)
        old = self._old_snapshots.pop(service, None)
        if old is not None:
            kept.recall(old, self._clock())
        self._settle()

    def unwatch(self, service: str) -> None:
        """Forget one service."""
        entry = self._services.pop(service.lower(), None)
        if entry is not None:
            self._rules.board.forget(service.lower())
            self._debouncers.pop(service.lower()).stop()
            self._end(entry[1])
            self._settle()

    def watch_catalog(self, listener: CatalogListener) -> None:
        """Follow all names; there is one listener, the last one given."""
        if self._catalog is None:
            kept = LastGoodCatalog(partial(self._hear, listener), self._rules, self.fan_in.catalog_moved)
            self._catalog = kept, self._watcher(kept)
            old, self._old_catalog = self._old_catalog, None
            if old is not None:
                kept.recall(old, self._clock())
            self.fan_in.sweep.catalog = kept.trust
            return
        kept = self._catalog[0]
        kept.listener = partial(self._hear, listener)
        if kept.catalog is not None:
            tell(listener, kept.catalog)

    def watch_key(self, key: str, listener: KeyListener) -> None:
        """Follow one key of the key-value store; there is one, the last one given.

        What becomes of it tells nothing of services, so it has no part in `status`.
        """
        if self._key is not None:
            self._end(self._key)
        self._key = self._watcher(LastGoodKey(key, listener, self._rules.max_age_s), self._ask_for_a_key)
        self._settle()

    async def _ask_for_a_key(self, path: str, read: Read) -> Reply:
        return absence_is_an_answer(await self.agents.ask(path, read))

    def snapshot(self, service: str) -> Snapshot | None:
        """The newest of a watched service, with the moment of its last confirmation."""
        entry = self._services.get(service.lower())
        return None if entry is None else entry[0].snapshot

    def status(self) -> SourceStatus:
        """The worst state, the oldest confirmation and the last error of all watches that know something."""
        trusts = [watcher.kept.trust for watcher in self._watchers() if watcher is not self._key]
        status = status_of(PROVIDER, trusts, self._clock())
        seen = any(kept.nodes for kept, _ in self._services.values())
        return self._canary.opinion(status, seen=seen)

    async def aclose(self) -> None:
        """Cancel all reads and close all connections."""
        self._running = False
        self.fan_in.stop()
        for watcher in self._watchers():
            self._end(watcher)
        for debouncer in self._debouncers.values():
            debouncer.stop()
        self._debouncers.clear()
        self._services.clear()
        self._catalog = self._key = None
        looking = self._canary.stop()
        await asyncio.gather(*self._ending, *([looking] if looking else []), return_exceptions=True)
        await self.agents.aclose()

    def _hear(self, listener: Callable[[T], None], news: T) -> None:
        """Pass news on; if they show nothing, or nothing any more, the token may not let us see it."""
        if isinstance(news, Snapshot):
            nothing = all(instance.state is InstanceState.SUSPECT for instance in news.instances)
            blind = nothing and news.state is SnapshotState.FRESH
            if not nothing:
                self._canary.sees()
        else:
            blind = isinstance(news, Catalog) and not news.services and news.state is SnapshotState.FRESH
        if blind:
            self._canary.suspect()
        listener(news)

    def _others(self) -> list[Watcher]:
        """Watches that always block."""
        catalog = None if self._catalog is None else self._catalog[1]
        return [watcher for watcher in (catalog, self._key) if watcher is not None]

    def _watchers(self) -> list[Watcher]:
        sweeper = self.fan_in.sweeper
        return [*self._others(), *([] if sweeper is None else [sweeper]), *(watcher for _, watcher in self._services.values())]

    def _sweeper(self) -> Watcher:
        return self._watcher(self.fan_in.sweep, self.fan_in.sweep.ask, interval_s=SWEEP_INTERVAL_S)

    def _watcher(self, kept: LastGood, ask: Ask | None = None, *, direct: bool = True, interval_s: float = INTERVAL_S) -> Watcher:
        pacer = Pacer(wait_s=self._wait_s, consistency=self._consistency, random=self._random, interval_s=interval_s)
        pacer.direct = direct
        watcher = Watcher(
            kept,
            pacer,
            ask or self.agents.ask,
            clock=self._clock,
            hold_s=self._hold_s,
            on_error=self._log.failed,
            on_recovered=self._recovered,
        )
        if self._running:
            watcher.start()
        return watcher

    def _settle(self) -> None:
        if self._running:
            self.fan_in.settle()
        watchers = self._watchers()
        for watcher in watchers:
            watcher.pacer.crowd = len(watchers)

    def _end(self, watcher: Watcher) -> None:
        task = watcher.stop()
        if task is not None:
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def _recovered(self, recovered: Watcher) -> None:
        watchers = self._watchers()
        if not any(watcher.pacer.away for watcher in watchers):
            self._log.recovered()
        for watcher in watchers:
            if watcher is not recovered:
                watcher.nudge()


def _clients(
    url: str | Sequence[str],
    talk: Callable[..., ConsulClient],
    verify: Callable[[str], ssl.SSLContext | bool],
    budgets: Budgets,
) -> list[ConsulClient]:
    return [talk(one, verify=verify(one), budget=budgets.of(one)) for one in ([url] if isinstance(url, str) else url)]

"""Puts the configuration together again whenever a part of it changes: the file, the key-value store, the tags.

Hundreds of services may register within a second; so news are collected for a moment. A route outlives the last
instance of its service for a while: "nobody is there" (503) says more than "never heard of" (404).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog

from lbgateway.composition.compose import NOTHING, Composition, compose
from lbgateway.composition.declaration import Declaration, declare

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Collection

    from discovery.instance import Instance, KeyValue, Snapshot
    from lbgateway.composition.stored import StoredConfig
    from lbgateway.config import Settings

    Aside = Callable[[Callable[[], Any]], Awaitable[Any]]

log = structlog.get_logger("lbgateway")

QUIET_S: Final = 0.01
"""After so long without news they are put into force."""
LONGEST_S: Final = 0.05
"""And at the latest after so long."""
REST: Final = 5.0
LONGEST_REST_S: Final = 0.25
"""Between two compositions lies `REST` times what the first of them took, but no more than this: requests need the processor, too."""
LINGER_S: Final = 600.0
"""For how long a service keeps its routes without a single instance."""


class Composer:
    """Knows all parts, and calls `apply` with each new composition; an exception of `apply` leaves the old one in force.

    `exposed` gives the names of the services that may be reached now; `refused` hears of errors of the key-value store's text; `aside`
    runs a function off the event loop.
    """

    def __init__(
        self,
        base: Settings,
        stored: StoredConfig | None,
        *,
        loop: asyncio.AbstractEventLoop,
        exposed: Callable[[], Collection[str]],
        apply: Callable[[Composition], None],
        refused: Callable[[list[str]], None] = lambda _errors: None,
        aside: Aside | None = None,
    ) -> None:
        # for life
        self.stored = stored
        self._aside: Aside = aside or partial(loop.run_in_executor, None)
        self._loop = loop
        self._exposed = exposed
        self._apply = apply
        self._refused = refused
        # until the next reload
        self.base = base
        """The file's part."""
        # as services say
        self._instances: dict[str, tuple[Instance, ...]] = {}
        self._declared: dict[str, Declaration] = {}
        self._came: dict[str, int] = {}
        """When a service that asks for something first did: a deploy, which replaces its instances, makes it no newcomer."""
        self._ends: dict[str, asyncio.TimerHandle] = {}
        """The ends of those without instances."""
        # as the store says
        self._readings: set[asyncio.Task[None]] = set()
        # since the last composition
        self.causes: set[str] = set()
        """Whose news are collected: ``kv``, ``tags``."""
        self._before: Settings | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._latest_at_s: float | None = None
        self._rested_at_s = float("-inf")

    def __repr__(self) -> str:
        return f"<Composer declared={len(self._declared)} lingering={len(self._ends)} pending={self._latest_at_s is not None}>"

    # -- news ----------------------------------------------------------------------------------

    def saw(self, snapshot: Snapshot) -> None:
        """A service has other instances, or another state."""
        name, instances = snapshot.service, snapshot.instances
        known = self._instances.get(name)
        if not instances:
            self._fade(name)
            return
        self._stay(name)
        if known is None or known != instances:
            self._instances[name] = instances
            self._hear(name, newcomer=known is None)

    def gone(self, name: str, *, unexposed: bool) -> None:
        """A service is not watched any more: nobody heard of it for a while, or it may not be reached any more."""
        if unexposed:
            self._forget(name)
        else:
            self._fade(name)

    def heard_key(self, news: KeyValue) -> None:
        """The key-value store has news; a text is read beside the requests."""
        if self.stored is None:
            return
        text = self.stored.hear(news)
        if text is not None:
            reading = self._loop.create_task(self._read(self.stored, text))
            self._readings.add(reading)
            reading.add_done_callback(self._readings.discard)

    async def _read(self, stored: StoredConfig, text: bytes) -> None:
        try:
            outcome = await self._aside(partial(stored.read, text))
        except Exception:
            log.exception("a bug while reading the configuration key, what is known stays")
            return
        if stored.take(text, outcome):
            self._soon("kv")
        elif stored.errors:
            self._refused(stored.errors)

    def settled(self) -> bool:
        """Whether the key-value store has been heard of, or cannot be."""
        return self.stored is None or self.stored.state != "unknown" or self.stored.unreadable is not None

    def lingers(self, name: str) -> bool:
        """Whether a service without instances still has routes of its own."""
        return name in self._ends and name in self._declared

    # -- compositions --------------------------------------------------------------------------

    def composed(self, base: Settings | None = None) -> Composition:
        """What would be in force now, over `base` if it is given. Changes nothing."""
        over = self.base if base is None else base
        declared = self._declared if base is None else {name: each for name in self._instances if (each := self._declaration(name, over))}
        stored = self.stored.fragment if self.stored is not None else NOTHING
        in_order = sorted(declared.values(), key=lambda each: (self._came.get(each.service, each.came), each.service))
        return compose(over, stored, in_order, exposed=frozenset(self._exposed()), before=self._before)

    def rebase(self, base: Settings, composition: Composition) -> None:
        """A reload has put `composition` over `base` into force."""
        self.base = base
        self._cancel()
        self._before = composition.settings
        self._declared.clear()
        for name in self._instances:
            self._hear(name, newcomer=False)

    def flush(self) -> None:
        """Put what has been collected into force at once."""
        if self._latest_at_s is not None:
            self._compose()

    def close(self) -> None:
        """Forget all timers."""
        self._cancel()
        for reading in self._readings:
            reading.cancel()
        for timer in self._ends.values():
            timer.cancel()
        self._ends.clear()

    # -- inside --------------------------------------------------------------------------------

    def _declaration(self, name: str, base: Settings) -> Declaration | None:
        consul = base.discovery.consul
        if not consul.routes_from_tags or base.discovery.provider not in ("consul", "embedded"):
            return None
        return declare(name, self._instances[name], consul.allow_tag_keys)

    def _hear(self, name: str, *, newcomer: bool) -> None:
        before, now = self._declared.get(name), self._declaration(name, self.base)
        if now is None:
            self._declared.pop(name, None)
            self._came.pop(name, None)
        else:
            self._declared[name] = now
            self._came[name] = min(self._came.get(name, now.came), now.came)
        # A newcomer without wishes matters where others may claim what lies below its name.
        if now != before or (newcomer and self.base.discovery.consul.tag_prefixes):
            self._soon("tags")

    def _fade(self, name: str) -> None:
        """Nobody is left: what asked for something keeps it for a while."""
        if name not in self._declared:
            self._forget(name)
        elif name not in self._ends:
            self._ends[name] = self._loop.call_later(LINGER_S, self._forget, name)

    def _stay(self, name: str) -> None:
        timer = self._ends.pop(name, None)
        if timer is not None:
            timer.cancel()

    def _forget(self, name: str) -> None:
        self._stay(name)
        known = self._instances.pop(name, None)
        self._came.pop(name, None)
        if self._declared.pop(name, None) is not None or (known and self.base.discovery.consul.tag_prefixes):
            self._soon("tags")

    def _soon(self, cause: str) -> None:
        self.causes.add(cause)
        now_s = self._loop.time()
        if self._latest_at_s is None:
            self._latest_at_s = now_s + LONGEST_S
        if self._timer is not None:
            self._timer.cancel()
        at_s = max(min(now_s + QUIET_S, self._latest_at_s), self._rested_at_s)
        self._timer = self._loop.call_at(at_s, self._compose)

    def _cancel(self) -> None:
        self._latest_at_s = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _compose(self) -> None:
        self._cancel()
        began_s = self._loop.time()
        try:
            composition = self.composed()
            self._apply(composition)
        except Exception:
            log.exception("a bug while putting the configuration together, the old one stays")
        else:
            self._before = composition.settings
        self.causes.clear()
        ended_s = self._loop.time()
        self._rested_at_s = ended_s + min(REST * (ended_s - began_s), LONGEST_REST_S)

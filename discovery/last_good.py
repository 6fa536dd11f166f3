"""What is kept of the registry's answers: the last good snapshot of a service, the last good catalog.

Nothing here ever shrinks because of a failure. No I/O and no clock of its own; listeners are called
synchronously, and only when instances (names, tags) or the state have changed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol, TypeVar
from urllib.parse import quote

from discovery.consul_body import Reading, decode_catalog, decode_health
from discovery.consul_wire import Consistency, digest, next_index
from discovery.errors import MALFORMED_ENTRY, RESYNC_DRIFT
from discovery.flapping import Damper
from discovery.instance import Catalog, Instance, InstanceKey, Snapshot, SnapshotState
from discovery.protection import Answer, Hold, NodeBoard, Recheck, judge
from discovery.replay import Replay, told_of
from discovery.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from discovery.consul_body import Health
    from discovery.consul_wire import Read, Reply
    from discovery.source import CatalogListener, SnapshotListener

T = TypeVar("T")
log = logging.getLogger(__name__)


def tell(listener: Callable[[T], None], news: T) -> None:
    """Call a listener; what it breaks must not end the watch that feeds it."""
    try:
        listener(news)
    except Exception:
        log.exception("a listener broke: %r", listener)


class LastGood(Protocol):
    """What a watcher feeds. ``path`` is what it asks Consul for."""

    trust: Trust

    @property
    def path(self) -> str: ...

    @property
    def recheck(self) -> Recheck | None: ...

    def accept(self, reply: Reply, read: Read, now_s: float, *, recovering: bool) -> None:
        """Take over a good answer.

        Raises:
            MalformedAnswer: it makes no sense; nothing was changed.

        """

    def refuse(self, error: str, now_s: float) -> None:
        """Note that a read failed."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What all services of one source have in common. `empty_hold_s` 0 believes every loss at once."""

    datacenter: str | None
    tags: frozenset[str]
    passing_only: bool
    max_age_s: float
    empty_hold_s: float
    board: NodeBoard
    on_update: Callable[[str], None]
    on_error: Callable[[str], None]


class LastGoodService:
    """The instances of one service as they are to be served, losses judged by `protection`."""

    def __init__(self, service: str, listener: SnapshotListener, rules: Rules) -> None:
        # for life
        self.service = service
        self.listener = listener
        self.path = f"/v1/health/service/{quote(service, safe='')}"
        self.trust = Trust(rules.max_age_s)
        self._rules = rules
        self._reading = Reading(service, rules.datacenter or "", rules.tags, rules.passing_only)
        # since the last good answer
        self._version = 0
        self._index = 0
        self._judged: tuple[Instance, ...] = ()
        self._instances: tuple[Instance, ...] = ()
        self._body = b""
        self._health: Health | None = None
        # since the last suspicious one
        self._holds: Mapping[InstanceKey, Hold] = {}
        self._recheck: Recheck | None = None
        self._damper = Damper()
        self._replay = Replay()
        # since the last call of the listener
        self._told: tuple[int, SnapshotState] | None = None

    @property
    def recheck(self) -> Recheck | None:
        return self._replay.recheck or self._recheck

    @property
    def nodes(self) -> frozenset[str]:
        """Where its instances are."""
        return frozenset(instance.key.node for instance in self._instances)

    @property
    def snapshot(self) -> Snapshot | None:
        """What is known now, with the moment of the last good answer; None before the first."""
        trust = self.trust
        if trust.state is None or trust.confirmed_at_s is None:
            return None
        return Snapshot(self.service, self._version, self._instances, self._index, trust.confirmed_at_s, trust.state, trust.last_error)

    def recall(self, remembered: Snapshot, now_s: float) -> None:
        """Begin with what the disk remembers. The first answer is judged as if it came after an outage."""
        wanted = {tag.lower() for tag in self._rules.tags}
        self._judged = self._instances = tuple(i for i in remembered.instances if wanted <= {tag.lower() for tag in i.tags})
        self._version = 1
        self.trust.recall(remembered.confirmed_at_s, now_s)
        self._tell()

    def accept(self, reply: Reply, read: Read, now_s: float, *, recovering: bool) -> None:
        """Decode, judge, publish."""
        before, health = self._health, self._decode(reply.body)
        if read.resync and before is not None and health.instances != before.instances:
            self._rules.on_error(RESYNC_DRIFT)
            log.warning("a resync found what no change had told of", extra={"service": self.service})
        dubious = reply.dubious
        if reply.from_cache and not health.instances and not self._index:
            self.trust.failed("nothing in the agent's cache", now_s)
            return  # an empty cache knows nothing, not even that there is nothing
        index = next_index(reply.index, 0)
        if not reply.from_cache and self._replay.is_past(index, self._index, now_s, read.consistency, recovering=recovering):
            self.refuse(told_of(index, self._index), now_s)
            return
        self._rules.board.observe(self.service, health.instances, now_s)
        restarting, maybe_restarting = self._rules.board.restarting(health.nodes_down, now_s)
        judgement = judge(
            self._judged,
            self._holds,
            Answer(
                health.instances,
                now_s,
                index,
                read.consistency,
                same_index=self._version > 0 and index == self._index > 1,
                dubious=dubious is not None,
                behind=0 < index < self._index,
                recovering=recovering,
                restarting=restarting,
                maybe_restarting=maybe_restarting,
                unprobed=health.unprobed,
            ),
            self._rules.empty_hold_s,
        )
        self._judged, self._holds, self._recheck, self._index = judgement.instances, judgement.holds, judgement.recheck, index
        self._serve(self._damp(health, now_s))
        if dubious is None:
            self.trust.confirm(now_s)
        else:
            self.trust.outdated(dubious, now_s, reply.as_of_s(now_s))
        self._tell()

    def _decode(self, body: bytes) -> Health:
        name = digest(body)
        if self._health is None or name != self._body:
            self._health, self._body = decode_health(body, self._reading), name
            for _ in range(self._health.skipped):
                self._rules.on_error(MALFORMED_ENTRY)
        return self._health

    def _damp(self, health: Health, now_s: float) -> tuple[Instance, ...]:
        """What was judged, but for those who change too often; they are looked at again when their hold ends."""
        damped = self._damper.damp(health.instances, self._judged, now_s)
        for instance in damped.began:
            told = {"service": self.service, "instance": instance.id, "state": instance.state.value}
            log.warning("an instance changes its state too often, the worse one is held: %s", instance.reason, extra=told)
        if damped.ends_at_s is not None and (self._recheck is None or damped.ends_at_s < self._recheck.at_s):
            self._recheck = Recheck(damped.ends_at_s, Consistency.STALE)
        return damped.instances

    def _serve(self, instances: tuple[Instance, ...]) -> None:
        if self._version and instances == self._instances:
            return
        self._instances = instances
        self._version += 1
        self._rules.on_update(self.service)

    def refuse(self, error: str, now_s: float) -> None:
        self.trust.failed(error, now_s)
        self._tell()

    def _tell(self) -> None:
        snapshot = self.snapshot
        if snapshot is not None and self._told != (snapshot.version, snapshot.state):
            self._told = (snapshot.version, snapshot.state)
            tell(self.listener, snapshot)


class LastGoodCatalog:
    """The names of all services. Names that an answer loses although its index did not move are kept.

    `on_moved` is called when something about some registration has changed, names and tags or not.
    """

    path: Final = "/v1/catalog/services"

    def __init__(self, listener: CatalogListener, rules: Rules, on_moved: Callable[[], None] = lambda: None) -> None:
        # for life
        self.listener = listener
        self._on_moved = on_moved
        self.trust = Trust(rules.max_age_s)
        self._replay = Replay()
        # since the last good answer
        self._services: dict[str, frozenset[str]] | None = None
        self._index = 0
        # since the last call of the listener
        self._told: Catalog | None = None

    @property
    def recheck(self) -> Recheck | None:
        return self._replay.recheck

    @property
    def catalog(self) -> Catalog | None:
        trust = self.trust
        if self._services is None or trust.state is None or trust.confirmed_at_s is None:
            return None
        return Catalog(self._services, trust.confirmed_at_s, trust.state, trust.last_error)

    def recall(self, remembered: Catalog, now_s: float) -> None:
        """Begin with what the disk remembers."""
        self._services = dict(remembered.services)
        self.trust.recall(remembered.confirmed_at_s, now_s)
        self._tell()

    def accept(self, reply: Reply, read: Read, now_s: float, *, recovering: bool) -> None:
        """Decode, compare with what is known, publish."""
        services = decode_catalog(reply.body)
        if reply.from_cache and not services and not self._index:
            self.trust.failed("nothing in the agent's cache", now_s)
            return
        index = next_index(reply.index, 0)
        if not reply.from_cache and self._replay.is_past(index, self._index, now_s, read.consistency, recovering=recovering):
            self.refuse(told_of(index, self._index), now_s)
            return
        moved = self._services is not None and (index != self._index or services != self._services)
        if self._services and (reply.dubious or index == self._index > 1):
            services = self._services | services
        self._services, self._index = services, index
        if reply.dubious is None:
            self.trust.confirm(now_s)
        else:
            self.trust.outdated(reply.dubious, now_s, reply.as_of_s(now_s))
        self._tell()
        if moved:
            self._on_moved()

    def refuse(self, error: str, now_s: float) -> None:
        self.trust.failed(error, now_s)
        self._tell()

    def _tell(self) -> None:
        catalog = self.catalog
        if catalog is None:
            return
        told, self._told = self._told, catalog
        if told is None or replace(told, confirmed_at_s=0.0, last_error=None) != replace(catalog, confirmed_at_s=0.0, last_error=None):
            tell(self.listener, catalog)

"""What a registry reports: instances, and complete snapshots of them. All of it immutable."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class InstanceKey(NamedTuple):
    """Identity of an instance: two nodes may both own the id ``orders-1``."""

    provider: str
    datacenter: str
    namespace: str
    node: str
    id: str


class InstanceState(enum.StrEnum):
    """What the registry says of an instance; SUSPECT and DRAINING are never said by Consul."""

    PASSING = "passing"
    WARNING = "warning"
    CRITICAL = "critical"
    MAINTENANCE = "maintenance"
    DRAINING = "draining"
    """By order of a list: finishes what runs, gets nothing new."""
    SUSPECT = "suspect"
    """Missing from an answer that is not yet believed, or known only from a disk snapshot."""


class SnapshotState(enum.StrEnum):
    """How much a snapshot is worth (the contract's ``discovery.state``)."""

    FRESH = "fresh"
    STALE = "stale"
    """The last good answer, kept since a read failed."""
    SNAPSHOT = "snapshot"
    """Read from disk at start, not yet confirmed."""
    EXPIRED = "expired"
    """Kept for longer than ``max_age`` without a good answer; still served."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance of a service.

    ``weight`` is what the registry says for the present state (Consul: ``Weights.Passing`` or
    ``Weights.Warning``); 0 means no new traffic. ``reason`` explains a state that is not PASSING
    (the check's name and output, a maintenance note). ``consul_status`` keeps the registry's own
    word even while we say SUSPECT.
    """

    key: InstanceKey
    service: str
    address: str
    port: int
    weight: int = 1
    state: InstanceState = InstanceState.PASSING
    reason: str | None = None
    consul_status: str = "passing"
    tags: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict)
    zone: str | None = None
    create_index: int = 0
    """When the registry first heard of it."""
    modify_index: int = 0
    """When its registration last changed; checks do not move it."""

    @property
    def id(self) -> str:
        """The service id, unique on its node only."""
        return self.key.id


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The complete set of instances of one service at one index; never a delta.

    ``version`` grows only when the instances changed. ``confirmed_at_s`` (monotonic) moves with
    every good answer, changed or not.
    """

    service: str
    version: int
    instances: tuple[Instance, ...]
    index: int
    confirmed_at_s: float
    state: SnapshotState = SnapshotState.FRESH
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class Catalog:
    """The names of all registered services, with the union of the tags of their instances."""

    services: Mapping[str, frozenset[str]]
    confirmed_at_s: float
    state: SnapshotState = SnapshotState.FRESH
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class KeyValue:
    """What a watched key of the registry's store holds; ``value`` is None where there is no such key.

    ``last_error`` is the last failed read's, None after a good one: then the value is as old as that.
    """

    key: str
    value: bytes | None
    index: int = 0
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """The whole source at a glance. ``state`` is None until something was ever known."""

    provider: str
    state: SnapshotState | None
    age_s: float | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Remembered:
    """All that a start without the registry needs: the catalog, and the newest snapshots by service in lower case."""

    catalog: Catalog | None
    snapshots: Mapping[str, Snapshot]


NOTHING: Final = Remembered(None, {})

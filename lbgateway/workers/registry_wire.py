"""What the registry says, as the parent tells it to its workers. Pure.

A snapshot is told whole once, then by what has changed: of 20,000 instances one that moves is 300 bytes, not 6 MB. Moments are of the
monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from discovery.instance import Catalog, Instance, InstanceKey, InstanceState, KeyValue, Snapshot, SnapshotState, SourceStatus
from lbgateway.dataplane.gateway_endpoint import endpoint_key

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from lbgateway.workers.slots import Slots

Facts = dict[str, Any]


def catalog_facts(catalog: Catalog) -> Facts:
    services = {name: sorted(tags) for name, tags in catalog.services.items()}
    return {"services": services, "at_s": catalog.confirmed_at_s, "state": catalog.state, "error": catalog.last_error}


def catalog_of(facts: Facts) -> Catalog:
    services = {name: frozenset(tags) for name, tags in facts["services"].items()}
    return Catalog(services, facts["at_s"], SnapshotState(facts["state"]), facts["error"])


def status_facts(status: SourceStatus) -> Facts:
    return {"state": status.state, "age_s": status.age_s, "error": status.last_error}


def status_of(provider: str, facts: Facts) -> SourceStatus:
    state = None if facts["state"] is None else SnapshotState(facts["state"])
    return SourceStatus(provider, state, facts["age_s"], facts["error"])


def value_facts(news: KeyValue) -> tuple[Facts, bytes]:
    """The value itself goes behind the facts."""
    return {"key": news.key, "index": news.index, "error": news.last_error, "absent": news.value is None}, news.value or b""


def value_of(facts: Facts, payload: bytes) -> KeyValue:
    return KeyValue(facts["key"], None if facts["absent"] else payload, facts["index"], facts["error"])


def instance_facts(instance: Instance, slot: int) -> list[Any]:
    return [
        *instance.key, slot, instance.service, instance.address, instance.port, instance.weight, instance.state, instance.reason,
        instance.consul_status, instance.tags, dict(instance.meta), instance.zone, instance.create_index, instance.modify_index,
    ]  # fmt: skip


def instance_of(given: list[Any]) -> tuple[Instance, int]:
    """The instance, and its slot on the board."""
    identity, (slot, service, address, port, weight, state, *words, tags, meta, zone, create_index, modify_index) = given[:5], given[5:]
    more = (*words, tuple(tags), meta, zone, create_index, modify_index)
    return Instance(InstanceKey(*identity), service, address, port, weight, InstanceState(state), *more), slot


class SnapshotTeller:
    """The parent's half: remembers what it has told of each service, and gives each instance a slot."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._told: dict[str, tuple[Snapshot, dict[InstanceKey, Instance]]] = {}

    def news(self, snapshot: Snapshot, now_s: float) -> Facts:
        """What those have to hear who know what was told before."""
        before = self._told.get(snapshot.service)
        known: Mapping[InstanceKey, Instance] = before[1] if before is not None else {}
        now = {instance.key: instance for instance in snapshot.instances}
        self._told[snapshot.service] = (snapshot, now)
        there = set(map(endpoint_key, now.values()))
        for instance in known.values():
            if (owner := endpoint_key(instance)) not in there:
                self._slots.give_back(owner, now_s)
        changed = [instance for key, instance in now.items() if known.get(key) != instance]
        return self._facts(snapshot, changed, [key for key in known if key not in now], now_s, whole=before is None)

    def gone(self, service: str, now_s: float) -> None:
        _, known = self._told.pop(service, (None, {}))
        for instance in known.values():
            self._slots.give_back(endpoint_key(instance), now_s)

    def whole(self, now_s: float) -> list[Facts]:
        """What somebody has to hear who knows nothing."""
        return [self._facts(snapshot, list(known.values()), [], now_s, whole=True) for snapshot, known in self._told.values()]

    def _facts(self, snapshot: Snapshot, there: list[Instance], gone: list[InstanceKey], now_s: float, *, whole: bool) -> Facts:
        return {
            "service": snapshot.service,
            "version": snapshot.version,
            "index": snapshot.index,
            "at_s": snapshot.confirmed_at_s,
            "state": snapshot.state,
            "error": snapshot.last_error,
            "slot": self._slots.take(snapshot.service, now_s),
            "whole": whole,
            "there": [instance_facts(each, self._slots.take(endpoint_key(each), now_s)) for each in there],
            "gone": gone,
        }


class SnapshotHearer:
    """A worker's half: complete snapshots from what the parent tells. `slots` is filled with where everybody is on the board."""

    def __init__(self, slots: dict[Hashable, int]) -> None:
        self._slots = slots
        self._known: dict[str, dict[InstanceKey, Instance]] = {}

    def hear(self, facts: Facts) -> Snapshot:
        service = facts["service"]
        known = self._known.setdefault(service, {})
        if facts["whole"]:
            known.clear()
        for each in facts["gone"]:
            left = known.pop(InstanceKey(*each), None)
            if left is not None:
                self._slots.pop(endpoint_key(left), None)
        for each in facts["there"]:
            instance, slot = instance_of(each)
            known[instance.key] = instance
            self._slots[endpoint_key(instance)] = slot
        self._slots[service] = facts["slot"]
        instances = tuple(known[key] for key in sorted(known))
        return Snapshot(
            service, facts["version"], instances, facts["index"], facts["at_s"], SnapshotState(facts["state"]), facts["error"]
        )  # fmt: skip

    def forget(self, service: str) -> None:
        for instance in self._known.pop(service, {}).values():
            self._slots.pop(endpoint_key(instance), None)

"""The catalogue and its indexes: what changed when, as Consul counts it. Pure.

One counter numbers all changes; a change is one call, however many rows it touches. Each row remembers
the number that made it and the last that altered it; a row that is put again with the same content
counts as no change at all. What a blocking query waits for is the index of its *scope*:

===========  ==========================================================================================
scope        moves with
===========  ==========================================================================================
nodes        the node itself (never, here)
services     instances coming, going, altered
checks       any check coming, going, altered
service      its own instances, their checks, and the checks of the node; for a service without
             instances the moment when *any* service last lost its last one, because then nothing of
             its own is left to remember
===========  ==========================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeVar

from discovery.embedded.records import PASSING, Check, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from discovery.embedded.records import Node

T = TypeVar("T", Service, Check)


class Scope(NamedTuple):
    """What a query reads, and hence waits for. `name` is used by ``service`` only, in lower case."""

    kind: Literal["nodes", "services", "checks", "service"]
    name: str = ""


def service_scope(name: str) -> Scope:
    """The scope of one service; names are matched whatever their case."""
    return Scope("service", name.lower())


@dataclass(frozen=True, slots=True)
class Row(Generic[T]):
    """A record with the numbers of the changes that made and last altered it."""

    record: T
    create_index: int
    modify_index: int


class Catalog:
    """All instances and checks of one node.

    `first_index` >= 1. A registry that forgets everything at a restart should start at a number that
    is higher than any it gave out before, such as the wall clock in milliseconds; one that starts low
    leaves its watchers waiting for an index that lies in the past.
    """

    def __init__(self, node: Node, first_index: int) -> None:
        # for life
        self.node = node
        self.on_change: Callable[[], None] = _nobody
        # content
        self.index = first_index
        self.services: dict[str, Row[Service]] = {}
        self.checks: dict[str, Row[Check]] = {}
        # what blocking queries compare with
        self._table_index = {"nodes": first_index, "services": first_index, "checks": first_index}
        self._service_index: dict[str, int] = {}
        self._extinction_index = 0
        consul = Service(id="consul", name="consul", port=8300)
        self.put(consul, [Check(id="serfHealth", name="Serf Health Status", status=PASSING, output="Agent alive and reachable")])

    def index_of(self, scope: Scope) -> int:
        """The number of the last change that mattered to `scope`; never 0."""
        if scope.kind != "service":
            return self._table_index[scope.kind]
        return self._service_index.get(scope.name) or self._extinction_index or max(self._table_index.values())

    def put(self, service: Service | None, checks: Iterable[Check] = ()) -> None:
        """Add or replace one instance and some checks, as one change; identical ones change nothing."""
        number = self.index + 1
        if service is not None:
            self._put_service(service, number)
        for check in checks:
            self._put_check(check, number)
        self._end_change(number)

    def remove_service(self, service_id: str) -> None:
        """Take an instance out, its checks with it; unknown ids change nothing."""
        row = self.services.get(service_id)
        if row is None:
            return
        number = self.index + 1
        for check_id in [one.record.id for one in self.checks.values() if one.record.service_id == service_id]:
            self._touch_check(self.checks.pop(check_id).record, number)
        del self.services[service_id]
        self._lose_instance(row.record.name, number)
        self._end_change(number)

    def remove_check(self, check_id: str) -> None:
        """Take one check out; unknown ids change nothing."""
        row = self.checks.pop(check_id, None)
        if row is not None:
            self._touch_check(row.record, self.index + 1)
            self._end_change(self.index + 1)

    def instances(self, name: str) -> list[Row[Service]]:
        """The instances of one service, by id; names are matched whatever their case."""
        return sorted((row for row in self.services.values() if row.record.name.lower() == name.lower()), key=lambda row: row.record.id)

    def checks_of(self, service_id: str) -> list[Row[Check]]:
        """The checks that decide over one instance: the node's, then its own, each by id."""
        relevant = (row for row in self.checks.values() if row.record.service_id in ("", service_id))
        return sorted(relevant, key=lambda row: (row.record.service_id, row.record.id))

    def _put_service(self, service: Service, number: int) -> None:
        old = self.services.get(service.id)
        if old is not None and old.record == service:
            return
        self.services[service.id] = Row(service, old.create_index if old else number, number)
        if old is not None and old.record.name != service.name:
            self._lose_instance(old.record.name, number)
        self._table_index["services"] = self._service_index[service.name.lower()] = number

    def _put_check(self, check: Check, number: int) -> None:
        old = self.checks.get(check.id)
        if old is None:
            self.checks[check.id] = Row(check, number, number)
        elif old.record != check:
            self.checks[check.id] = Row(check, old.create_index, number)
            self._touch_check(old.record, number)  # it may have decided over another service
        else:
            return
        self._touch_check(check, number)

    def _touch_check(self, check: Check, number: int) -> None:
        self._table_index["checks"] = number
        # A check of the node decides over every instance on it.
        names = self._names_of(check) if check.service_id else set(self._service_index)
        for name in names & self._service_index.keys():
            self._service_index[name] = number

    def _names_of(self, check: Check) -> set[str]:
        """The service that a check names, and the one that its instance belongs to since it was renamed."""
        row = self.services.get(check.service_id)
        return {check.service_name.lower()} | ({row.record.name.lower()} if row is not None else set())

    def _lose_instance(self, name: str, number: int) -> None:
        self._table_index["services"] = number
        if self.instances(name):
            self._service_index[name.lower()] = number
        else:
            self._service_index.pop(name.lower(), None)
            self._extinction_index = number

    def _end_change(self, number: int) -> None:
        if max(self._extinction_index, *self._table_index.values()) == number:
            self.index = number
            self.on_change()


def _nobody() -> None:
    """Nobody listens yet."""

"""The catalogue and its indexes: what changed when, as Consul counts it. Pure.

`changes` numbers all changes; a change is one call, however many rows it touches. Each row remembers
the number that made it and the last that altered it; a row that is put again with the same content
counts as no change at all. What a blocking query waits for is the index of its *scope*:

===========  ==========================================================================================
scope        moves with
===========  ==========================================================================================
nodes        nodes coming, going, altered
services     instances coming, going, altered
node         nodes and services alike: one node with all that is on it
checks       any check coming, going, altered
service      its own instances, their checks, and their nodes with the checks of these; for a service
             without instances the moment when *any* service last lost its last one, because then
             nothing of its own is left to remember
===========  ==========================================================================================

Instances and checks belong to a node: two nodes may well use the same ids. Names of nodes and services
are matched whatever their case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeVar

from discovery.embedded.records import PASSING, Check, Node, Service

if TYPE_CHECKING:
    from collections.abc import Iterable

    from discovery.embedded.changes import Changes

T = TypeVar("T", Node, Service, Check)

Place = tuple[str, str]
"""The name of a node in lower case, and an id on it."""


class Scope(NamedTuple):
    """What a query reads, and hence waits for. `name` is a service in lower case, or a key or prefix as it is."""

    kind: Literal["nodes", "services", "node", "checks", "service", "key", "tree"]
    name: str = ""


def service_scope(name: str) -> Scope:
    """The scope of one service; names are matched whatever their case."""
    return Scope("service", name.lower())


@dataclass(frozen=True, slots=True)
class Row(Generic[T]):
    """A record with the name of its node, and the numbers of the changes that made and last altered it."""

    record: T
    node: str
    create_index: int
    modify_index: int


class Catalog:
    """All nodes, instances and checks. `node` is the registry's own one, and the default wherever a node is asked for."""

    def __init__(self, node: Node, changes: Changes) -> None:
        # for life
        self.node = node
        self.changes = changes
        # content
        first_index = changes.index
        self.nodes: dict[str, Row[Node]] = {node.name.lower(): Row(node, node.name, first_index, first_index)}
        self.services: dict[Place, Row[Service]] = {}
        self.checks: dict[Place, Row[Check]] = {}
        # what blocking queries compare with
        self._table_index = {"nodes": first_index, "services": first_index, "checks": first_index}
        self._service_index: dict[str, int] = {}
        self._extinction_index = 0
        consul = Service(id="consul", name="consul", port=8300)
        self.put(consul, [Check(id="serfHealth", name="Serf Health Status", status=PASSING, output="Agent alive and reachable")])

    def index_of(self, scope: Scope) -> int:
        """The number of the last change that mattered to `scope`; never 0."""
        if scope.kind == "node":
            return max(self._table_index["nodes"], self._table_index["services"])
        if scope.kind != "service":
            return self._table_index[scope.kind]
        return self._service_index.get(scope.name) or self._extinction_index or max(self._table_index.values())

    def put(self, service: Service | None, checks: Iterable[Check] = (), node: Node | None = None) -> None:
        """Add or replace a node, one instance on it and some checks, as one change; identical ones change nothing."""
        node = node or self.node
        number = self.changes.index + 1
        self._put_node(node, number)
        if service is not None:
            self._put_service(service, node.name, number)
        for check in checks:
            self._put_check(check, node.name, number)
        self._end_change(number)

    def remove_service(self, service_id: str, node: str | None = None) -> None:
        """Take an instance out, its checks with it; unknown ids change nothing."""
        number = self.changes.index + 1
        self._remove_service(self.place(service_id, node), number)
        self._end_change(number)

    def remove_check(self, check_id: str, node: str | None = None) -> None:
        """Take one check out; unknown ids change nothing."""
        number = self.changes.index + 1
        self._remove_check(self.place(check_id, node), number)
        self._end_change(number)

    def remove_node(self, node: str) -> None:
        """Take a node out with all that is on it; unknown names change nothing, and the own node stays.

        Consul lets an agent's node be taken out, but that agent puts it back at once.
        """
        name = node.lower()
        if name == self.node.name.lower() or name not in self.nodes:
            return
        number = self.changes.index + 1
        for place in [one for one in self.services if one[0] == name]:
            self._remove_service(place, number)
        for place in [one for one in self.checks if one[0] == name]:
            self._remove_check(place, number)
        del self.nodes[name]
        self._table_index["nodes"] = number
        self._end_change(number)

    def place(self, id: str, node: str | None = None) -> Place:  # noqa: A002 Consul's word
        """Where an instance or a check of this id is kept."""
        return (node or self.node.name).lower(), id

    def instances(self, name: str) -> list[Row[Service]]:
        """The instances of one service, by node and id."""
        return [row for _, row in sorted(self.services.items()) if row.record.name.lower() == name.lower()]

    def checks_of(self, instance: Row[Service]) -> list[Row[Check]]:
        """The checks that decide over one instance: the node's, then its own, each by id."""
        node = instance.node.lower()
        relevant = (row for place, row in self.checks.items() if place[0] == node and row.record.service_id in ("", instance.record.id))
        return sorted(relevant, key=lambda row: (row.record.service_id, row.record.id))

    def node_of(self, row: Row[Service] | Row[Check]) -> Row[Node]:
        """The node that an instance or a check is on."""
        return self.nodes[row.node.lower()]

    def _put_node(self, node: Node, number: int) -> None:
        old = self.nodes.get(node.name.lower())
        if old is not None and old.record == node:
            return
        self.nodes[node.name.lower()] = Row(node, node.name, old.create_index if old else number, number)
        self._table_index["nodes"] = number
        self._touch_services(self._names_on(node.name), number)

    def _put_service(self, service: Service, node: str, number: int) -> None:
        place = self.place(service.id, node)
        old = self.services.get(place)
        if old is not None and old.record == service:
            return
        self.services[place] = Row(service, node, old.create_index if old else number, number)
        if old is not None and old.record.name != service.name:
            self._lose_instance(old.record.name, number)
        self._table_index["services"] = self._service_index[service.name.lower()] = number

    def _put_check(self, check: Check, node: str, number: int) -> None:
        place = self.place(check.id, node)
        old = self.checks.get(place)
        if old is None:
            self.checks[place] = Row(check, node, number, number)
        elif old.record != check:
            self.checks[place] = Row(check, node, old.create_index, number)
            self._touch_check(old, number)  # it may have decided over another service
        else:
            return
        self._touch_check(self.checks[place], number)

    def _remove_service(self, place: Place, number: int) -> None:
        row = self.services.get(place)
        if row is None:
            return
        for check in [key for key, one in self.checks.items() if key[0] == place[0] and one.record.service_id == row.record.id]:
            self._remove_check(check, number)
        del self.services[place]
        self._lose_instance(row.record.name, number)

    def _remove_check(self, place: Place, number: int) -> None:
        row = self.checks.pop(place, None)
        if row is not None:
            self._touch_check(row, number)

    def _touch_check(self, row: Row[Check], number: int) -> None:
        self._table_index["checks"] = number
        # A check of the node decides over every instance on it.
        self._touch_services(self._names_of(row) if row.record.service_id else self._names_on(row.node), number)

    def _touch_services(self, names: Iterable[str], number: int) -> None:
        for name in self._service_index.keys() & set(names):
            self._service_index[name] = number

    def _names_on(self, node: str) -> set[str]:
        return {row.record.name.lower() for place, row in self.services.items() if place[0] == node.lower()}

    def _names_of(self, row: Row[Check]) -> set[str]:
        """The service that a check names, and the one that its instance belongs to since it was renamed."""
        instance = self.services.get(self.place(row.record.service_id, row.node))
        return {row.record.service_name.lower()} | ({instance.record.name.lower()} if instance is not None else set())

    def _lose_instance(self, name: str, number: int) -> None:
        self._table_index["services"] = number
        if self.instances(name):
            self._service_index[name.lower()] = number
        else:
            self._service_index.pop(name.lower(), None)
            self._extinction_index = number

    def _end_change(self, number: int) -> None:
        if max(self._extinction_index, *self._table_index.values()) == number:
            self.changes.end(number)

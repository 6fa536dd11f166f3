"""The index rules: what moves which index, and what does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.embedded import views
from discovery.embedded.catalog import Catalog, Scope, service_scope
from discovery.embedded.changes import Changes
from discovery.embedded.records import Check, Node, Service

OTHER = Node("", "other", "10.0.0.9")
A1, A2, B1 = Service("a1", "a"), Service("a2", "a"), Service("b1", "b")


def check_of(service: Service, status: str = "passing") -> Check:
    return Check(f"service:{service.id}", "c", status, service_id=service.id, service_name=service.name)


def catalog() -> Catalog:
    """a1 and b1 with a check each."""
    made = Catalog(Node("0", "n"), Changes(10))
    made.put(A1, [check_of(A1)])
    made.put(B1, [check_of(B1)])
    return made


SCOPES = {
    "nodes": Scope("nodes"),
    "node": Scope("node"),
    "services": Scope("services"),
    "checks": Scope("checks"),
    "a": service_scope("A"),
    "b": service_scope("b"),
}


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        (lambda one: one.put(A1, [check_of(A1)]), set()),
        (lambda one: one.put(A2), {"services", "node", "a"}),
        (lambda one: one.put(A2, [check_of(A2)]), {"services", "node", "checks", "a"}),
        (lambda one: one.put(Service("a1", "a", tags=("t",))), {"services", "node", "a"}),
        (lambda one: one.put(None, [check_of(A1, "critical")]), {"checks", "a"}),
        (lambda one: one.put(None, [Check("service:a1", "c", service_id="b1", service_name="b")]), {"checks", "a", "b"}),
        (lambda one: one.remove_check("service:a1"), {"checks", "a"}),
        (lambda one: one.put(None, [Check("node", "node")]), {"checks", "a", "b"}),
        (lambda one: one.remove_check("serfHealth"), {"checks", "a", "b"}),
        (lambda one: one.remove_service("a1"), {"services", "node", "checks", "a"}),
        (lambda one: one.put(Service("a1", "b")), {"services", "node", "a", "b"}),
        (lambda one: one.put(None, node=OTHER), {"nodes", "node"}),
        (lambda one: one.put(A1, node=OTHER), {"nodes", "services", "node", "a"}),
        (lambda one: one.put(None, [Check("check", "c")], OTHER), {"nodes", "node", "checks"}),
        (lambda one: one.put(None, node=Node("0", "N", "10.0.0.8")), {"nodes", "node", "a", "b"}),
        (lambda one: one.remove_service("a1", "other"), set()),
        (lambda one: one.remove_node("n"), set()),
        (lambda one: one.remove_service("nobody"), set()),
        (lambda one: one.remove_check("nobody"), set()),
    ],
)
def test_a_change_moves_exactly_the_scopes_that_it_concerns(change: Callable[[Catalog], None], moved: set[str]) -> None:
    """All of them to the same number, which is one higher than any before."""
    one = catalog()
    before = {name: one.index_of(scope) for name, scope in SCOPES.items()}
    number = one.changes.index
    change(one)

    assert {name for name, scope in SCOPES.items() if one.index_of(scope) != before[name]} == moved
    assert {one.index_of(SCOPES[name]) for name in moved} <= {number + 1}
    assert one.changes.index == number + bool(moved)


def test_rows_remember_when_they_came_and_when_they_changed() -> None:
    """A repetition leaves both as they are."""
    one = catalog()
    created = one.services["n", "a1"].create_index
    one.put(A1)
    one.put(Service("a1", "a", port=1))
    row = one.services["n", "a1"]
    assert (row.create_index, row.modify_index) == (created, one.changes.index)


def test_a_service_without_instances_waits_for_the_next_extinction() -> None:
    """Which may be another's: Consul remembers one such moment only, and the spurious wake-up is harmless."""
    one = catalog()
    one.remove_service("a1")
    gone = one.index_of(service_scope("a"))
    one.put(A2)
    one.remove_service("b1")
    assert one.index_of(service_scope("never-there")) == one.changes.index > gone


def test_a_node_goes_with_all_that_is_on_it() -> None:
    """In one change; the same ids on another node stay."""
    one = catalog()
    one.put(A1, [check_of(A1, "critical")], OTHER)
    assert [row.node for row in one.instances("A")] == ["n", "other"]
    number = one.changes.index
    one.remove_node("OTHER")
    assert ([row.node for row in one.instances("a")], set(one.nodes)) == (["n"], {"n"})
    assert {node for node, _ in one.checks} == {"n"}
    assert {one.index_of(SCOPES[name]) for name in ("nodes", "services", "checks", "a")} == {number + 1} == {one.changes.index}


def test_whoever_listens_is_told_of_changes_only() -> None:
    """Once per change."""
    one, told = catalog(), []
    one.changes.on_change = lambda: told.append(one.changes.index)
    one.put(A1)
    one.put(A2, [check_of(A2)])
    one.remove_service("a2")
    assert told == [one.changes.index - 1, one.changes.index]


def test_checks_that_decide_over_an_instance_are_the_nodes_and_its_own() -> None:
    """In this order; checks of other nodes, even for the same id, have no say."""
    one = catalog()
    one.put(A1, [check_of(A1), Check("node", "node")], OTHER)
    assert [row.record.id for row in one.checks_of(one.services["n", "a1"])] == ["serfHealth", "service:a1"]


SERVICES = st.builds(Service, st.sampled_from(["1", "2", "3"]), st.sampled_from(["a", "b"]), st.sampled_from([(), ("t",)]))
CHECKS = st.builds(
    Check,
    st.sampled_from(["x", "y"]),
    st.just("c"),
    st.sampled_from(["passing", "critical"]),
    service_id=st.sampled_from(["", "1", "2"]),
    service_name=st.sampled_from(["a", "b"]),
)
CHANGES = st.one_of(
    st.tuples(st.just("put"), SERVICES, st.lists(CHECKS, max_size=2)),
    st.tuples(st.just("check"), CHECKS),
    st.tuples(st.just("remove_service"), st.sampled_from(["1", "2", "3"])),
    st.tuples(st.just("remove_check"), st.sampled_from(["x", "y", "serfHealth"])),
)


def consistent(service: Service | None, checks: list[Check], one: Catalog) -> list[Check]:
    """Leave only checks that name an instance as the agent would: one that exists, by its present name."""
    names = {key: row.record.name for (_, key), row in one.services.items()} | ({service.id: service.name} if service else {})
    return [check for check in checks if not check.service_id or names.get(check.service_id) == check.service_name]


@given(st.lists(CHANGES, max_size=20))
def test_no_change_of_an_answer_goes_without_a_higher_index(changes: list[tuple]) -> None:
    """Whatever happens: a watcher never misses anything, and no index ever goes back."""
    one = Catalog(Node("0", "n"), Changes(1))
    scopes = [service_scope("a"), service_scope("b"), Scope("services"), Scope("checks")]

    def answers() -> list[object]:
        health = [[views.health_view(one, row) for row in one.instances(name)] for name in ("a", "b")]
        return [*health, views.names_view(row.record for row in one.services.values()), views.check_rows(one.checks.values())]

    for verb, *what in changes:
        before, indexes = answers(), [one.index_of(scope) for scope in scopes]
        if verb == "put":
            known = one.services.get(("n", what[0].id))
            checks = consistent(what[0], what[1], one) if known is None or known.record.name == what[0].name else []
            one.put(what[0], checks)
        elif verb == "check":
            one.put(None, consistent(None, what, one))
        else:
            getattr(one, verb)(*what)
        for old, new, index, scope in zip(before, answers(), indexes, scopes, strict=True):
            assert one.index_of(scope) > index if old != new else one.index_of(scope) >= index

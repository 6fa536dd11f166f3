"""What changed between two sets of instances."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from discovery.diff import Change, Diff, diff
from discovery.instance import Instance, InstanceKey


def instance(number: int, port: int = 80, weight: int = 1) -> Instance:
    return Instance(InstanceKey("consul", "dc1", "", "n1", f"i{number}"), "orders", "10.0.0.1", port, weight)


def test_the_same_instances_make_no_difference() -> None:
    """An empty difference is false, so that it is never passed on."""
    assert not diff([instance(1), instance(2)], [instance(2), instance(1)])


def test_comings_and_goings_are_told_by_key() -> None:
    """Order does not matter."""
    found = diff([instance(1), instance(2)], [instance(3), instance(2)])

    assert found == Diff(added=(instance(3),), removed=(instance(1),))


def test_a_change_names_its_fields() -> None:
    """Who only cares for weights need not look at the rest."""
    heavier = replace(instance(1), weight=5, tags=("x",))

    assert diff([instance(1)], [heavier]).changed == (Change(instance(1), heavier, frozenset({"weight", "tags"})),)


def test_a_moved_instance_leaves_and_comes() -> None:
    """Connections belong to the place, not to the name."""
    found = diff([instance(1, port=80)], [instance(1, port=81)])

    assert found == Diff(added=(instance(1, port=81),), removed=(instance(1, port=80),))


sets = st.dictionaries(st.integers(0, 8), st.tuples(st.integers(80, 82), st.integers(1, 3))).map(
    lambda table: [instance(n, port, weight) for n, (port, weight) in table.items()]
)


@given(sets, sets)
def test_applying_a_difference_gives_the_new_set(old: list[Instance], new: list[Instance]) -> None:
    """Nothing is lost, and nothing is invented."""
    found = diff(old, new)
    state = {i.key: i for i in old}
    for gone in found.removed:
        assert state.pop(gone.key) == gone
    for come in found.added:
        assert come.key not in state
        state[come.key] = come
    for change in found.changed:
        assert state[change.old.key] == change.old
        assert change.fields
        state[change.new.key] = change.new

    assert state == {i.key: i for i in new}

"""The key-value store: conditions, and what moves which index."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.embedded import key_values
from discovery.embedded.catalog import Scope
from discovery.embedded.changes import Changes
from discovery.embedded.key_values import KeyValues

SCOPES = {name: Scope(*what) for name, what in {
    "a/1": ("key", "a/1"), "missing": ("key", "missing"), "a": ("tree", "a/"), "b": ("tree", "b/"), "all": ("tree", "")
}.items()}  # fmt: skip


def store() -> KeyValues:
    """a/1, a/2 and b/1, set in this order: 11, 12, 13."""
    made = KeyValues(Changes(10))
    for key in ("a/1", "a/2", "b/1"):
        made.put(key, b"old")
    return made


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        (lambda one: one.put("a/1", b"old"), set()),
        (lambda one: one.put("a/1", b"new"), {"a/1", "a", "all", "missing"}),
        (lambda one: one.put("a/1", b"old", 7), {"a/1", "a", "all", "missing"}),
        (lambda one: one.put("b/2", b""), {"b", "all", "missing"}),
        (lambda one: one.put("missing", b""), {"all", "missing"}),
        (lambda one: one.delete("a/2"), {"a", "all", "missing"}),
        (lambda one: one.delete("a/1"), {"a/1", "a", "all", "missing"}),
        (lambda one: one.delete("nobody"), set()),
        (lambda one: one.delete_below("b"), {"b", "all", "missing"}),
        (lambda one: one.delete_below("c"), set()),
        (lambda one: one.delete_below(""), {"a/1", "a", "b", "all", "missing"}),
    ],
)
def test_a_change_moves_exactly_the_scopes_that_it_concerns(change: Callable[[KeyValues], object], moved: set[str]) -> None:
    """All of them to the same number; a missing key cannot tell its own changes from others'."""
    one = store()
    before = {name: one.index_of(scope) for name, scope in SCOPES.items()}
    change(one)
    assert {name for name, scope in SCOPES.items() if one.index_of(scope) != before[name]} == moved
    assert {one.index_of(SCOPES[name]) for name in moved} <= {14}


@pytest.mark.parametrize(
    ("verb", "key", "cas", "done"),
    [
        ("put", "a/1", 11, True),
        ("put", "a/1", 0, False),
        ("put", "a/1", 12, False),
        ("put", "missing", 0, True),
        ("put", "missing", 1, False),
        ("delete", "a/1", 11, True),
        ("delete", "a/1", 0, False),
        ("delete", "missing", 5, True),
    ],
)
def test_a_condition_holds_for_the_last_change_only(verb: str, key: str, cas: int, done: bool) -> None:
    """0 stands for a key that is not there; a key that is gone needs no deleting."""
    one = store()
    before = dict(one.entries)
    arguments = (b"new",) if verb == "put" else ()
    assert getattr(one, verb)(key, *arguments, cas=cas) is done
    assert (one.entries == before) is (not done or (verb, key) == ("delete", "missing"))


CHANGES = st.tuples(st.sampled_from(["put", "delete", "delete_below"]), st.sampled_from(["a", "a/1", "a/2", "b/1"]), st.binary(max_size=1))


@given(st.lists(CHANGES, max_size=20), st.integers(0, 3))
def test_no_change_of_an_answer_goes_without_a_higher_index(changes: list[tuple[str, str, bytes]], remembered: int) -> None:
    """However few deleted keys are remembered: a watcher never misses anything, and no index ever goes back."""
    one = store()
    scopes = [Scope("key", "a"), Scope("key", "a/1"), Scope("tree", "a"), Scope("tree", "a/1"), Scope("tree", "b"), Scope("tree")]

    def answers() -> list[object]:
        return [one.entries.get(scope.name) if scope.kind == "key" else one.below(scope.name) for scope in scopes]

    limit, key_values.MAX_TOMBSTONES = key_values.MAX_TOMBSTONES, remembered
    try:
        for verb, key, value in changes:
            before, indexes = answers(), [one.index_of(scope) for scope in scopes]
            getattr(one, verb)(key, *([value] if verb == "put" else []))
            for old, new, index, scope in zip(before, answers(), indexes, scopes, strict=True):
                assert one.index_of(scope) > index if old != new else one.index_of(scope) >= index
    finally:
        key_values.MAX_TOMBSTONES = limit

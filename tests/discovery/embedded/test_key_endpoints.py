"""Folders of keys; the rest of ``/v1/kv`` is asked by the contract suite."""

from __future__ import annotations

import pytest

from discovery.embedded.catalog import Scope
from discovery.embedded.changes import Changes
from discovery.embedded.endpoints import Call
from discovery.embedded.key_endpoints import Keys, names_until
from discovery.embedded.key_values import KeyValues
from discovery.embedded.records import Refusal


@pytest.mark.parametrize(
    ("prefix", "separator", "names"),
    [
        ("", "", ["a", "a/1", "a/b/2", "a/b/3"]),
        ("", "/", ["a", "a/"]),
        ("a/", "/", ["a/1", "a/b/"]),
        ("a/b", "/", ["a/b/"]),
        ("", "b", ["a", "a/1", "a/b"]),
    ],
)
def test_names_are_cut_behind_the_separator(prefix: str, separator: str, names: list[str]) -> None:
    """Each once, in their order."""
    keys = [key for key in ("a", "a/1", "a/b/2", "a/b/3") if key.startswith(prefix)]
    assert names_until(keys, prefix, separator) == names


@pytest.mark.parametrize(
    ("query", "scope"),
    [((), Scope("key", "a")), ((("recurse", ""),), Scope("tree", "a")), ((("keys", ""), ("recurse", "")), Scope("tree", "a"))],
)
def test_a_read_waits_for_what_it_shows(query: tuple[tuple[str, str], ...], scope: Scope) -> None:
    """A key, or everything below a prefix."""
    assert Keys(KeyValues(Changes(1))).read(Call("a", query)).scope == scope


def test_sessions_are_refused_as_there_are_none() -> None:
    """To ignore a lock would give it to everybody."""
    keys = Keys(KeyValues(Changes(1)))
    for lock in ("acquire", "release"):
        with pytest.raises(Refusal, match="no sessions"):
            keys.put(Call("a", ((lock, "x"),)))

"""The counter that the catalogue and the key-value store share."""

from __future__ import annotations

from discovery.embedded.catalog import Catalog
from discovery.embedded.changes import Changes
from discovery.embedded.key_values import KeyValues
from discovery.embedded.records import Node, Service


def test_any_two_changes_have_an_order_and_each_is_told() -> None:
    """Wherever they happen; with nobody listening it is counted all the same."""
    changes, told = Changes(10), []
    catalog, keys = Catalog(Node("0", "n"), changes), KeyValues(changes)
    first = changes.index
    changes.on_change = lambda: told.append(changes.index)
    catalog.put(Service("a", "a"))
    keys.put("k", b"v")
    catalog.remove_service("a")
    assert told == [first + 1, first + 2, first + 3]

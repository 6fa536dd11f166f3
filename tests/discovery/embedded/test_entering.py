"""Entries of the catalogue are taken over whole or not at all."""

from __future__ import annotations

import pytest

from discovery.embedded import entering
from discovery.embedded.catalog import Catalog
from discovery.embedded.changes import Changes
from discovery.embedded.entering import enter
from discovery.embedded.records import CatalogEntry, Check, Node, Refusal, Service

OTHER = Node("", "other", "10.0.0.9")


@pytest.fixture
def catalog() -> Catalog:
    return Catalog(Node("0", "n"), Changes(10))


def test_a_check_learns_what_it_is_about(catalog: Catalog) -> None:
    """From the same entry, or from the one that came before."""
    web = Service("w", "web", ("t",))
    enter(catalog, CatalogEntry(OTHER, web, (Check("one", "c", service_id="w"),)))
    enter(catalog, CatalogEntry(OTHER, None, (Check("two", "c", service_id="w"), Check("three", "c"))))
    told = {id_: (row.record.service_name, row.record.service_tags) for (node, id_), row in catalog.checks.items() if node == "other"}
    assert told == {"one": ("web", ("t",)), "two": ("web", ("t",)), "three": ("", ())}


def test_a_refused_entry_changes_nothing(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check of nobody, an update of an unknown node, one service too many."""
    monkeypatch.setattr(entering, "MAX_SERVICES", 0)
    before = catalog.changes.index
    for entry, text in [
        (CatalogEntry(OTHER, None, (Check("c", "c", service_id="nobody"),)), "Missing service registration"),
        (CatalogEntry(OTHER, skip_node_update=True), "Missing node registration"),
        (CatalogEntry(OTHER, Service("w", "web")), "holds 0 services at most"),
    ]:
        with pytest.raises(Refusal, match=text):
            enter(catalog, entry)
    assert (catalog.changes.index, set(catalog.nodes)) == (before, {"n"})

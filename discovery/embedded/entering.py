"""What ``catalog/register`` does: a node, an instance and checks that are somebody else's business. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from discovery.embedded.agent import MAX_SERVICES
from discovery.embedded.records import Refusal

if TYPE_CHECKING:
    from discovery.embedded.catalog import Catalog
    from discovery.embedded.records import CatalogEntry, Check


def enter(catalog: Catalog, entry: CatalogEntry) -> None:
    """Add or replace what the entry names, as one change.

    Raises:
        Refusal: 500, too many instances, or a check of an instance, or a node, that is not there; nothing was changed.

    """
    known = catalog.nodes.get(entry.node.name.lower())
    if entry.skip_node_update and known is None:
        raise Refusal(500, "failed inserting service: Missing node registration")
    if entry.service is not None and len(catalog.services) > MAX_SERVICES:
        raise Refusal(500, f"The development registry holds {MAX_SERVICES} services at most")
    node = known.record if known is not None and entry.skip_node_update else entry.node
    catalog.put(entry.service, [_completed(catalog, check, entry) for check in entry.checks], node)


def _completed(catalog: Catalog, check: Check, entry: CatalogEntry) -> Check:
    """Name and tags of the instance that a check is about, which has to be there."""
    if not check.service_id:
        return check
    service = entry.service
    if service is None or service.id != check.service_id:
        known = catalog.services.get(catalog.place(check.service_id, entry.node.name))
        if known is None:
            raise Refusal(500, f'failed inserting check: Missing service registration on node "{entry.node.name}"')
        service = known.record
    return replace(check, service_name=service.name, service_tags=service.tags)

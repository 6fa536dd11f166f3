"""The JSON of every answer, key by key as Consul writes it (where it writes ``null``, too). Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

from discovery.embedded.records import CRITICAL, PASSING, WARNING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from discovery.embedded.agent import LocalAgent
    from discovery.embedded.catalog import Catalog, Row
    from discovery.embedded.key_values import Entry
    from discovery.embedded.records import Check, Node, Service

VERSION = "1.8.7"
"""The Consul whose behaviour is copied."""

_PROXY: dict[str, Any] = {"MeshGateway": {}, "Expose": {}}


def to_json(value: Any, *, pretty: bool = False) -> bytes:
    """Encode; for people if `pretty`."""
    if pretty:
        return json.dumps(value, indent=4).encode() + b"\n"
    return json.dumps(value, separators=(",", ":")).encode()


def node_view(row: Row[Node]) -> dict[str, Any]:
    """A node, as in ``catalog/nodes`` and in each entry of ``health/service``."""
    node = row.record
    return {
        "ID": node.id,
        "Node": node.name,
        "Address": node.address,
        "Datacenter": node.datacenter,
        "TaggedAddresses": dict(node.tagged_addresses) or None,
        "Meta": dict(node.meta) or None,
        "CreateIndex": row.create_index,
        "ModifyIndex": row.modify_index,
    }


def check_view(node: str, check: Check, create_index: int = 0, modify_index: int = 0) -> dict[str, Any]:
    """A check; the agent shows its own ones with indexes of 0."""
    return {
        "Node": node,
        "CheckID": check.id,
        "Name": check.name,
        "Status": check.status,
        "Notes": check.notes,
        "Output": check.output,
        "ServiceID": check.service_id,
        "ServiceName": check.service_name,
        "ServiceTags": list(check.service_tags),
        "Type": check.type,
        "Definition": {},
        "CreateIndex": create_index,
        "ModifyIndex": modify_index,
    }


def check_rows(rows: Iterable[Row[Check]]) -> list[dict[str, Any]]:
    """Checks as the catalogue has them."""
    return [check_view(row.node, row.record, row.create_index, row.modify_index) for row in rows]


def health_view(catalog: Catalog, row: Row[Service]) -> dict[str, Any]:
    """One entry of ``health/service``: node, service, and all checks that decide over it."""
    return {
        "Node": node_view(catalog.node_of(row)),
        "Service": catalog_service_view(row),
        "Checks": check_rows(catalog.checks_of(row)),
    }


def catalog_service_view(row: Row[Service]) -> dict[str, Any]:
    """A service as the catalogue shows it: no meta is ``null`` here, and an empty object with the agent."""
    return service_view(row.record) | {
        "Meta": dict(row.record.meta) or None,
        "Proxy": _PROXY,
        "Connect": {},
        "CreateIndex": row.create_index,
        "ModifyIndex": row.modify_index,
    }


def catalog_view(catalog: Catalog, row: Row[Service]) -> dict[str, Any]:
    """One entry of ``catalog/service``: the node and, flattened, the service."""
    node = catalog.node_of(row).record
    service = service_view(row.record)
    return {
        "ID": node.id,
        "Node": node.name,
        "Address": node.address,
        "Datacenter": node.datacenter,
        "TaggedAddresses": dict(node.tagged_addresses) or None,
        "NodeMeta": dict(node.meta) or None,
        "ServiceKind": "",
        "ServiceID": row.record.id,
        "ServiceName": row.record.name,
        **{f"Service{key}": value for key, value in service.items() if key not in ("ID", "Service")},
        "ServiceProxy": _PROXY,
        "ServiceConnect": {},
        "CreateIndex": row.create_index,
        "ModifyIndex": row.modify_index,
    }


def service_view(service: Service) -> dict[str, Any]:
    """A service as the agent shows it. ``TaggedAddresses`` is left out where there are none."""
    addresses = {name: {"Address": address, "Port": port} for name, (address, port) in service.tagged_addresses.items()}
    return {
        "ID": service.id,
        "Service": service.name,
        "Tags": list(service.tags),
        "Meta": dict(service.meta),
        "Port": service.port,
        "Address": service.address,
        **({"TaggedAddresses": addresses} if addresses else {}),
        "Weights": {"Passing": service.weight_passing, "Warning": service.weight_warning},
        "EnableTagOverride": service.enable_tag_override,
    }


def service_with_hash(service: Service) -> dict[str, Any]:
    """``agent/service/:id``: the service with a fingerprint of its content."""
    view = service_view(service)
    digest = hashlib.blake2b(json.dumps(view, sort_keys=True).encode(), digest_size=8).hexdigest()
    return view | {"ContentHash": digest}


def names_view(services: Iterable[Service]) -> dict[str, list[str]]:
    """``catalog/services``: each name with the tags that any of its instances has."""
    names: dict[str, dict[str, None]] = {}
    for service in services:
        names.setdefault(service.name, {}).update(dict.fromkeys(service.tags))
    return {name: list(tags) for name, tags in sorted(names.items())}


def worst_status(statuses: Collection[str]) -> str:
    """Return the worst of them; nothing at all is passing."""
    return next((status for status in ("maintenance", CRITICAL, WARNING) if status in statuses), PASSING)


def agent_health_view(agent: LocalAgent, service: Service) -> dict[str, Any]:
    """``agent/health/service/…``: what the agent itself thinks of an instance."""
    checks = [one.check for one in agent.checks.values() if one.check.service_id in ("", service.id)]
    return {
        "AggregatedStatus": worst_status(["maintenance" if check.type == "maintenance" else check.status for check in checks]),
        "Service": service_view(service),
        "Checks": [check_view(agent.catalog.node.name, check) for check in checks],
    }


def node_services_view(catalog: Catalog, name: str) -> dict[str, Any] | None:
    """``catalog/node/:name``: the node and its services by id; nothing for a node that is not there."""
    node = catalog.nodes.get(name.lower())
    if node is None:
        return None
    services = {place[1]: catalog_service_view(row) for place, row in sorted(catalog.services.items()) if place[0] == name.lower()}
    return {"Node": node_view(node), "Services": services}


def entry_view(entry: Entry) -> dict[str, Any]:
    """A key with its value, which is ``null`` where it is empty."""
    return {
        "LockIndex": 0,
        "Key": entry.key,
        "Flags": entry.flags,
        "Value": base64.b64encode(entry.value).decode() or None,
        "CreateIndex": entry.create_index,
        "ModifyIndex": entry.modify_index,
    }


def member_view(node: Node) -> dict[str, Any]:
    """The one member of the cluster."""
    return {
        "Name": node.name,
        "Addr": node.address,
        "Port": 8301,
        "Tags": {"build": f"{VERSION}:", "dc": node.datacenter, "id": node.id, "port": "8300", "role": "consul", "vsn": "2"},
        "Status": 1,
        "ProtocolMin": 1,
        "ProtocolMax": 5,
        "ProtocolCur": 2,
        "DelegateMin": 2,
        "DelegateMax": 5,
        "DelegateCur": 4,
    }


def self_view(agent: LocalAgent) -> dict[str, Any]:
    """``agent/self``, without the hundreds of settings that there are none of here."""
    node = agent.catalog.node
    return {
        "Config": {
            "Datacenter": node.datacenter,
            "NodeName": node.name,
            "NodeID": node.id,
            "Revision": "embedded",
            "Server": True,
            "Version": VERSION,
        },
        "DebugConfig": {"Datacenter": node.datacenter, "DevMode": True, "NodeName": node.name, "Version": VERSION},
        "Member": member_view(node),
        "Stats": {"agent": {"checks": str(len(agent.checks)), "services": str(len(agent.services))}},
        "Meta": dict(node.meta),
    }

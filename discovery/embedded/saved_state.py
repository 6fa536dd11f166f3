"""What a registry needs to be the same after a restart: the calls that would make it so, as JSON. Pure.

Services, checks and foreign nodes are the bodies of their registrations, so that the rules of the API
hold for the file, too. As with Consul's agent, a time-to-live check that was heard of keeps its status,
and every other check begins anew, critical until its first result.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from discovery.embedded.agent import NODE_MAINTENANCE, SERVICE_MAINTENANCE
from discovery.embedded.catalog_bodies import parse_entry
from discovery.embedded.definitions import parse_check, parse_service
from discovery.embedded.entering import enter
from discovery.embedded.records import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from discovery.embedded.agent import LocalAgent, LocalCheck
    from discovery.embedded.catalog import Catalog
    from discovery.embedded.key_values import KeyValues
    from discovery.embedded.records import Check, CheckDefinition, Node, Service

FORMAT = "lbgateway embedded registry 1"


class Unusable(Exception):
    """A file that is not one of ours, or no longer one; the message tells why."""


def save(agent: LocalAgent, keys: KeyValues) -> bytes:
    """Everything but the indexes of single records; whoever restores gives new ones, in the same order."""
    catalog = agent.catalog
    own = [one for one in agent.checks.values() if one.definition is not None]
    state = {
        "Format": FORMAT,
        "Index": catalog.changes.index,
        "Services": [_service(one) for one in sorted(agent.services.values(), key=lambda one: _age(catalog, one))],
        "Checks": [_check(one.definition) for one in own if one.definition is not None],
        "Heartbeats": {one.check.id: {"Status": one.check.status, "Output": one.check.output} for one in own if one.heard},
        "Maintenance": {one.check.service_id: one.check.notes for one in agent.checks.values() if _is_maintenance(one)},
        "Catalog": [body for node in catalog.nodes.values() if node.record != catalog.node for body in _foreign(catalog, node.record)],
        "Keys": [
            {"Key": one.key, "Flags": one.flags, "Value": base64.b64encode(one.value).decode()}
            for one in sorted(keys.entries.values(), key=lambda one: one.create_index)
        ],
    }
    return json.dumps(state, indent=1).encode() + b"\n"


def last_index(content: bytes) -> int:
    """The highest number that was given out before.

    Raises:
        Unusable: the file is none of ours.

    """
    return int(_read(content)["Index"])


def restore(content: bytes, agent: LocalAgent, keys: KeyValues, now_s: float) -> None:
    """Put it all into an empty registry.

    Raises:
        Unusable: something in it cannot be; the registry may be half full then.

    """
    state = _read(content)
    try:
        for body in state["Services"]:
            agent.register(parse_service(json.dumps(body).encode()), now_s)
        for body in state["Checks"]:
            agent.register_check(parse_check(json.dumps(body).encode()), now_s)
        for check_id, told in state["Heartbeats"].items():
            agent.heartbeat(check_id, told["Status"], told["Output"], now_s)
        for service_id, reason in state["Maintenance"].items():
            agent.set_maintenance(service_id, reason, now_s, enable=True)
        for body in state["Catalog"]:
            enter(agent.catalog, parse_entry(json.dumps(body).encode(), agent.catalog.node.datacenter))
        for one in state["Keys"]:
            keys.put(one["Key"], base64.b64decode(one["Value"]), one["Flags"])
    except (Refusal, KeyError, TypeError, AttributeError, ValueError) as error:
        raise Unusable(f"something in it makes no sense: {error}") from error


def _read(content: bytes) -> dict[str, Any]:
    try:
        state = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"not JSON: {error}") from error
    if not isinstance(state, dict) or state.get("Format") != FORMAT or not isinstance(state.get("Index"), int):
        raise Unusable(f"it is no file of the format `{FORMAT}`")
    return state


def _age(catalog: Catalog, service: Service) -> int:
    return catalog.services[catalog.place(service.id)].create_index


def _is_maintenance(one: LocalCheck) -> bool:
    return one.check.id == NODE_MAINTENANCE or one.check.id.startswith(SERVICE_MAINTENANCE)


def _service(one: Service) -> dict[str, Any]:
    return {"Name": one.name} | _common(one)


def _common(one: Service) -> dict[str, Any]:
    """What a service is called by in the body of the agent's registration and of the catalogue's alike."""
    return {
        "ID": one.id,
        "Tags": list(one.tags),
        "Address": one.address,
        "Port": one.port,
        "TaggedAddresses": {name: {"Address": address, "Port": port} for name, (address, port) in one.tagged_addresses.items()},
        "Meta": dict(one.meta),
        "Weights": {"Passing": one.weight_passing, "Warning": one.weight_warning},
        "EnableTagOverride": one.enable_tag_override,
    }


def _check(one: CheckDefinition) -> dict[str, Any]:
    body: dict[str, Any] = {"ID": one.id, "Name": one.name, "Notes": one.notes, "ServiceID": one.service_id}
    if one.deregister_after_s:
        body["DeregisterCriticalServiceAfter"] = _nanoseconds(one.deregister_after_s)
    if one.kind == "ttl":
        return body | {"TTL": _nanoseconds(one.ttl_s)}
    return body | {
        "HTTP": one.http,
        "Method": one.method,
        "Header": {name: list(values) for name, values in one.header.items()},
        "Body": one.body,
        "TCP": one.tcp,
        "TLSSkipVerify": one.tls_skip_verify,
        "Interval": _nanoseconds(one.interval_s),
        "Timeout": _nanoseconds(one.timeout_s),
        "SuccessBeforePassing": one.success_before_passing,
        "FailuresBeforeCritical": one.failures_before_critical,
    }


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def _foreign(catalog: Catalog, node: Node) -> Iterator[dict[str, Any]]:
    """A node and its own checks, then each service on it with its checks."""
    body: dict[str, Any] = {"ID": node.id, "Node": node.name, "Address": node.address}
    body |= {"TaggedAddresses": dict(node.tagged_addresses), "NodeMeta": dict(node.meta)}
    checks = [row.record for place, row in catalog.checks.items() if place[0] == node.name.lower()]
    yield body | {"Checks": [_result(one) for one in checks if not one.service_id]}
    for place, row in catalog.services.items():
        if place[0] == node.name.lower():
            own = [_result(one) for one in checks if one.service_id == row.record.id]
            yield body | {"Service": {"Service": row.record.name} | _common(row.record), "Checks": own}


def _result(one: Check) -> dict[str, Any]:
    told = {"CheckID": one.id, "Name": one.name, "Status": one.status, "Notes": one.notes, "Output": one.output}
    return told | {"ServiceID": one.service_id, "Type": one.type}

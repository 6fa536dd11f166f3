"""What Consul's answers contain: JSON bodies to instances and catalogs. Pure.

Two rules. An entry that makes no sense is skipped and counted, the others live: one broken
registration must not empty a service. A body that makes no sense raises, so that the last good one stays.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Final

from discovery.errors import MalformedAnswer
from discovery.instance import Instance, InstanceKey, InstanceState

PROVIDER: Final = "consul"
MAX_REASON: Final = 512
PROBED: Final = ("http", "tcp", "grpc", "script", "docker")
"""Types of checks that the agent carries out itself; Consul before 1.7 tells no types."""


@dataclass(frozen=True, slots=True)
class Health:
    """A decoded answer: instances sorted by key, entries left out, nodes whose own check is critical.

    ``unprobed``: instances that are critical only because no probe of them has ended yet.
    """

    instances: tuple[Instance, ...]
    skipped: int = 0
    nodes_down: frozenset[str] = frozenset()
    unprobed: frozenset[InstanceKey] = frozenset()


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read health entries of one service."""

    service: str
    datacenter: str = ""
    tags: frozenset[str] = frozenset()
    """Only instances that have all of these, regardless of case."""
    passing_only: bool = True
    """False lets instances with critical checks take traffic, as if they were only warning."""


def decode_health(body: bytes, reading: Reading) -> Health:
    """Body of ``/v1/health/service/…`` (all states) to instances.

    Raises:
        MalformedAnswer: not a JSON list at all.

    """
    entries = _json(body)
    if not isinstance(entries, list):
        raise MalformedAnswer(f"a list of instances was expected, not {type(entries).__name__}")
    found: dict[InstanceKey, Instance] = {}
    skipped, down, unprobed = 0, set(), set()
    wanted = {tag.lower() for tag in reading.tags}
    for entry in entries:
        instance = _instance(entry, reading)
        if instance is None:
            skipped += 1
            continue
        if _node_is_down(entry):
            down.add(instance.key.node)
        if _unprobed(entry):
            unprobed.add(instance.key)
        if wanted <= {tag.lower() for tag in instance.tags}:
            found[instance.key] = instance
    return Health(tuple(sorted(found.values(), key=lambda i: i.key)), skipped, frozenset(down), frozenset(unprobed))


def decode_catalog(body: bytes) -> dict[str, frozenset[str]]:
    """Body of ``/v1/catalog/services`` to names (lower case, as Consul compares them) with all their tags.

    Raises:
        MalformedAnswer: not a JSON object.

    """
    catalog = _json(body)
    if not isinstance(catalog, dict):
        raise MalformedAnswer(f"an object of service names was expected, not {type(catalog).__name__}")
    services: dict[str, frozenset[str]] = {}
    for name, tags in catalog.items():
        key = _text(name).lower()
        services[key] = services.get(key, frozenset()) | frozenset(_texts(tags))
    return services


def decode_key(body: bytes) -> bytes | None:
    """Body of ``/v1/kv/…`` of one key to its value; None if the list is empty.

    Raises:
        MalformedAnswer: no list, or its value is no base64.

    """
    entries = _json(body)
    if not isinstance(entries, list):
        raise MalformedAnswer(f"a list with one key was expected, not {type(entries).__name__}")
    if not entries:
        return None
    value = _map(entries[0]).get("Value")
    try:
        return b"" if value is None else base64.b64decode(_text(value), validate=True)
    except binascii.Error as error:
        raise MalformedAnswer(f"a value that is no base64: {error}") from error


def decode_list(body: bytes) -> list[Any]:
    """Any list, unread.

    Raises:
        MalformedAnswer: not a JSON list.

    """
    entries = _json(body)
    if not isinstance(entries, list):
        raise MalformedAnswer(f"a list was expected, not {type(entries).__name__}")
    return entries


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedAnswer(f"not JSON: {error}") from error


def _instance(entry: Any, reading: Reading) -> Instance | None:
    """One entry, None if it lacks what nothing can replace: a node, an id, a place to connect to."""
    node, service = _map(_map(entry).get("Node")), _map(_map(entry).get("Service"))
    name, id_ = _text(node.get("Node")), _text(service.get("ID"))
    address, port = _place(service.get("Address")) or _place(node.get("Address")), _whole(service.get("Port"))
    if not (name and id_ and address and 0 < port < 65536):
        return None
    meta = _text_map(service.get("Meta"))
    state, reason, status = _state(_checks(entry), reading)
    weights = _map(service.get("Weights"))
    return Instance(
        key=InstanceKey(PROVIDER, _text(node.get("Datacenter")) or reading.datacenter, _text(service.get("Namespace")), name, id_),
        service=reading.service,
        address=address,
        port=port,
        weight=_whole(weights.get("Warning" if state is InstanceState.WARNING else "Passing"), default=1),
        state=state,
        reason=reason,
        consul_status=status,
        tags=tuple(_texts(service.get("Tags"))),
        meta=meta,
        zone=meta.get("zone") or _text_map(node.get("Meta")).get("zone") or None,
        create_index=_whole(service.get("CreateIndex")),
        modify_index=_whole(service.get("ModifyIndex")),
    )


def _state(checks: list[dict[str, Any]], reading: Reading) -> tuple[InstanceState, str | None, str]:
    """The worst of all checks, serfHealth included; maintenance above all. Without any check: passing."""
    for check in checks:
        check_id = _text(check.get("CheckID"))
        if check_id == "_node_maintenance" or check_id.startswith("_service_maintenance:"):
            return InstanceState.MAINTENANCE, _text(check.get("Notes")) or "maintenance", "maintenance"
    for status in ("critical", "warning"):
        bad = next((check for check in checks if _status(check) == status), None)
        if bad is not None:
            lenient = status == "critical" and not reading.passing_only
            return InstanceState.WARNING if lenient else InstanceState(status), _explain(bad), status
    return InstanceState.PASSING, None, "passing"


def _status(check: dict[str, Any]) -> str:
    """An unknown word is no permission to send traffic."""
    status = _text(check.get("Status")).lower()
    return status if status in ("passing", "warning") else "critical"


def _explain(check: dict[str, Any]) -> str:
    name = _text(check.get("Name")) or _text(check.get("CheckID")) or "check"
    output = _text(check.get("Output")).strip() or _text(check.get("Notes")).strip()
    return (f"{name}: {output}" if output else name)[:MAX_REASON]


def _node_is_down(entry: Any) -> bool:
    return any(check.get("CheckID") == "serfHealth" and _status(check) == "critical" for check in _checks(entry))


def _unprobed(entry: Any) -> bool:
    """Whether every critical check is one that the agent carries out, and has no result yet: each probe leaves a text."""
    bad = [check for check in _checks(entry) if _status(check) == "critical"]
    return bool(bad) and all(check.get("Type") in PROBED and not _text(check.get("Output")) for check in bad)


def _checks(entry: Any) -> list[dict[str, Any]]:
    checks = _map(entry).get("Checks")
    return [check for check in checks if isinstance(check, dict)] if isinstance(checks, list) else []


def _place(value: Any) -> str:
    """An address to connect to; one with blanks or control characters is none."""
    text = _text(value).strip()
    return text if text.isprintable() and " " not in text else ""


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    """A string that can be written out again: JSON may escape halves of characters."""
    if not isinstance(value, str):
        return ""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _texts(value: Any) -> list[str]:
    return [_text(item) for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _text_map(value: Any) -> dict[str, str]:
    return {_text(key): _text(item) for key, item in _map(value).items() if isinstance(item, str)}


def _whole(value: Any, default: int = 0) -> int:
    """A number >= 0; JSON's true is none, though Python thinks so."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else default

"""What an operator may do to one instance: the request's body to a command. Pure."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lbgateway.config.units import parse_duration
from lbgateway.controlplane.port import Command
from lbgateway.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_WEIGHT = 65535
KEYS = {"weight": "weight", "eject": "for"}
"""Verb -> the only key that its body may have."""
NOTHING: Mapping[str, str] = MappingProxyType({})


def parse_command(verb: str, body: bytes, content_type: str, by: str, query: Mapping[str, str] = NOTHING) -> Command:
    """The command in a request, from its `body` or, without one, its `query`; raises `BadRequest` that says what it should have been."""
    given = _parse(body, content_type) if body.strip() else _asked(verb, query)
    unknown = sorted(given.keys() - {KEYS.get(verb)})
    if unknown:
        takes = f"only `{KEYS[verb]}`" if verb in KEYS else "no body"
        raise BadRequest(f"{unknown[0]}: unknown; {verb} takes {takes}")
    if verb == "weight":
        return Command(verb, by, weight=_weight(given))
    return Command(verb, by, for_s=_for(given["for"]) if given.get("for") is not None else None)


def _asked(verb: str, query: Mapping[str, str]) -> dict[str, Any]:
    """What `query` says of the verb's key: ``?weight=5``, ``?for=30s``."""
    key = KEYS.get(verb, "")
    text = query.get(key)
    if text is None:
        return {}
    return {key: int(text) if key == "weight" and text.isascii() and text.isdigit() and len(text) <= len(str(MOST_WEIGHT)) else text}


def _parse(body: bytes, content_type: str) -> dict[str, Any]:
    # A form of another site could send any other type without asking first.
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise BadRequest("Send the body as application/json.")
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON.") from None
    if not isinstance(given, dict):
        raise BadRequest('The body is not an object, such as {"weight": 5}.')
    return given


def _weight(given: Mapping[str, Any]) -> int | None:
    weight = given.get("weight", False)
    if weight is not None and (isinstance(weight, bool) or not isinstance(weight, int) or not 0 <= weight <= MOST_WEIGHT):
        raise BadRequest(f"weight: a whole number from 0 to {MOST_WEIGHT}, or null to have the registry's again")
    return weight


def _for(text: object) -> float:
    try:
        seconds = parse_duration(text) if isinstance(text, str) else 0.0
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise BadRequest('for: a time above 0, such as "30s" or "5m"; without it, until uneject')
    return seconds

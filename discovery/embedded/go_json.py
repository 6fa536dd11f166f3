"""Reads request bodies the way Consul's decoder does, down to the wording of what it refuses.

Clients depend on it: keys in any case, snake_case beside CamelCase, durations as text or nanoseconds,
``null`` for "not given", anything after the first value ignored; yet an unknown key is an error.
Measured on Consul 1.8.7.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)([a-zµμ]*)", re.ASCII)
_ZERO: dict[str, Any] = {
    "string": "",
    "int": 0,
    "bool": False,
    "duration": 0.0,
    "[]string": (),
    "map[string]string": {},
    "map[string][]string": {},
    "object": None,
    "[]object": (),
    "map[string]object": {},
    "ignored": None,
}


class DecodeError(ValueError):
    """The body is not what the endpoint takes; the text is Consul's."""


@dataclass(frozen=True, slots=True)
class Field:
    """One key: the name it is known by here, its type in Go's words, and the fields of the objects in it."""

    name: str
    type: str = "string"
    fields: Mapping[str, Field] = field(default_factory=dict)


def keys(*fields: Field, **aliases: str) -> dict[str, Field]:
    """Index `fields` by lower-case name; ``alias="Name"`` adds further spellings."""
    known = {one.name.lower(): one for one in fields}
    return known | {alias: known[name.lower()] for alias, name in aliases.items()}


def decode(body: bytes, fields: Mapping[str, Field], name: str = "") -> dict[str, Any]:
    """Return the values of all `fields` by their names; what is missing or null has the zero of its type.

    `name` is what errors call the structure.

    Raises:
        DecodeError: not JSON, an unknown key, or a value of a wrong type.

    """
    value = _parse(body.decode("utf-8", "replace").strip())
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise DecodeError(f"json: cannot unmarshal {_kind(value)} into Go value of type object")
    return _object(value, fields, name)


def parse_duration(text: str) -> float:
    """Seconds of a Go duration such as ``1m30s`` or ``250ms``; a bare number but 0 has no unit and is refused.

    Raises:
        DecodeError: with Go's message.

    """
    rest = text[1:] if text.startswith(("+", "-")) else text
    if rest == "0":
        return 0.0
    total = 0.0
    while rest:
        part = _DURATION_PART.match(rest)
        if part is None:
            break
        if not part[2]:
            raise DecodeError(f'time: missing unit in duration "{text}"')
        unit_s = _UNITS_S.get(part[2])
        if unit_s is None:
            raise DecodeError(f'time: unknown unit "{part[2]}" in duration "{text}"')
        total += float(part[1]) * unit_s
        rest = rest[part.end() :]
        if not rest:
            return -total if text.startswith("-") else total
    raise DecodeError(f'time: invalid duration "{text}"')


def parse_bool(text: str) -> bool:
    """Read a boolean as Go's ``strconv.ParseBool`` does.

    Raises:
        ValueError: not one of its spellings.

    """
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise ValueError(text)


def _parse(text: str) -> Any:
    if not text:
        raise DecodeError("EOF")
    try:
        # What follows the first value is ignored: the decoder reads a stream.
        return json.JSONDecoder(parse_constant=_refuse_constant).raw_decode(text)[0]
    except json.JSONDecodeError as error:
        if error.pos >= len(text) or error.msg.startswith("Unterminated"):
            raise DecodeError("unexpected EOF") from None
        raise DecodeError(f"invalid character '{text[error.pos]}' looking for beginning of value") from None
    except RecursionError:
        raise DecodeError("exceeded max depth") from None


def _refuse_constant(name: str) -> None:
    # Python's parser would take NaN and Infinity, which JSON does not have.
    raise DecodeError(f"invalid character '{name[0]}' looking for beginning of value")


def _object(value: dict[str, Any], fields: Mapping[str, Field], path: str) -> dict[str, Any]:
    decoded = {one.name: _ZERO[one.type] for one in fields.values()}
    for key, item in value.items():
        known = fields.get(key.lower())
        if known is None:
            raise DecodeError(f'json: unknown field "{key}"')
        if item is not None:
            decoded[known.name] = _value(item, known, f"{path}.{known.name}")
    return decoded


def _value(item: Any, known: Field, path: str) -> Any:  # one line per type
    match known.type, item:
        case ("string", str()) | ("bool", bool()):
            return item
        case "int", int() if not isinstance(item, bool):
            return item
        case "duration", _:
            return _duration(item)
        case "[]string", list():
            return tuple(_value(each, Field(known.name), path) for each in item if each is not None)
        case "map[string]string", dict():
            return {key: _value(each, Field(known.name), path) for key, each in item.items() if each is not None}
        case "map[string][]string", dict():
            return {key: _value(each, Field(known.name, "[]string"), path) for key, each in item.items() if each is not None}
        case "object", dict():
            return _object(item, known.fields, path)
        case "[]object", list():
            return tuple(_value(each, Field(known.name, "object", known.fields), path) for each in item if each is not None)
        case "map[string]object", dict():
            return {key: _value(each, Field(known.name, "object", known.fields), path) for key, each in item.items() if each is not None}
        case "ignored", _:
            return item
        case _:
            raise DecodeError(f"json: cannot unmarshal {_kind(item)} into Go struct field {path} of type {known.type}")


def _duration(item: Any) -> float:
    if isinstance(item, str):
        return parse_duration(item)
    if isinstance(item, int | float) and not isinstance(item, bool):
        return item / 1e9
    return 0.0  # Consul, too, silently takes any other type for "not given"


def _kind(item: Any) -> str:
    match item:
        case bool():
            return "bool"
        case str():
            return "string"
        case float():
            return f"number {item}"
        case int():
            return "number"
        case list():
            return "array"
        case _:
            return "object"

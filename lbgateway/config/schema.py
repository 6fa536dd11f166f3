"""The JSON Schema (2020-12) of the configuration file: pydantic's, made fit for a file that people write.

What is added to it: a sentence for each key, units in the defaults, ``${NAME}`` wherever a value may stand, null for a
section with nothing in it, and which keys this version does not have.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from lbgateway import __version__
from lbgateway.config.availability import MESSAGE, ROWS, Given, on
from lbgateway.config.settings import Settings
from lbgateway.config.shapes import HOST_PORT
from lbgateway.config.units import format_duration, format_size

if TYPE_CHECKING:
    from lbgateway.config.availability import Refuses

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
VARIABLE = "Variable"
_VARIABLE: Schema = {
    "title": "from the environment",
    "description": "${NAME}, or ${NAME:-default}, is taken from the environment.",
    "type": "string",
    "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-.*)?\}",
}
_VALUE = ("type", "pattern", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
"""Keywords that say which values are right, as opposed to those that explain."""


def schema() -> Schema:
    """The whole schema, fit for `json.dumps`."""
    built = Settings.model_json_schema(by_alias=True)
    sections: dict[str, Schema] = {**built.pop("$defs"), "Settings": built}
    _name_unavailable(sections)
    described = descriptions()
    ready = {name: _section(section, described.get(name, {})) for name, section in sections.items()}
    root = ready.pop("Settings")
    ready["InstanceSettings"] = {"anyOf": [HOST_PORT, ready["InstanceSettings"]]}
    ready[VARIABLE] = _VARIABLE
    head = {"$schema": DIALECT, "title": f"Configuration of lbgateway {__version__}", "type": ["object", "null"]}
    return {**head, **{key: root[key] for key in ("properties", "additionalProperties")}, "$defs": ready}


def descriptions() -> dict[str, dict[str, str]]:
    """Section class -> key -> what it is for."""
    return tomllib.loads(files(__package__).joinpath("descriptions.toml").read_text(encoding="utf-8"))


def _section(section: Schema, described: dict[str, str]) -> Schema:
    properties = {key: _property(value, described.get(key, "")) for key, value in section.get("properties", {}).items()}
    required = {"required": section["required"]} if "required" in section else {}
    return {"type": ["object", "null"], "properties": properties, **required, "additionalProperties": False}


def _property(value: Schema, description: str) -> Schema:
    default = _default(value)
    words = [sentence for sentence in (description, value.get("description", "")) if sentence]
    shown = {"description": " ".join(words)} if words else {}
    return {**shown, **default, **_value({key: item for key, item in value.items() if key not in ("description", "default")})}


def _default(value: Schema) -> Schema:
    """The default as it would be written; none where it consists of sections, whose keys have their own."""
    default = value.get("default")
    if "default" not in value or "$ref" in value or isinstance(default, dict) or (isinstance(default, list) and dict in map(type, default)):
        return {}
    titles = {part.get("title") for part in (value, *value.get("anyOf", ()))}
    if isinstance(default, int | float) and not isinstance(default, bool):
        default = format_duration(default) if "duration" in titles else format_size(int(default)) if "size" in titles else default
    return {"default": default}


def _value(node: Any) -> Any:
    """Without pydantic's titles, and with ``${NAME}`` as another way to write each scalar."""
    if isinstance(node, list):
        return [_value(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _value(item) for key, item in node.items() if key != "title" or not str(item)[:1].isupper()}
    if "enum" in kept:
        # A status may be written without quotes.
        kept["enum"] = [*kept["enum"], *(int(item) for item in kept["enum"] if isinstance(item, str) and item.isdigit())]
        kept.pop("type", None)
    if not _is_scalar(kept):
        return kept
    value = {key: item for key, item in kept.items() if key in _VALUE}
    return {**{key: item for key, item in kept.items() if key not in _VALUE}, "anyOf": [value, {"$ref": f"#/$defs/{VARIABLE}"}]}


def _is_scalar(node: Schema) -> bool:
    """A value that a variable's text would not pass for already."""
    return node.get("type") in ("integer", "number", "boolean") or "enum" in node or "const" in node or "pattern" in node


def _name_unavailable(sections: dict[str, Schema]) -> None:
    """Say in a key's description that its feature, or which of its values, this version does not have."""
    for pattern, refuses in ROWS:
        *around, key = [step for step in pattern.replace("[]", ".[]").split(".") if step not in ("*", "[]")]
        section = _section_at(sections, around)
        if section is None or key not in section["properties"]:
            continue
        found = section["properties"][key]
        found["description"] = _unavailable(refuses)


def _unavailable(refuses: Refuses) -> str:
    if isinstance(refuses, Given):
        return f"{', '.join(refuses.values)}: {MESSAGE}."
    return f"{MESSAGE[0].upper()}{MESSAGE[1:]}." if refuses is on else f"Other values than the default are {MESSAGE}."


def _section_at(sections: dict[str, Schema], steps: list[str]) -> Schema | None:
    section = sections["Settings"]
    for step in steps:
        name = _ref_in(section["properties"].get(step, {}))
        if name is None:
            return None
        section = sections[name]
    return section


def _ref_in(node: Any) -> str | None:
    """The section behind a property, which may be optional, a list's item or a map's value."""
    if isinstance(node, dict):
        if "$ref" in node:
            return str(node["$ref"]).rpartition("/")[2]
        return next((name for value in node.values() if (name := _ref_in(value))), None)
    if isinstance(node, list):
        return next((name for value in node if (name := _ref_in(value))), None)
    return None

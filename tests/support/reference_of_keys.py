"""docs/reference/configuration.md, from the schema that editors get and from what tags may set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lbgateway.config.schema import schema
from lbgateway.config.tag_keys import HARMLESS, tag_keys

Schema = dict[str, Any]

HEAD = """\
Every key: what it is, what it may be, and what holds without it. Maps merge key by key: built in, `services."*"`, the service,
the route; lists replace. Any value may come from the environment as `${NAME}` or `${NAME:-default}`, and
`LBGATEWAY_SERVER__PORT=9000` overrides `server.port`. Durations are `250ms`, `5s`, `1m30s`; sizes `64KiB`, `10MiB`; a secret is text
or `{file: /run/secrets/x}`. Unknown keys are errors: `lbgateway check FILE` names line and right spelling.

All keys may stand in the file. `routes` and `services` may also stand in Consul under `discovery.consul.config_key`, and a service
may set some of its own in tags ([routes.md](../routes.md)): the column *tag* says `yes`, or `if allowed` (by
`discovery.consul.allow_tag_keys`). The file wins over the key, the key over tags."""

WORDS = {"string": "text", "integer": "number", "boolean": "true or false", "object": "map"}


def configuration() -> Iterator[str]:
    """The page's lines."""
    root = schema()
    yield "# Configuration"
    yield from HEAD.splitlines()
    yield from ("", "## The sections", "")
    yield from _table(root, root["properties"], "", top=True)
    seen: dict[str, str] = {}
    for path, name in _sections(root, "", root["properties"], seen):
        yield from ("", f"## {path}", "")
        yield from _table(root, _properties(root, name), path)


def _properties(root: Schema, name: str) -> Schema:
    section = root["$defs"][name]
    found: Schema = section["anyOf"][1]["properties"] if "anyOf" in section else section["properties"]
    return found


def _sections(root: Schema, path: str, properties: Schema, seen: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Path and class of each section, each class once, in the order of the file."""
    for key, value in properties.items():
        for name, suffix in _refs(value):
            if name in seen or name == "Variable":
                continue
            below = seen[name] = f"{path}.{key}{suffix}".lstrip(".")
            yield below, name
            yield from _sections(root, below, _properties(root, name), seen)


def _refs(value: Schema, suffix: str = "") -> Iterator[tuple[str, str]]:
    if "$ref" in value:
        yield value["$ref"].rpartition("/")[2], suffix
    for part in value.get("anyOf", ()):
        yield from _refs(part, suffix)
    if isinstance(value.get("items"), dict):
        yield from _refs(value["items"], suffix + "[]")
    if isinstance(value.get("additionalProperties"), dict):
        yield from _refs(value["additionalProperties"], suffix + ".*")


def _table(root: Schema, properties: Schema, path: str, *, top: bool = False) -> Iterator[str]:
    tagged = path.startswith(("routes[]", "services.*"))
    head = ["key", "type", "default", *(["tag"] if tagged else []), "what it is"]
    if top:
        head = ["key", "type", "what it is"]
    yield _row(head)
    yield _row(["---"] * len(head))
    for key, value in properties.items():
        told = str(value.get("description", ""))
        kind = " or ".join(dict.fromkeys(_kinds(root, value)))
        cells = [f"`{key}`", kind, told] if top else [f"`{key}`", kind, _default(value), *([_tag(path, key)] if tagged else []), told]
        yield _row(cells)


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(value: Schema) -> str:
    if "default" not in value:
        return "see its keys" if any(name != "Variable" for name, _ in _refs(value)) else "must be given"
    default = value["default"]
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _tag(path: str, key: str) -> str:
    below = f"{path}.{key}".removeprefix("routes[].").removeprefix("services.*.")
    if below in HARMLESS:
        return "yes"
    return "if allowed" if below in tag_keys() else ""


def _kinds(root: Schema, value: Schema) -> Iterator[str]:
    """What a value may be, one phrase for each way."""
    if value.get("title") and not value["title"].startswith("from "):
        yield value["title"] + _examples(value)
        return
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        if name != "Variable":
            yield from ["map"] if name != "InstanceSettings" else ["host:port", "map"]
        return
    if "anyOf" in value:
        for part in value["anyOf"]:
            yield from _kinds(root, {**{key: value[key] for key in ("ge", "le", "gt", "lt") if key in value}, **part})
        return
    yield from _plain(root, value)


def _plain(root: Schema, value: Schema) -> Iterator[str]:
    if "enum" in value:
        yield ", ".join(f"`{each}`" for each in value["enum"] if not (isinstance(each, int) and str(each) in value["enum"]))
    elif "const" in value:
        yield f"`{value['const']}`"
    elif "items" in value:
        yield "list of " + " or ".join(dict.fromkeys(_kinds(root, value["items"])))
    elif isinstance(value.get("additionalProperties"), dict):
        yield "map of " + " or ".join(dict.fromkeys(_kinds(root, value["additionalProperties"])))
    else:
        yield _scalar(value)


def _scalar(value: Schema) -> str:
    kinds = value.get("type", "text")
    if isinstance(kinds, list):
        return "text" if "string" in kinds and "object" not in kinds else "map"
    word = WORDS.get(kinds, str(kinds))
    low = next((value[key] for key in ("minimum", "ge", "exclusiveMinimum", "gt") if key in value), None)
    high = next((value[key] for key in ("maximum", "le", "exclusiveMaximum", "lt") if key in value), None)
    if word != "number" or (low is None and high is None):
        return word
    if high is None:
        return f"{word}, at least {low}"
    return f"{word}, at most {high}" if low is None else f"{word}, {low} to {high}"


def _examples(value: Schema) -> str:
    if value["title"] in ("duration", "size"):
        return ""
    shown = [each if isinstance(each, str) else json.dumps(each) for each in value.get("examples", ())]
    return f" (`{shown[-1]}`)" if shown else ""

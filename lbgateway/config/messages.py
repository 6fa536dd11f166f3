"""A validation error of the schema in words that help, without ever repeating a value that may be secret."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args

from lbgateway.config.errors import KeyPath, did_you_mean, spell
from lbgateway.config.section import Section

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic_core import ErrorDetails

    Offered = Callable[[KeyPath, list[str]], list[str]]

_FIXED = {
    "missing": "is required",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list, such as [a, b]",
    "dict_type": "must be a map, such as {key: value}",
    "model_type": "must be a map, such as {key: value}",
    "model_attributes_type": "must be a map, such as {key: value}",
}
_EXPECTED = re.compile(r"'([^']*)'|(\d+)")


def explain(error: ErrorDetails, root: type[Section], offered: Offered) -> tuple[KeyPath, str]:
    """Key path and sentence of one error of pydantic. `offered` leaves of the values of a key those worth naming."""
    path = tuple(step for step in error["loc"] if step != "[key]")
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return path, _unknown(root, path)
    if kind == "literal_error":
        return path, _literal(offered(path, _known(str(context["expected"]))), error["input"])
    if kind in ("greater_than_equal", "greater_than"):
        return path, f"must be at least {context.get('ge', context.get('gt'))}"
    if kind in ("less_than_equal", "less_than"):
        return path, f"must be at most {context.get('le', context.get('lt'))}"
    if kind == "value_error":
        return path, str(context["error"])
    return path, _FIXED.get(kind, error["msg"])


def _known(expected: str) -> list[str]:
    """The values of pydantic's ``'a', 'b' or 3``."""
    return [quoted or number for quoted, number in _EXPECTED.findall(expected)]


def _literal(known: list[str], given: object) -> str:
    hint = did_you_mean(given, known) if isinstance(given, str) else ""
    return f"must be one of {', '.join(known)}{hint}" if len(known) > 1 else f"must be {known[0]}{hint}"


def _keys_at(root: type[Section], path: KeyPath) -> list[str]:
    """The keys that the schema knows at a place."""
    kinds = _sections(root)
    for step in path:
        inside: set[type[Section]] = set()
        for kind in kinds:
            for name, info in kind.model_fields.items():
                if (info.alias or name) == step:
                    inside |= _sections(info.annotation)
        # A position in a list or a name in a map leads to the section that was found with the list or map.
        kinds = inside or kinds
    return [info.alias or name for kind in kinds for name, info in kind.model_fields.items()]


def _unknown(root: type[Section], path: KeyPath) -> str:
    """The nearest key of this place, and where a key of just this name belongs."""
    word, known, place = str(path[-1]), _keys_at(root, path[:-1]), _elsewhere(root, path)
    near = did_you_mean(word, known)
    if place is None or did_you_mean(word, known, alike=0.8):
        return f"unknown key{near}"
    return f"unknown key{near.removesuffix('?')}, or `{place}`?" if near else f"unknown key here; there is `{place}`"


def _elsewhere(root: type[Section], path: KeyPath) -> str | None:
    """Where a key that is right, but in the wrong place, belongs: where most of the way is the same, else where that is shortest."""
    around = path[:-1]

    def distance(place: KeyPath) -> tuple[int, int]:
        shared = next((index for index, (one, other) in enumerate(zip(place, around, strict=False)) if one != other), len(around))
        return -shared, len([step for step in place if step not in ("*", 0)])

    places = [place for place in _places(root, ()) if place[-1] == path[-1]]
    return spell(min(places, key=distance)).replace("[0]", "[]") if places else None


def _places(section: type[Section], path: KeyPath) -> Iterator[KeyPath]:
    """Every key that the schema knows below `path`; ``*`` stands for a name, 0 for a position in a list."""
    for name, info in section.model_fields.items():
        here = (*path, info.alias or name)
        yield here
        many = str(info.annotation)
        inside: KeyPath = (*here, "*") if "dict[" in many else (*here, 0) if "tuple[" in many else here
        for kind in _sections(info.annotation):
            yield from _places(kind, inside)


def _sections(annotation: Any) -> set[type[Section]]:
    """The sections within an annotation such as ``dict[str, ServiceSettings] | None``."""
    if isinstance(annotation, type) and not get_args(annotation) and issubclass(annotation, Section):
        return {annotation}
    return {section for part in get_args(annotation) for section in _sections(part)}

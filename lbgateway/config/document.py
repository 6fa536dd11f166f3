"""A YAML text as plain values, with the line of each. Decides nothing about their meaning.

YAML 1.1 has surprises that cost operators hours: ``on`` is a boolean, ``1:30`` is 90, ``2026-01-01`` a
date, ``010`` is 8. Here a plain scalar is null, true/false, a decimal number, or text; and a key is
always text. Numbers remember their spelling, so that a secret ``00123`` keeps its zeros.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from lbgateway.config.environment import interpolate
from lbgateway.config.errors import ConfigErrors, Finding, KeyPath, Origin
from lbgateway.config.syntax import explain, nodes_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_INT = re.compile(r"[-+]?\d{1,18}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d{1,3})?", re.ASCII)
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
MAX_VALUES = 200_000
"""A few lines of aliases within aliases can stand for billions."""
_STR_TAG = "tag:yaml.org,2002:str"


class SpelledInt(int):
    """A whole number that remembers how it was written."""

    text: str


class SpelledFloat(float):
    """A number with a fraction that remembers how it was written."""

    text: str


class _Broken:
    """Stands for a value that could not be read; whatever is said about it later is not repeated."""

    def __repr__(self) -> str:
        return "<broken>"


BROKEN = _Broken()


class Document:
    """Plain values with the place of each. ``findings`` tells what could not be read."""

    __slots__ = ("broken", "findings", "origins", "root", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.root: dict[str, object] = {}
        self.origins: dict[KeyPath, Origin] = {}
        self.findings: list[Finding] = []
        self.broken: set[KeyPath] = set()
        """Values that could not be read: nothing more is to be said about them."""

    def origin(self, path: KeyPath) -> Origin:
        """Where `path` was written, or else the nearest value around it; the first line if nothing was."""
        for length in range(len(path), 0, -1):
            found = self.origins.get(path[:length])
            if found is not None:
                return found
        return Origin(self.source, 1)

    def complain(self, path: KeyPath, message: str, line: int | None = None) -> None:
        origin = self.origin(path) if line is None else Origin(self.source, line)
        self.findings.append(Finding(origin, path, message))


def read_text(path: str | Path) -> str:
    """The text of a file.

    Raises:
        ConfigErrors: it cannot be read.

    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        message = "cannot be read: it is not UTF-8 text"
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    raise ConfigErrors([Finding(Origin(str(path)), (), message)])


def parse(text: str, source: str, environ: Mapping[str, str] | None, example: str = "server: {port: 8080}") -> Document:
    """Read a YAML text whose root is a map, such as `example`; ``${NAME}`` in it is taken from `environ`, refused if that is None."""
    document = Document(source)
    node = _compose(text, document)
    if node is None:
        return document
    if not isinstance(node, yaml.MappingNode):
        document.complain((), f"the file must be a map, such as `{example}`", _line(node))
        return document
    document.root = _Builder(document, environ).mapping(node, ())
    return document


def parse_value(text: str) -> object:
    """One value as an environment variable gives it: ``9000``, ``true``, ``[a, b]``, ``"quoted"`` or text.

    `ValueError` if it looks like YAML (a bracket, brace or quote first) and is none.
    """
    if not text.lstrip().startswith(("[", "{", '"', "'")):
        return resolve(text.strip())
    document = parse(f"value: {text}", "", {})
    if document.findings or set(document.root) != {"value"}:
        raise ValueError("not a YAML value; put it in quotes if it is meant as text")
    return document.root["value"]


def resolve(text: str) -> object:
    """What a plain scalar means: null, a boolean, a decimal number, or itself."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.fullmatch(text):
        whole = SpelledInt(text)
        whole.text = text
        return whole
    if _FLOAT.fullmatch(text):
        number = SpelledFloat(text)
        number.text = text
        return number
    return text


def text_of(value: object) -> str | None:
    """A scalar as it was written, or None if `value` is no scalar that has a text."""
    if isinstance(value, str):
        return value
    if isinstance(value, SpelledInt | SpelledFloat):
        return value.text
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else None


def _compose(text: str, document: Document) -> yaml.Node | None:
    try:
        node = nodes_of(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line if mark else 0
        document.complain((), explain(error, text, line), line + 1)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        document.complain((), "a character that YAML does not allow (is the file UTF-8 text?)", line)
    except RecursionError:
        document.complain((), "nested too deeply")
    else:
        return node
    return None


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


class _Builder:
    """Turns nodes into values, notes their lines, and refuses what would be lost silently."""

    def __init__(self, document: Document, environ: Mapping[str, str] | None) -> None:
        self._document = document
        self._environ = environ
        self._open: set[int] = set()
        """Nodes being built: an alias of one of them would never end."""
        self._left = MAX_VALUES

    def value(self, node: yaml.Node, path: KeyPath) -> object:
        self._left -= 1
        if self._left == 0:
            return self._broken(node, path, f"more than {MAX_VALUES:,} values; are there aliases within aliases?")
        if self._left < 0:
            return BROKEN
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            return self._broken(node, path, "an alias that contains itself")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self.mapping(node, path)
            return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]
        finally:
            self._open.discard(id(node))

    def _item(self, node: yaml.Node, path: KeyPath) -> object:
        self._document.origins[path] = Origin(self._document.source, _line(node))
        return self.value(node, path)

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        built: dict[str, object] = {}
        seen: dict[str, int] = {}
        merged: list[yaml.MappingNode] = []
        for key_node, value_node in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.value == "<<" and key_node.style is None:
                merged += self._merge_sources(value_node, path)
                continue
            key = self._key(key_node, path, seen)
            if key is not None:
                self._document.origins[*path, key] = Origin(self._document.source, _line(key_node))
                built[key] = self.value(value_node, (*path, key))
        self._merge(built, merged, path)
        return built

    def _key(self, node: yaml.Node, path: KeyPath, seen: dict[str, int]) -> str | None:
        line = _line(node)
        if not isinstance(node, yaml.ScalarNode):
            self._document.complain(path, "a key must be text", line)
            return None
        key = str(node.value)
        if key in seen:
            self._document.complain((*path, key), f"given twice, first in line {seen[key]}", line)
            return None
        seen[key] = line
        return key

    def _merge_sources(self, node: yaml.Node, path: KeyPath) -> list[yaml.MappingNode]:
        """The maps behind ``<<``; of several the first wins, as YAML's merge type says."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        good = [source for source in sources if isinstance(source, yaml.MappingNode) and id(source) not in self._open]
        if len(good) < len(sources):
            self._document.complain(path, "`<<` takes a map or a list of maps", _line(node))
        return good

    def _merge(self, built: dict[str, object], sources: list[yaml.MappingNode], path: KeyPath) -> None:
        for source in sources:
            own = {known: origin for known, origin in self._document.origins.items() if known[: len(path)] == path}
            extra = self.value(source, path)
            self._document.origins.update(own)
            if isinstance(extra, dict):
                built.update({key: value for key, value in extra.items() if key not in built})

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> object:
        if node.tag != _STR_TAG:
            return self._broken(node, path, f"tags such as {node.tag} are not supported")
        try:
            text, problems = interpolate(str(node.value), self._environ), []
        except ExceptionGroup as group:
            text, problems = "", [str(error) for error in group.exceptions]
        for problem in problems:
            self._broken(node, path, problem)
        if problems:
            return BROKEN
        return text if node.style else resolve(text)

    def _broken(self, node: yaml.Node, path: KeyPath, message: str) -> object:
        self._document.broken.add(path)
        self._document.complain(path, message, _line(node))
        return BROKEN

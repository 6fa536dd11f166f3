"""YAML as operators write it: what is read beyond the letter of it, and its errors in our words. Pure.

Between brackets and braces YAML ends an unquoted value at the next brace, so that ``{port: ${PORT}}`` and
``{prefix: /api/{service}}`` are errors to it. Nothing else can be meant by them, and they are read as what they are:
the characters that would end the value stand behind a veil while YAML is parsed.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_PLACEHOLDER = re.compile(r"""\$\{[A-Za-z_][A-Za-z0-9_]*(?::-[^{}"'\n]*)?\}|(?<=/)\{service\}|\{service\}(?=\.)""", re.ASCII)
_OPEN = "{}[],"
_VEILED = "".join(chr(0xF0000 + number) for number in range(len(_OPEN)))
"""Of a plane for private use: one for one, so that lines and columns stay what they are."""
_ABOUT_VEILS = re.compile(rf"[{_VEILED}]|\\U000f000", re.IGNORECASE)
_VEIL, _UNVEIL = str.maketrans(_OPEN, _VEILED), str.maketrans(_VEILED, _OPEN)
_QUOTED = re.compile(r"'[^']*'")
_STILL_OPEN = {"while parsing a flow mapping": "{", "while parsing a flow sequence": "[", "while scanning a quoted scalar": "quote"}


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012 (the base class declares it so; empty = all plain scalars are text)


class _Unveiling(_Loader):
    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        node.value = node.value.translate(_UNVEIL)
        return node


def nodes_of(text: str) -> yaml.Node | None:
    """The tree of a text, None if it is empty. Raises what PyYAML does, and `RecursionError`."""
    loader: type[_Loader] = _Loader
    if not _ABOUT_VEILS.search(text):
        text, loader = _PLACEHOLDER.sub(lambda found: found[0].translate(_VEIL), text), _Unveiling
    node: yaml.Node | None = yaml.compose(text, Loader=loader)
    return node


def explain(error: yaml.MarkedYAMLError, text: str, line: int) -> str:
    """PyYAML's words about `line` (from 0) of a text, without what it quotes from there: that may be a secret."""
    lines = text.splitlines()
    written = lines[line] if line < len(lines) else ""
    problem = error.problem or "cannot be read"
    if "\\t" in problem or written.lstrip(" ").startswith("\t"):
        return "YAML does not allow tabs here, nor for indentation; use spaces"
    if "undefined alias" in problem or error.context == "while scanning an alias":
        return 'what begins with * is an alias of YAML; put it in quotes if it is meant as text: "*"'
    if "mapping values are not allowed" in problem:
        return "not valid YAML: a `key: value` where none can be; is the indentation right? A text with `: ` in it needs quotes"
    problem = _QUOTED.sub(_harmless, problem) + _still_open(error, line)
    if "${" in written and ("{" in written.replace("${", "") or "[" in written):
        problem += " (inside [ ] or { } write the variable in quotes)"
    return f"not valid YAML: {problem}"


def _still_open(error: yaml.MarkedYAMLError, line: int) -> str:
    opened, mark = _STILL_OPEN.get(error.context or ""), error.context_mark
    return f"; the {opened} of line {mark.line + 1} is still open" if opened and mark is not None and mark.line < line else ""


def _harmless(quoted: re.Match[str]) -> str:
    """Marks such as ',' and PyYAML's names such as '<block end>' may be shown; words of the file may not."""
    return quoted[0] if len(quoted[0]) <= 3 or quoted[0].startswith("'<") else "'…'"

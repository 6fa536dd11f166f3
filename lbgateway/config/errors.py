"""What is wrong with a configuration: every finding has a place, a key and a sentence."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

KeyPath = tuple[str | int, ...]
"""The way from the root to a value: map keys and list positions."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written: a file and its line, or (without a line) a variable or an option."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One error or warning. Its text is ``FILE:LINE: key.path: what is wrong``."""

    origin: Origin
    path: KeyPath
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (str(self.origin), spell(self.path), self.message) if part)


class ConfigErrors(ValueError):
    """A configuration that cannot be used. ``errors`` holds every finding, in the order of the lines."""

    def __init__(self, errors: Iterable[Finding]) -> None:
        self.errors = in_order(errors)
        super().__init__("\n".join(map(str, self.errors)))


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """By line; what came from the environment or an option follows, by name. Equal sentences once."""
    unique = {str(finding): finding for finding in findings}
    return sorted(unique.values(), key=lambda one: (one.origin.line or 10**9, one.origin.source, spell(one.path)))


def spell(path: KeyPath) -> str:
    """``("routes", 0, "prefix")`` as ``routes[0].prefix``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def did_you_mean(word: str, known: Sequence[str], *, alike: float = 0.6) -> str:
    """``; did you mean `port`?``, or nothing if no known word is `alike` (0..1: the same)."""
    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=alike)
    return f"; did you mean `{near[0]}`?" if near else ""

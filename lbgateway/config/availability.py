"""What of the contract this version does not do yet. One row leaves with each feature that arrives.

A key or value listed here is refused, never accepted and ignored, unless it says that the feature
is off. In a row's path ``*`` is any key and ``[]`` any item of a list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lbgateway.config.document import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lbgateway.config.errors import KeyPath

    Refuses = Callable[[object], bool]
    """True for a value whose feature is not built."""

MESSAGE = "not available in this version"


def on(value: object) -> bool:
    """Anything but null, false (however it is spelled) or an empty list. An empty map is the feature with all its defaults."""
    return value not in (None, []) and str(text_of(value)).lower() not in ("false", "no", "off")


@dataclass(frozen=True, slots=True)
class Given:
    """One of these values; unknown ones are left to the schema, which knows what they were meant to be."""

    values: tuple[str, ...]

    def __call__(self, value: object) -> bool:
        return text_of(value) in self.values


def _given(*values: str) -> Given:
    return Given(values)


ZERO = ("0", "0.0", "0s", "0ms", "0m", "0h")

ROWS: tuple[tuple[str, Refuses], ...] = (
    ("discovery.consul.failover_datacenters", on),
    ("discovery.consul.feedback", on),
    ("services.*.balancer", _given("ring_hash", "maglev", "rendezvous", "prequal")),
    ("services.*.hash_on", on),
    ("services.*.sticky", on),
    ("services.*.zone_aware", on),
    ("services.*.probe_path", on),
    ("services.*.subsets", on),
    ("services.*.tiers", on),
    ("services.*.mirror", on),
    ("routes[].cache", on),
    ("cache", on),
    ("compression", on),
    ("plugins", on),
)


def unavailable(root: dict[str, object]) -> Iterator[tuple[KeyPath, str]]:
    """Every key of a document whose feature is not built, with what to say about it."""
    for pattern, refuses in ROWS:
        for path, value in matching(root, pattern):
            if refuses(value):
                yield path, f"`{value}` is {MESSAGE}" if isinstance(refuses, Given) else MESSAGE


def without_off(root: dict[str, object]) -> dict[str, object]:
    """A copy in which keys of features that are not built and say "off" are left out.

    The defaults are off, and say it truthfully; the schema may know no other word for it.
    """
    kept = _copy(root)
    for pattern, refuses in ROWS:
        *around, key = _steps(pattern)
        if key == "[]" or isinstance(refuses, Given):
            continue
        for _, holder in list(_matching(kept, around, ())):
            if isinstance(holder, dict) and key in holder and not on(holder[key]):
                del holder[key]
    assert isinstance(kept, dict)
    return kept


def _copy(value: object) -> object:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def offered(path: KeyPath, values: list[str]) -> list[str]:
    """Those of the allowed `values` of a key that this version can do, for advice."""
    steps = ["[]" if isinstance(step, int) else step for step in path]
    for pattern, refuses in ROWS:
        wanted = _steps(pattern)
        if len(wanted) == len(steps) and all(want in (step, "*") for want, step in zip(wanted, steps, strict=True)):
            return [value for value in values if not refuses(value)]
    return values


def matching(root: dict[str, object], pattern: str) -> Iterator[tuple[KeyPath, object]]:
    """Every value of a document at a place such as ``services.*.tls``, with its path."""
    return _matching(root, _steps(pattern), ())


def _steps(pattern: str) -> list[str]:
    return pattern.replace("[]", ".[]").split(".")


def _matching(value: object, steps: list[str], path: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    if not steps:
        yield path, value
    elif steps[0] == "[]" and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _matching(item, steps[1:], (*path, index))
    elif isinstance(value, dict):
        for key in value if steps[0] == "*" else (steps[0],):
            if key in value:
                yield from _matching(value[key], steps[1:], (*path, key))

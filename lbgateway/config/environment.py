"""What the environment has to say: ``${NAME}`` inside the file, ``LBGATEWAY_SERVER__PORT`` over it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    Path = tuple[str | int, ...]

PREFIX = "LBGATEWAY_"
_FOREIGN = ("LBGATEWAY_TEST_", "LBGATEWAY_BENCH_")
"""Belong to the test and benchmark setups, whatever follows."""
PROXY_SCHEMES = ("http://", "https://", "socks5://", "socks5h://")
_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}?")
_INSIDE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Override:
    """A value that wins over the file. ``origin`` is the variable or option it came from."""

    origin: str
    keys: tuple[str, ...]
    """Map keys and list positions from the root, in any case."""
    text: str


def interpolate(text: str, environ: Mapping[str, str] | None) -> str:
    """Replace ``${NAME}`` and ``${NAME:-default}``; ``$${`` stands for ``${`` itself.

    The default is taken if the variable is unset or empty, as in a shell. Raises an `ExceptionGroup`
    of `ValueError`, one for each reference that has no value. `environ` None allows no reference at all.
    """
    errors: list[ValueError] = []

    def replace(found: re.Match[str]) -> str:
        if found[1] is None:
            return "${"
        if environ is None:
            errors.append(ValueError("variables are for the file only: here they could tell the gateway's secrets; write $${ for the text"))
            return ""
        inside = _INSIDE.fullmatch(found[1]) if found[0].endswith("}") else None
        if inside is None:
            errors.append(ValueError("`${` begins a variable, ${NAME} or ${NAME:-default}; write $${ for the text"))
            return ""
        name, default = inside[1], inside[2]
        if default is not None:
            return environ.get(name) or default
        if name not in environ:
            errors.append(ValueError(f"the environment variable {name} is not set (${{{name}:-…}} would give a default)"))
        return environ.get(name, "")

    replaced = _REFERENCE.sub(replace, text)
    if errors:
        raise ExceptionGroup("variables without a value", errors)
    return replaced


def overrides(environ: Mapping[str, str], sections: Collection[str]) -> list[Override]:
    """All variables that name a key: ``LBGATEWAY_`` and the key's path, ``__`` for each dot, in any case.

    A name without ``__`` counts only if it is one of `sections`, the top-level keys: otherwise
    LBGATEWAY_ADMIN_URL and the like, which belong to the command line, would be mistaken for keys.
    """
    found = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name.startswith(_FOREIGN):
            continue
        keys = name.removeprefix(PREFIX).lower().split("__")
        if len(keys) > 1 or keys[0] in sections:
            found.append(Override(name, tuple(keys), environ[name]))
    return found


def proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY as ``http``, ``https``, ``all``, ``no``; lower-case names win, as everywhere."""
    found = {scheme: environ.get(f"{scheme}_proxy", environ.get(f"{scheme.upper()}_PROXY", "")) for scheme in ("http", "https", "all")}
    # A bare host:port is what other programs take for an http proxy. Schemes that we do not know are for others.
    found = {scheme: value if "://" in value else f"http://{value}" for scheme, value in found.items() if value}
    found = {scheme: value for scheme, value in found.items() if value.startswith(PROXY_SCHEMES)}
    exceptions = environ.get("no_proxy", environ.get("NO_PROXY", ""))
    return {**found, "no": exceptions} if found and exceptions else found


def put(root: dict[str, object], keys: tuple[str, ...], value: object) -> tuple[dict[str, object], Path]:
    """A copy of `root` with `value` at `keys`, and the path as the document spells it.

    Keys that exist are found in any case, and with ``_`` for ``-``, which variables cannot have;
    missing maps are made. `ValueError` if the way leads through something else.
    """
    changed, path = _put(root, keys, value, ())
    if not isinstance(changed, dict):
        raise TypeError(keys)
    return changed, path


def _put(holder: object, keys: tuple[str, ...], value: object, path: Path) -> tuple[object, Path]:
    if not keys:
        return value, path
    if isinstance(holder, list):
        if not keys[0].isdigit() or int(keys[0]) >= len(holder):
            raise ValueError(f"there is a list with {len(holder)} items here, and no item {keys[0]}")
        index = int(keys[0])
        inner, full = _put(holder[index], keys[1:], value, (*path, index))
        return [*holder[:index], inner, *holder[index + 1 :]], full
    if holder is not None and not isinstance(holder, dict):
        raise ValueError(f"`{keys[0]}` cannot be set: there is a value here, not a map")
    known = holder or {}
    key = next((key for key in known if _folded(key) == _folded(keys[0])), keys[0].lower())
    inner, full = _put(known.get(key), keys[1:], value, (*path, key))
    return {**known, key: inner}, full


def _folded(key: str) -> str:
    return key.lower().replace("-", "_")

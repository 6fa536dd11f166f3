"""The keys that may have signed a token, and which of the keys that a provider publishes (RFC 7517) are taken. Pure.

A key serves the algorithms of its own kind only (`config.public_key`), and of these only the one that it names, if it
names one. Symmetric keys, private ones and those for other uses are never taken from a set of keys: a provider that
publishes them has made a mistake that must not open the door.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from jwt import PyJWTError
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from lbgateway.config.public_key import algorithms_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_KEYS = 100
MAX_TRIED = 4
"""So many keys are tried for a token that does not say which one; each costs a verification."""
MAX_ID_CHARACTERS = 256

_PRIVATE = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))
_READERS: dict[str, tuple[tuple[str, ...], Callable[[dict[str, Any]], Any]]] = {
    "RSA": (("n", "e"), RSAAlgorithm.from_jwk),
    "EC": (("crv", "x", "y"), ECAlgorithm.from_jwk),
    "OKP": (("crv", "x"), OKPAlgorithm.from_jwk),
}
"""``kty`` -> the members that make a public key, and what reads them."""


class Key(NamedTuple):
    """One key. `id` is its ``kid``; None fits tokens that name any, or none."""

    id: str | None
    algorithms: frozenset[str]
    material: Any
    """A secret text, or a public key of the package cryptography."""


class UnusableKeys(ValueError):
    """Not one key of a document can be taken."""


def candidates(keys: Iterable[Key], algorithm: str, key_id: str | None) -> tuple[list[Key], bool]:
    """The keys that may have signed a token, and whether it is certain that no others may: its ``kid`` is known."""
    fitting = [key for key in keys if algorithm in key.algorithms]
    named = [key for key in fitting if key.id == key_id] if key_id is not None else []
    if named:
        return named[:MAX_TRIED], True
    return [key for key in fitting if key_id is None or key.id is None][:MAX_TRIED], False


def read_jwks(document: bytes) -> tuple[tuple[Key, ...], list[str]]:
    """The keys of a published set that are taken, and why others are not, in words that hold no key.

    Raises:
        UnusableKeys: there is none.

    """
    try:
        found = json.loads(document)
    except (ValueError, RecursionError):
        raise UnusableKeys("the answer is no JSON") from None
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise UnusableKeys("the answer is no set of keys: it has no list `keys`")
    keys: list[Key] = []
    refused: list[str] = []
    for number, item in enumerate(listed[:MAX_KEYS]):
        try:
            keys.append(_key(item))
        except ValueError as error:
            refused.append(f"keys[{number}]: {error}")
    if not keys:
        raise UnusableKeys("; ".join(["the set holds no key that can be used", *refused[:3]]))
    return tuple(keys), refused


def _key(item: object) -> Key:
    if not isinstance(item, dict):
        raise ValueError("is no map")  # noqa: TRY004 what is wrong with a key is collected as one kind of error
    kind, key_id, use, operations = item.get("kty"), item.get("kid"), item.get("use"), item.get("key_ops")
    if not isinstance(kind, str) or kind not in _READERS:
        raise ValueError("has a `kty` other than RSA, EC and OKP")
    if not (key_id is None or (isinstance(key_id, str) and len(key_id) <= MAX_ID_CHARACTERS)):
        raise ValueError("has a `kid` that is no text, or a very long one")
    if use not in (None, "sig") or not (operations is None or (isinstance(operations, list) and "verify" in operations)):
        raise ValueError("is not for signatures")
    if _PRIVATE & item.keys():
        raise ValueError("is a private key that was published: nobody can trust it any more")
    material = _material(item, kind)
    algorithms = algorithms_of(material)
    if "alg" in item:
        algorithms &= {str(item["alg"])}
    if not algorithms:
        raise ValueError("is for an algorithm that its kind does not fit")
    return Key(key_id, algorithms, material)


def _material(item: dict[str, Any], kind: str) -> Any:
    members, read = _READERS[kind]
    if not all(isinstance(item.get(name), str) for name in members):
        raise ValueError(f"needs {', '.join(members)} as text")
    try:
        return read({"kty": kind, **{name: item[name] for name in members}})
    except (PyJWTError, ValueError, UnsupportedAlgorithm):
        raise ValueError("cannot be read") from None

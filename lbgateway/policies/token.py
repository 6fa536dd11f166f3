"""A JSON Web Token as bytes, and who has signed it: RFC 7515, with the habits of RFC 8725. Pure.

The configuration decides on algorithms and keys; what a token says of its own proof (``jku``, ``x5u``, ``jwk``, ``x5c``) is
not even looked at. A token that can be read in two ways is refused: members that come twice, an encoding with something
left over.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from jwt import PyJWS, PyJWTError

from lbgateway.policies.keys import MAX_ID_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from lbgateway.policies.keys import Key

MAX_TOKEN_BYTES = 16 * 1024
_compact = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+").fullmatch
"""Three parts of base64url; an encrypted token has five, an unsigned one an empty last."""
_SIGNATURES = PyJWS()


class InvalidToken(Exception):
    """Why a token is not believed: one of few words, fit for a metric's label; nothing that the token says."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TokenHead(NamedTuple):
    """What is taken from a token's own head: which of the configured algorithms and keys to try."""

    algorithm: str
    key_id: str | None


def read_head(token: bytes, algorithms: Container[str]) -> TokenHead:
    """The head of a token whose signature nobody has looked at yet; raises `InvalidToken`."""
    if len(token) > MAX_TOKEN_BYTES or not _compact(token):
        raise InvalidToken("malformed")
    head = _object(_decoded(token.partition(b".")[0]))
    algorithm, key_id = head.get("alg"), head.get("kid")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise InvalidToken("algorithm")
    if "crit" in head:
        # Extensions that must be understood (RFC 7515, 4.1.11); none is.
        raise InvalidToken("critical")
    if not (key_id is None or (isinstance(key_id, str) and len(key_id) <= MAX_ID_CHARACTERS)):
        raise InvalidToken("malformed")
    return TokenHead(algorithm, key_id)


def signed_by(token: bytes, algorithm: str, keys: Iterable[Key]) -> dict[str, Any] | None:
    """The claims, if one of `keys` has signed them by `algorithm`; else None. Raises `InvalidToken` for claims that are none."""
    for key in keys:
        try:
            payload = _SIGNATURES.decode_complete(token, key.material, algorithms=[algorithm])["payload"]
        except (PyJWTError, ValueError, RecursionError):
            continue
        return _object(payload)
    return None


def unproven(token: bytes) -> dict[str, Any]:
    """What a token claims, whoever has signed it: for nothing but the words of a refusal. Raises `InvalidToken`."""
    return _object(_decoded(token.split(b".")[1]))


def _decoded(part: bytes) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except ValueError:
        raise InvalidToken("malformed") from None


def _object(text: bytes) -> dict[str, Any]:
    """A JSON object in which nothing can be read in two ways."""
    try:
        found = json.loads(text, object_pairs_hook=_unambiguous, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise InvalidToken("malformed") from None
    if not isinstance(found, dict):
        raise InvalidToken("malformed")
    return found


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member comes twice")
    return found


def _no_number(_name: str) -> None:
    raise ValueError("NaN and Infinity are no JSON")

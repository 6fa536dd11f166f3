"""``auth.jwt``: whether keys and algorithms fit together. Pure.

An algorithm without a key that fits it would refuse every token that uses it, a key without an algorithm is a mistake
of whoever wrote it there: both are said when the file is read, not when the first user is turned away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lbgateway.config.public_key import HMAC, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lbgateway.config.auth import JwtSettings
    from lbgateway.config.errors import KeyPath

HMAC_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
"""A key is at least as long as the hash (RFC 7518, section 3.2)."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")
HERE: KeyPath = ("auth", "jwt")


def check_jwt(jwt: JwtSettings) -> Iterator[tuple[KeyPath, str]]:
    """What cannot work."""
    if jwt.secret is None and jwt.public_key is None and jwt.jwks_url is None:
        yield HERE, "needs a `secret`, a `public_key` or a `jwks_url` to check tokens with, such as secret: ${JWT_SECRET}"
        return
    if not jwt.algorithms:
        yield (*HERE, "algorithms"), "must name at least one algorithm"
    for index, name in enumerate(jwt.algorithms):
        if text := _without_key(jwt, name):
            yield (*HERE, "algorithms", index), text
    yield from _secret(jwt)
    yield from _unused(jwt)


def _without_key(jwt: JwtSettings, name: str) -> str:
    """Why no key fits an algorithm; empty if one does, or may."""
    if name in HMAC:
        return "" if jwt.secret is not None else f"{name} needs a `secret`: no public key fits it"
    if jwt.jwks_url is not None or (jwt.public_key is not None and name in jwt.public_key.algorithms):
        return ""
    if jwt.public_key is not None:
        return f"{name} does not fit the public_key ({kind_of(jwt.public_key.material)}), which fits {_listed(jwt.public_key.algorithms)}"
    return f"{name} needs a `public_key` or a `jwks_url`: no secret fits it"


def _secret(jwt: JwtSettings) -> Iterator[tuple[KeyPath, str]]:
    if jwt.secret is None:
        return
    text = jwt.secret.reveal()
    if "-----BEGIN " in text or text.startswith(("ssh-rsa ", "ssh-ed25519 ", "ecdsa-sha2-")):
        yield (*HERE, "secret"), "is a key of a pair, which everybody may know one half of: give it as `public_key`"
    elif short := [name for name in jwt.algorithms if len(text.encode()) < HMAC_BYTES.get(name, 0)]:
        needed = max(HMAC_BYTES[name] for name in short)
        yield (*HERE, "secret"), f"too short: {'/'.join(short)} needs at least {needed} bytes"


def _unused(jwt: JwtSettings) -> Iterator[tuple[KeyPath, str]]:
    used: set[str] = set(jwt.algorithms)
    if not used:
        return
    if jwt.secret is not None and not used & set(HMAC):
        yield (*HERE, "secret"), f"is used by none of the algorithms ({_listed(used)}): leave it out, or name HS256"
    if jwt.public_key is not None and not used & jwt.public_key.algorithms:
        yield (*HERE, "public_key"), f"fits none of the algorithms ({_listed(used)}); name {_listed(jwt.public_key.algorithms)}"
    if jwt.jwks_url is not None and used <= set(HMAC):
        yield (*HERE, "jwks_url"), f"brings no key for the algorithms ({_listed(used)}): public keys only, for RS256 and others"


def warn_jwt(jwt: JwtSettings) -> Iterator[tuple[KeyPath, str]]:
    """What works, but lets others in."""
    parts = urlsplit(jwt.jwks_url or "")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        yield (*HERE, "jwks_url"), "is fetched without TLS: whoever can answer in its place can sign tokens"
    if "exp" not in jwt.required_claims:
        yield (*HERE, "required_claims"), "does not name exp: a token without an end is good for ever"


def _listed(names: set[str] | frozenset[str]) -> str:
    return ", ".join(sorted(names))

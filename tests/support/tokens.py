"""Keys and tokens of all kinds, and configurations that believe them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from lbgateway.authentication import Authentication
from lbgateway.dataplane.plane import DataPlane
from lbgateway.policies.jwt_auth import JwtAuth
from tests.lbgateway.config.reading import settings_of
from tests.support.transports import Later

SECRET = "a secret of sixty-four bytes or more, " * 2
OTHER = "another secret of sixty-four bytes or more, " * 2

CURVES: dict[str, Callable[[], ec.EllipticCurve]] = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}


@lru_cache
def private_key(algorithm: str, which: str = "a") -> Any:
    """A key for an algorithm; another one for each word, the same for the same word within one run."""
    if algorithm.startswith("HS"):
        return SECRET if which == "a" else OTHER
    if algorithm in CURVES:
        return ec.generate_private_key(CURVES[algorithm]())
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate() if which != "448" else ed448.Ed448PrivateKey.generate()
    return _rsa(which)


@lru_cache
def _rsa(which: str, bits: int = 2048) -> Any:
    return rsa.generate_private_key(65537, bits)


def weak_rsa(bits: int = 1024) -> Any:
    return _rsa("weak", bits)


def pem_of(key: Any) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def jwk_of(key: Any, **members: Any) -> dict[str, Any]:
    """The public half of a key as a provider publishes it."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        found = RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        found = ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        found = OKPAlgorithm.to_jwk(public, as_dict=True)
    found.pop("key_ops", None)
    return {**found, **members}


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def token(algorithm: str = "HS256", key: Any = None, *, kid: str | None = None, head: dict[str, Any] | None = None, **claims: Any) -> str:
    """A good token for an hour; claims given as None are left out."""
    body = {"sub": "ann", "exp": int(time.time()) + 3600, **claims}
    headers = {**({"kid": kid} if kid is not None else {}), **(head or {})}
    key = key if key is not None else private_key(algorithm)
    return jwt.encode({name: value for name, value in body.items() if value is not None}, key, algorithm=algorithm, headers=headers)


def part(value: Any) -> str:
    """One part of a token: bytes as they are, anything else as JSON."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(head: Any, claims: Any, secret: bytes | str = SECRET, *, digest: str = "sha256") -> str:
    """A token signed by HMAC whatever its head says: what no library would make."""
    signed = f"{part(head)}.{part(claims)}"
    key = secret if isinstance(secret, bytes) else secret.encode()
    return f"{signed}.{part(hmac.new(key, signed.encode(), getattr(hashlib, digest)).digest())}"


def auth_of(text: str = f"secret: {SECRET!r}", count: Callable[[str], None] = lambda _reason: None, around: str = "") -> JwtAuth:
    """The policy of an ``auth.jwt`` of this text, and of what stands beside it."""
    settings = settings_of(f"auth: {{jwt: {{{text}}}{around}}}")
    checks = Authentication(count, DataPlane(Later())).prepare(settings.auth).checks
    assert checks is not None
    assert checks.token is not None
    return checks.token

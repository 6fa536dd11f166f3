"""A public key in PEM form, and which algorithms a key fits: the binding of RFC 8725, section 3.1.

A key is for the algorithms of its own kind and for no others. Whoever lets a token choose between them can be made
to take a public key, which everybody has, for a shared secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic_core import core_schema

from lbgateway.config.document import text_of
from lbgateway.config.secret import read_file
from lbgateway.config.shapes import PUBLIC_KEY

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

HMAC = ("HS256", "HS384", "HS512")
RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
RSA_BITS = range(2048, 8192 + 1)
"""Shorter keys can be broken (RFC 7518, section 3.3), longer ones take a millisecond for each token."""


class PublicKey:
    """In the file either the PEM text itself or ``{file: PATH}``, read when the file is loaded. A certificate will do."""

    __slots__ = ("algorithms", "material", "pem")

    def __init__(self, pem: str) -> None:
        """Raises `ValueError` for what is no public key, or one that no algorithm fits."""
        self.pem = pem.strip() + "\n"
        self.material = _load(self.pem)
        self.algorithms = algorithms_of(self.material)

    def __repr__(self) -> str:
        return f"PublicKey({kind_of(self.material)})"

    def __eq__(self, other: object) -> bool:
        return self.pem == other.pem if isinstance(other, PublicKey) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.pem)

    @classmethod
    def __get_pydantic_json_schema__(cls, source: object, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """For editors."""
        del source, handler
        return dict(PUBLIC_KEY)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Accept text or ``{file: …}``; serialise as the text."""
        del source, handler
        return core_schema.with_info_plain_validator_function(
            _read, serialization=core_schema.plain_serializer_function_ser_schema(lambda key: key.pem)
        )


def _read(value: object, info: core_schema.ValidationInfo) -> PublicKey:
    if isinstance(value, PublicKey):
        return value
    text = read_file(value, info.context, "a public key") if isinstance(value, dict) else text_of(value)
    if text is None:
        raise ValueError("a public key is text in PEM form, or {file: PATH}")
    return PublicKey(text)


def _load(pem: str) -> Any:
    if "PRIVATE KEY-----" in pem:
        raise ValueError("is a private key: the gateway needs only its public half (openssl pkey -in KEY -pubout)")
    try:
        if "-----BEGIN CERTIFICATE-----" in pem:
            return x509.load_pem_x509_certificate(pem.encode()).public_key()
        return load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("is no public key in PEM form (-----BEGIN PUBLIC KEY-----)") from None


def algorithms_of(key: Any) -> frozenset[str]:
    """The algorithms that `key` (an object of the package cryptography) fits.

    Raises:
        ValueError: none, with a sentence that says why.

    """
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size not in RSA_BITS:
            raise ValueError(f"is an RSA key of {key.key_size} bits: it takes {RSA_BITS.start} to {RSA_BITS.stop - 1}")
        return frozenset(RSA)
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
        return frozenset((CURVES[key.curve.name],))
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return frozenset(("EdDSA",))
    raise ValueError(f"is a key that signs no tokens ({kind_of(key)})")


def kind_of(key: Any) -> str:
    """In words, for messages."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA, {key.key_size} bits"
    return key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__.removesuffix("PublicKey")

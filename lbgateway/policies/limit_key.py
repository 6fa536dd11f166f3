"""Who is counted: what a limit's ``key`` reads from an exchange. Pure.

A request without the header, the claim or the subject that a limit counts by is counted by its client address: leaving
something out is no way around a limit. Values and addresses never meet: a value begins with ``=``.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from lbgateway.policies.client_address import key_of_address

if TYPE_CHECKING:
    from collections.abc import Callable

    KeyOf = Callable[[Any], bytes]

LONG_BYTES = 32
"""Longer values are kept as digests: what a client sends must not decide how much is kept of it."""


def key_reader(key: str) -> KeyOf:
    """The reader of a ``key`` as the configuration writes it."""
    kind, _, name = key.partition(":")
    if kind == "header":
        return header_reader(name)
    if kind == "claim":
        return claim_reader(name)
    return {"client": client_key, "subject": claim_reader("sub"), "route": route_key}[kind]


def needs_identity(key: str) -> bool:
    """Whether it can be asked only when it is known who is asking."""
    return key == "subject" or key.startswith("claim:")


def client_key(exchange: Any) -> bytes:
    client = exchange.downstream
    if client.trusted and exchange.head.forwarded is not None:
        key: bytes = exchange.plane.clients.key_of(client.peer, exchange.head.forwarded)
        return key
    # The same with every request of a connection.
    return client.client_key or _own_key(client)


def _own_key(client: Any) -> bytes:
    client.client_key = key = key_of_address(client.peer)
    return key


def route_key(exchange: Any) -> bytes:
    label: str = exchange.route.label
    return b"=" + label.encode()


def header_reader(name: str) -> KeyOf:
    wanted = name.lower().encode()

    def read(exchange: Any) -> bytes:
        lines = exchange.head.lines
        found = [lines[index + 2].strip() for index in range(1, len(lines) - 2, 4) if lines[index].lower() == wanted]
        return _bounded(b", ".join(found)) if found else client_key(exchange)

    return read


def claim_reader(name: str) -> KeyOf:
    def read(exchange: Any) -> bytes:
        identity = exchange.identity
        key: bytes | None = None if identity is None else identity.keys.get(name)
        return key or _key_of_claim(exchange, name)

    return read


def _key_of_claim(exchange: Any, name: str) -> bytes:
    identity = exchange.identity
    value = None if identity is None else identity.claims.get(name)
    if value is None or isinstance(value, dict | list):
        return client_key(exchange)
    # The same with every request of that identity.
    identity.keys[name] = key = _bounded(str(value).encode("utf-8", "surrogatepass"))
    return key


def _bounded(value: bytes) -> bytes:
    return b"=" + (value if len(value) <= LONG_BYTES else b"#" + blake2b(value, digest_size=LONG_BYTES).digest())

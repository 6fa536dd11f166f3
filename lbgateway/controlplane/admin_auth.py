"""Who may see the gateway's inside. Pure: facts in, a refusal or None out."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

from lbgateway.errors import BadRequest, Forbidden, GatewayError, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Sequence

Verify = Callable[[str], Mapping[str, Any] | None]
"""A token's claims if its signature and dates hold, else None; never raises."""

_INVALID = b'WWW-Authenticate: Bearer error="invalid_token"\r\n'


@dataclass(frozen=True, slots=True)
class AdminAccess:
    """What opens the door. `verify` is None unless the gateway can check tokens itself."""

    token: str | None = None
    scope: str = "admin"
    allow_loopback: bool = False
    verify: Verify | None = None


def refusal(access: AdminAccess, authorization: Sequence[bytes], peer: str | None) -> GatewayError | None:
    """None if the caller may see admin data.

    `authorization` holds the values of all Authorization fields. `peer` is the address at the other end
    of the TCP connection: never anything that a header says, or every client could be local.
    """
    if len(authorization) > 1:
        # Parties that read different ones would disagree about who is asking.
        return BadRequest("More than one Authorization header field.")
    if access.allow_loopback and is_loopback(peer):
        return None
    if access.token is None and access.verify is None:
        return Forbidden("Admin access is closed: set admin.token in the gateway's configuration to open it.")
    if not authorization:
        return Unauthenticated('Send "Authorization: Bearer <token>" with the admin token or a JWT with the admin scope.', headers=_INVALID)
    return _judge(access, authorization[0])


def _judge(access: AdminAccess, authorization: bytes) -> GatewayError | None:
    credentials = bearer(authorization)
    if credentials is None:
        return Unauthenticated("The Authorization header field does not hold a Bearer token.", headers=_INVALID)
    if access.token is not None and hmac.compare_digest(credentials, access.token.encode()):
        return None
    claims = access.verify(credentials.decode("latin-1")) if access.verify is not None else None
    if claims is None:
        return Unauthenticated("The token is not valid.", headers=_INVALID)
    if access.scope not in scopes(claims):
        challenge = f'WWW-Authenticate: Bearer error="insufficient_scope", scope="{access.scope}"\r\n'
        return Forbidden(f'The token lacks the scope "{access.scope}".', headers=challenge.encode())
    return None


def bearer(authorization: bytes) -> bytes | None:
    """The token of ``Bearer <token>``; the scheme's case does not matter (RFC 9110, section 11.1)."""
    scheme, _, token = authorization.strip().partition(b" ")
    token = token.strip()
    return token if scheme.lower() == b"bearer" and token and b" " not in token else None


def scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """The scopes of a token: ``scope`` is one text (RFC 8693, section 4.2), some issuers write a list or ``scp``."""
    found: set[str] = set()
    for value in (claims.get("scope"), claims.get("scp")):
        if isinstance(value, str):
            found.update(value.split())
        elif isinstance(value, (list, tuple)):
            found.update(item for item in value if isinstance(item, str))
    return frozenset(found)


def is_loopback(peer: str | None) -> bool:
    """True for 127.0.0.0/8, ::1 and its IPv4-mapped form; False for a Unix socket or what is no address."""
    try:
        address = ip_address((peer or "").partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback

"""Who may see the gateway's inside. Pure: facts in, a name or a refusal out."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from lbgateway.errors import INVALID_TOKEN, Forbidden, GatewayError, Unauthenticated
from lbgateway.policies.identity import Identity
from lbgateway.policies.wait import Flight

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Verify = Callable[[bytes, float | None], Identity | GatewayError | Flight]
"""Whose a token is that was first shown at a moment (of the monotonic clock; None: now), or why it is not believed.

A flight brings what has to be known first.
"""


@dataclass(frozen=True, slots=True)
class AdminAccess:
    """What opens the door. `verify` is None unless the gateway can check tokens itself."""

    token: str | None = None
    scope: str = "admin"
    allow_loopback: bool = False
    verify: Verify | None = None


ADMIN_TOKEN, LOOPBACK = "admin token", "loopback"


def caller(
    access: AdminAccess, authorization: Sequence[bytes], peer: str | None, came_at_s: float | None = None
) -> str | GatewayError | Flight:
    """Who the caller is, if he may see admin data, as the audit log names him; a flight if that is not known yet.

    `authorization` holds the values of all Authorization fields. `peer` is the address at the other end
    of the TCP connection: never anything that a header says, or every client could be local. `came_at_s` is when
    the request came, of the monotonic clock: who asks again after a flight says so, or it could wait without end.
    """
    if len(authorization) > 1:
        # Parties that read different ones would disagree about who is asking.
        return Unauthenticated("More than one Authorization header field.", headers=INVALID_TOKEN)
    if access.allow_loopback and is_loopback(peer):
        return LOOPBACK
    if access.token is None and access.verify is None:
        return Forbidden("Admin access is closed: set admin.token in the gateway's configuration to open it.")
    if not authorization:
        what_to_send = 'Send "Authorization: Bearer <token>" with the admin token or a JWT with the admin scope.'
        return Unauthenticated(what_to_send, headers=INVALID_TOKEN)
    return _judge(access, authorization[0], came_at_s)


def from_another_site(headers: Mapping[str, str], who: str) -> bool:
    """Whether a page that is not the gateway's own may be behind a request that changes something.

    `headers` in lower case, `who` as `caller` says. Browsers tell where a request comes from: all of today by Sec-Fetch-Site,
    and by Origin with each POST. A program says neither. Where the loopback needs no token, a page could still rename
    itself to us (DNS rebinding): so there we have to be called by a name that nobody can register.
    """
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return True
    host = headers.get("host", "").lower()
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != host:
        return True
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return who == LOOPBACK and name != "localhost" and not is_loopback(name)


def _judge(access: AdminAccess, authorization: bytes, came_at_s: float | None) -> str | GatewayError | Flight:
    credentials = bearer(authorization)
    if credentials is None:
        return Unauthenticated("The Authorization header field does not hold a Bearer token.", headers=INVALID_TOKEN)
    if access.token is not None and hmac.compare_digest(credentials, access.token.encode()):
        return ADMIN_TOKEN
    found = access.verify(credentials, came_at_s) if access.verify is not None else None
    if found is None:
        return Unauthenticated("The token is not valid.", headers=INVALID_TOKEN)
    if not isinstance(found, Identity):
        return found
    if access.scope not in found.scopes:
        challenge = f'WWW-Authenticate: Bearer error="insufficient_scope", scope="{access.scope}"\r\n'
        return Forbidden(f'The token lacks the scope "{access.scope}".', headers=challenge.encode())
    # Quoted, or a subject could call itself "admin token".
    return f"subject {found.subject!r}" if found.subject is not None else "a token without a subject"


def bearer(authorization: bytes) -> bytes | None:
    """The token of ``Bearer <token>``; the scheme's case does not matter (RFC 9110, section 11.1)."""
    scheme, _, token = authorization.strip().partition(b" ")
    token = token.strip()
    return token if scheme.lower() == b"bearer" and token and b" " not in token else None


def is_loopback(peer: str | None) -> bool:
    """True for 127.0.0.0/8, ::1 and its IPv4-mapped form; False for a Unix socket or what is no address."""
    try:
        address = ip_address((peer or "").partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback

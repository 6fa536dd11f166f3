"""Whether a token that is genuine still holds, by the word of whoever gave it out: the second opinion beside ``auth.jwt``.

Without ``auth.jwt`` the authority is the only one to ask, and `jwt_auth.JwtAuth` asks it in the verifier's place.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from lbgateway.policies.credential import credential_of
from lbgateway.policies.memory import DIGEST_BYTES

if TYPE_CHECKING:
    from lbgateway.errors import GatewayError
    from lbgateway.policies.authority import Authority
    from lbgateway.policies.wait import Wait


class TokenConfirmed:
    """Behind `JwtAuth`, with the same cookie's name; the claims of the token stay those that count."""

    __slots__ = ("_cookie", "authority")

    def __init__(self, authority: Authority, cookie: bytes | None = None) -> None:
        self.authority = authority
        self._cookie = cookie

    def confirm(self, exchange: Any) -> GatewayError | Wait | None:
        """A policy."""
        identity, head = exchange.identity, exchange.head
        if identity is None:
            return None  # nobody was asked, or nobody had to answer
        token = credential_of(head.authorization, head.lines, self._cookie)
        assert token is not None
        known = self.authority.remembered.get(blake2b(token, digest_size=DIGEST_BYTES).digest())
        if known is not None and known.until_s > exchange.started_s and known.claims.get("sub") == identity.claims.get("sub"):
            return None
        return self.authority.confirm(identity, token, self.confirm)

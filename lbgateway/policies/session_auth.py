"""The session that a request belongs to: the only credential, or the second one beside a token.

It is named by a cookie, or by a claim of the token. Where both name one it has to be the same: the gateway might look at
the one, and a service behind act on the other.
"""

from __future__ import annotations

import re
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from lbgateway.errors import AuthUnavailable, GatewayError
from lbgateway.policies.authority import WAIT_S
from lbgateway.policies.credential import only_cookie
from lbgateway.policies.identity import needs_none
from lbgateway.policies.memory import DIGEST_BYTES
from lbgateway.policies.token import InvalidToken
from lbgateway.policies.wait import Flight, Wait

if TYPE_CHECKING:
    from lbgateway.policies.authority import Authority
    from lbgateway.policies.identity import Identity

_session_id = re.compile(rb"[A-Za-z0-9._~+/=%-]{1,256}").fullmatch
"""Whatever frameworks use, and nothing that could mean something in a key of Redis (a colon) or in a header."""


class SessionAuth:
    """Admits by a session that `authority` knows."""

    __slots__ = ("_claim", "_cookie", "authority", "optional", "required")

    def __init__(self, authority: Authority, cookie: bytes, claim: str) -> None:
        self.authority = authority
        self._cookie = cookie
        self._claim = claim
        self.required = partial(self._judge, optional=False)
        """A policy: only requests of a session pass."""
        self.optional = partial(self._judge, optional=True)
        """A policy: a request without a session passes, one with a bad session does not."""

    # -- alone ---------------------------------------------------------------------------------

    def _judge(self, exchange: Any, *, optional: bool) -> GatewayError | Wait | None:
        if (exchange.route.public is not None or exchange.head.method == b"OPTIONS") and needs_none(exchange):
            return None
        authority = self.authority
        try:
            given = only_cookie(exchange.head.lines, self._cookie)
            if not given:
                return None if optional else authority.refusal("missing")
            found: Identity | GatewayError | Flight | None
            found = authority.remembered.get(blake2b(given, digest_size=DIGEST_BYTES).digest())
            if found is None or found.until_s <= exchange.started_s:
                found = authority.identify(_checked(given))
        except InvalidToken as error:
            return authority.refusal(error.reason)
        if isinstance(found, Flight):
            return Wait(found, self.optional if optional else self.required, WAIT_S, AuthUnavailable(cause="no answer in time"))
        if isinstance(found, GatewayError):
            return found
        exchange.identity, exchange.extra_lines = found, found.lines
        return None

    # -- beside a token ------------------------------------------------------------------------

    def confirm(self, exchange: Any) -> GatewayError | Wait | None:
        """A policy behind those that look at the token: its session must still be there."""
        identity = exchange.identity
        if identity is None:
            return None  # nobody was asked, or nobody had to answer
        authority, claimed = self.authority, identity.claims.get(self._claim)
        try:
            given = only_cookie(exchange.head.lines, self._cookie) or None
            if claimed is not None:
                given = _same(claimed, given)
            if given is None:
                return authority.refusal("missing")
            known = authority.remembered.get(blake2b(given, digest_size=DIGEST_BYTES).digest())
            if known is not None and known.until_s > exchange.started_s and known.claims.get("sub") == identity.claims.get("sub"):
                return None
            return authority.confirm(identity, _checked(given), self.confirm)
        except InvalidToken as error:
            return authority.refusal(error.reason)

    def named_by(self, identity: Identity) -> bytes | None:
        """The session that a token names itself; raises `InvalidToken`."""
        claimed = identity.claims.get(self._claim)
        return None if claimed is None else _checked(_same(claimed, None))


def _same(claimed: object, given: bytes | None) -> bytes:
    if not isinstance(claimed, str) or not claimed.isascii():
        raise InvalidToken("claims")
    named = claimed.encode()
    if given is not None and given != named:
        raise InvalidToken("ambiguous")
    return named


def _checked(session_id: bytes) -> bytes:
    if not _session_id(session_id):
        raise InvalidToken("malformed")
    return session_id

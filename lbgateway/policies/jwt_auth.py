"""Who is asking: the policy that takes a request's token and asks the verifier whose it is."""

from __future__ import annotations

from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol

from lbgateway.errors import AuthUnavailable, GatewayError
from lbgateway.policies.credential import credential_of
from lbgateway.policies.identity import needs_none
from lbgateway.policies.memory import DIGEST_BYTES
from lbgateway.policies.token import InvalidToken
from lbgateway.policies.wait import Flight, Wait

if TYPE_CHECKING:
    from lbgateway.errors import Unauthenticated
    from lbgateway.policies.identity import Identity
    from lbgateway.policies.memory import Memory

WAIT_S = 15.0
"""For how long a request waits for keys (seconds): until they may be fetched, and for that."""


class Verifier(Protocol):
    """Knows whose a token is: a `TokenVerifier`, or an `Authority` for tokens that say nothing themselves."""

    @property
    def remembered(self) -> Memory[Identity]:
        """By the token's digest."""

    def identify(self, token: bytes, came_at_s: float | None = None) -> Identity | GatewayError | Flight:
        """An error says why it is not believed; a flight brings what has to be known first, after which to ask again.

        `came_at_s`: when it was first shown, of the monotonic clock; now where it is not said.
        """

    def refusal(self, reason: str) -> Unauthenticated:
        """The answer to a token that is not believed, or is missing."""


def bearer_digest(head: Any) -> bytes:
    """The digest of the token in ``Authorization``, kept with the head; empty if there is none."""
    given = head.authorization
    if given is not None and given[:7] == b"Bearer ":
        head.digest = digest = blake2b(given[7:], digest_size=DIGEST_BYTES).digest()
        return digest
    return b""


class JwtAuth:
    """Admits by a token in ``Authorization`` or, if it has a name, in a cookie."""

    __slots__ = ("_cookie", "_header_only", "verifier")

    def __init__(self, verifier: Verifier, cookie: bytes | None = None) -> None:
        self.verifier = verifier
        self._cookie = cookie
        self._header_only = cookie is None

    def required(self, exchange: Any) -> GatewayError | Wait | None:
        """A policy: only requests with a valid token pass."""
        head = exchange.head
        if self._header_only and exchange.route.public is None:
            # A head that repeats itself is one object: then the digest is at hand.
            known = self.verifier.remembered.get(head.digest or bearer_digest(head))
            if known is not None and known.until_s > exchange.started_s and head.method != b"OPTIONS":
                exchange.identity, exchange.extra_lines = known, known.lines
                return None
        return self._judge(exchange, optional=False)

    def optional(self, exchange: Any) -> GatewayError | Wait | None:
        """A policy: a request without a token passes, one with a bad token does not."""
        return self._judge(exchange, optional=True)

    def _judge(self, exchange: Any, *, optional: bool) -> GatewayError | Wait | None:
        if needs_none(exchange):
            return None
        head, verifier = exchange.head, self.verifier
        try:
            token = credential_of(head.authorization, head.lines, self._cookie)
        except InvalidToken as error:
            return verifier.refusal(error.reason)
        if token is None:
            return None if optional else verifier.refusal("missing")
        found = verifier.identify(token, exchange.started_s)
        if isinstance(found, Flight):
            return Wait(found, partial(self._judge, optional=optional), WAIT_S, AuthUnavailable(cause="the keys did not come in time"))
        if isinstance(found, GatewayError):
            return found
        exchange.identity, exchange.extra_lines = found, found.lines
        return None

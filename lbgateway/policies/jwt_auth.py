"""Who is asking: a JWT in ``Authorization``, verified once and remembered until it expires.

Algorithms are fixed by the configuration and never taken from the token (RFC 8725, 3.1). Verifying
costs 50 microseconds or more, a remembered token a dict lookup.
"""

from __future__ import annotations

from time import monotonic, time
from typing import TYPE_CHECKING, Any

import jwt

from lbgateway.errors import Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lbgateway.errors import GatewayError

REMEMBERED_TOKENS = 10_000
WITHOUT_EXPIRY_S = 60.0
"""For how long a token is believed that says nothing of its end, before it is verified again (seconds)."""

# Bounded labels: the kind of failure, never what the token said.
KINDS = {"ExpiredSignatureError": "expired", "InvalidSignatureError": "signature", "InvalidAlgorithmError": "algorithm"}
INVALID = b'WWW-Authenticate: Bearer error="invalid_token"\r\n'
"""For a missing token as well, on all doors: one answer of one gateway, whatever is wrong (the contract, section 7)."""


class TokenVerifier:
    """Checks tokens against one shared secret; remembers at most `REMEMBERED_TOKENS`, the oldest goes first.

    `claims_to_headers`: claim -> header name, for the services behind.
    """

    def __init__(
        self,
        *,
        secret: str,
        algorithms: tuple[str, ...],
        issuer: str | None,
        audience: tuple[str, ...] | None,
        leeway_s: float,
        required_claims: tuple[str, ...],
        claims_to_headers: Mapping[str, str],
        count_failure: Callable[[str], None],
    ) -> None:
        self._secret = secret
        self._rules: dict[str, Any] = {
            "algorithms": list(algorithms),
            "issuer": issuer,
            "audience": list(audience) if audience is not None else None,
            "leeway": leeway_s,
            "options": {"require": list(required_claims), "verify_aud": audience is not None, "verify_iss": issuer is not None},
        }
        self._leeway_s = leeway_s
        self._headers = tuple(claims_to_headers.items())
        self._count_failure = count_failure
        self.remembered: dict[bytes, tuple[float, bytes]] = {}
        """Authorization field -> (monotonic end, header lines)."""

    def claims_of(self, token: str) -> dict[str, Any] | None:
        """The claims of a valid token, or None; never raises."""
        try:
            return jwt.decode(token, self._secret, **self._rules)
        except jwt.PyJWTError as error:
            self._count_failure(KINDS.get(type(error).__name__, "invalid"))
            return None

    def verify(self, authorization: bytes) -> bytes | None:
        """The header lines that a valid ``Authorization`` turns into, or None. Off the warm path."""
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            self._count_failure("scheme")
            return None
        claims = self.claims_of(token.strip().decode("latin-1"))
        if claims is None:
            return None
        lines = b"".join(line for claim, header in self._headers if (line := _header_line(header, claims.get(claim))))
        left_s = WITHOUT_EXPIRY_S if "exp" not in claims else float(claims["exp"]) + self._leeway_s - time()
        self.remembered.pop(authorization, None)
        if len(self.remembered) >= REMEMBERED_TOKENS:
            del self.remembered[next(iter(self.remembered))]
        self.remembered[authorization] = (monotonic() + left_s, lines)
        return lines

    def required(self, exchange: Any) -> GatewayError | None:
        """A policy: only requests with a valid token pass."""
        known = self.remembered.get(exchange.head.authorization)
        if known is not None and known[0] > exchange.started_s and exchange.route.public is None:
            exchange.extra_lines = known[1]
            return None
        return self._judge(exchange, optional=False)

    def optional(self, exchange: Any) -> GatewayError | None:
        """A policy: a request without a token passes, one with a bad token does not."""
        return self._judge(exchange, optional=True)

    def _judge(self, exchange: Any, *, optional: bool) -> GatewayError | None:
        route, authorization = exchange.route, exchange.head.authorization
        if route.is_public(exchange.target.path) or (exchange.head.method == b"OPTIONS" and route.options_public):
            return None
        if authorization is None:
            if optional:
                return None
            self._count_failure("missing")
            return Unauthenticated(headers=INVALID)
        known = self.remembered.get(authorization)
        lines = known[1] if known is not None and known[0] > exchange.started_s else self.verify(authorization)
        if lines is None:
            return Unauthenticated("The token is not valid", headers=INVALID)
        exchange.extra_lines = lines
        return None


def _header_line(header: str, value: object) -> bytes:
    """One forwarded claim; what would not be one clean header value is left out."""
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value) if isinstance(value, str | int | float) else ""
    return f"{header}: {text}\r\n".encode() if text and text.isprintable() else b""

"""Whether a token is believed, and whose it is: found out once and remembered until it expires.

Verifying costs 50 microseconds or more, a remembered token a digest and a dict lookup. Good tokens and bad ones are
remembered apart, each bounded: nobody pushes out the good ones by inventing bad ones. Only digests are kept.

A token by a key that is not known (yet) may have to wait for the keys to be fetched again (`unknown_key`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from lbgateway.config.public_key import HMAC
from lbgateway.errors import INVALID_TOKEN, AuthUnavailable, GatewayError, Unauthenticated
from lbgateway.policies.claims import ClaimRules, check_claims, lifetime_s
from lbgateway.policies.identity import Identity, claim_lines
from lbgateway.policies.keys import Key, candidates
from lbgateway.policies.memory import Memory, digest_of
from lbgateway.policies.token import InvalidToken, read_head, signed_by
from lbgateway.policies.unknown_key import KeySearch, KeySource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lbgateway.policies.wait import Flight

MISSING = "A token is needed: Authorization: Bearer <token>"
REMEMBERED_TOKENS, REFUSED_TOKENS = 10_000, 1_000
REFUSED_S = 60.0
LASTING = ("signature", "claims", "expired", "issuer", "audience")
"""What was expensive to find out and will be true a minute later."""


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What is asked of tokens."""

    algorithms: frozenset[str]
    keys: tuple[Key, ...] = ()
    """Those of the configuration."""
    claims: ClaimRules = field(default_factory=ClaimRules)
    forwarded: Mapping[str, str] = field(default_factory=dict)
    """Claim -> name of the header that carries it to services."""


class TokenVerifier:
    """Checks tokens, by `rules` and with the keys of `source`; counts each failure by a word of a small set."""

    def __init__(self, rules: TokenRules, count_failure: Callable[[str], None], source: KeySource | None = None) -> None:
        self._rules = rules
        self._source = source
        self._count_failure = count_failure
        self.remembered: Memory[Identity] = Memory(REMEMBERED_TOKENS)
        self._refused: Memory[tuple[str, float]] = Memory(REFUSED_TOKENS)
        """Why, and until when that need not be found out again."""

        self._search = KeySearch(source, rules.claims) if source is not None else None

    def identify(self, token: bytes, came_at_s: float | None = None) -> Identity | GatewayError | Flight:
        """Whose a token is; an error says why it is not believed; a flight brings keys, after which to ask again.

        `came_at_s`: when it was first shown, of the monotonic clock; now where it is not said.
        """
        digest, now_s = digest_of(token), monotonic()
        known = self.remembered.get(digest)
        if known is not None and known.until_s > now_s:
            return known
        reason, until_s = self._refused.get(digest, ("", 0.0))
        if until_s > now_s:
            return self.refusal(reason)
        try:
            claims = self._proven(token)
        except InvalidToken as error:
            if error.reason in LASTING:
                self._refused.remember(digest, (error.reason, now_s + REFUSED_S))
            if error.reason == "unknown_key":
                return self._without_key(token, digest, now_s if came_at_s is None else came_at_s)
            return self.refusal(error.reason)
        identity = Identity(claims, claim_lines(claims, self._rules.forwarded), now_s + lifetime_s(claims, self._rules.claims, time()))
        self.remembered.remember(digest, identity)
        return identity

    def refusal(self, reason: str) -> Unauthenticated:
        """The answer to a token that is not believed, or is missing; the client is not told why."""
        self._count_failure(reason)
        return Unauthenticated(MISSING if reason == "missing" else "The token is not valid", cause=reason, headers=INVALID_TOKEN)

    def forget(self, *, all_tokens: bool) -> None:
        """The keys are others now: some refusals may be wrong, and if a key was taken away (`all_tokens`), the rest as well."""
        self._refused.clear()
        if all_tokens:
            self.remembered.clear()

    def _proven(self, token: bytes) -> dict[str, Any]:
        source = self._source
        algorithm, key_id = read_head(token, self._rules.algorithms)
        keys, certain = candidates((*self._rules.keys, *(source.keys if source is not None else ())), algorithm, key_id)
        claims = signed_by(token, algorithm, keys)
        if claims is None:
            known = certain or source is None or algorithm in HMAC
            raise InvalidToken("signature" if known else "unknown_key")
        check_claims(claims, self._rules.claims, time())
        return claims

    def _without_key(self, token: bytes, digest: bytes, came_at_s: float) -> GatewayError | Flight:
        assert self._search is not None
        key_id = read_head(token, self._rules.algorithms).key_id
        found = self._search.outcome(token, digest, key_id, came_at_s)
        if isinstance(found, AuthUnavailable):
            self._count_failure("unavailable")
        return found or self.refusal("unknown_key")

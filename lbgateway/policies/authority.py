"""Whoever knows more about credentials than they say themselves, a store of sessions or a service: asked once, and remembered.

A good answer is remembered for as long as the configuration says (``cache``) and never beyond the credential's own end; so
long it may take until a revocation is noticed. A bad one is remembered for a second at most. Each kind has a bounded
memory of its own: nobody pushes out the good ones by inventing bad ones. Only digests are kept.

While one question is under way, all who have the same one wait for it. Where no answer comes, nobody is believed, but
nobody is told 401 either: it may be good, and a client would throw it away.
"""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from lbgateway.errors import INVALID_TOKEN, AuthUnavailable, GatewayError, Unauthenticated
from lbgateway.policies.identity import Identity, agree, claim_lines
from lbgateway.policies.memory import Memory, digest_of
from lbgateway.policies.testimony import Fails, Holds, Silence
from lbgateway.policies.token import MAX_TOKEN_BYTES
from lbgateway.policies.wait import Flight, Wait

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lbgateway.policies.testimony import Testimony

    Decide = Callable[[Any], GatewayError | Wait | None]
    Ask = Callable[[bytes, Callable[[Testimony], None]], None]
    """Begin to ask about a credential; the answer is told later, never at once."""

REMEMBERED, REFUSED, UNANSWERED = 10_000, 2_000, 2_000
REFUSED_S, UNANSWERED_S = 1.0, 0.5
MOST_ASKED = 1_000
"""So many questions may be under way; whoever invents credentials could have us ask without end."""
WAIT_S = 5.0
"""For how long a request waits (seconds); who asks gives up before that."""


class AuthorityRules(NamedTuple):
    """`keep_s`: for how long a good answer is believed. `subject_needed`: a credential that belongs to nobody is none."""

    keep_s: float
    forwarded: Mapping[str, str]
    subject_needed: bool
    missing: str
    """What to send, for a client that has sent nothing."""


class Authority:
    """Has the interface of `token_verifier.TokenVerifier`; counts each refusal by a word of a small set."""

    def __init__(self, ask: Ask, rules: AuthorityRules, count_failure: Callable[[str], None]) -> None:
        self._ask = ask
        self._rules = rules
        self._count_failure = count_failure
        self.remembered: Memory[Identity] = Memory(REMEMBERED)
        self._refused: Memory[tuple[str, float]] = Memory(REFUSED)
        """Why, and until when that need not be asked again."""
        self._unanswered: Memory[tuple[str, float]] = Memory(UNANSWERED)
        self._flights: dict[bytes, Flight] = {}

    def identify(self, credential: bytes, _came_at_s: float | None = None) -> Identity | GatewayError | Flight:
        """Whose a credential is; an error says why it is not believed; a flight brings the answer, after which to ask again."""
        if len(credential) > MAX_TOKEN_BYTES:
            return self.refusal("malformed")
        digest, now_s = digest_of(credential), monotonic()
        known = self.remembered.get(digest)
        if known is not None and known.until_s > now_s:
            return known
        reason, until_s = self._refused.get(digest, ("", 0.0))
        if until_s > now_s:
            return self.refusal(reason)
        cause, until_s = self._unanswered.get(digest, ("", 0.0))
        if until_s > now_s:
            return self._unavailable(cause)
        flight = self._flights.get(digest)
        if flight is None:
            if len(self._flights) >= MOST_ASKED:
                return self._unavailable(f"{MOST_ASKED} questions are under way")
            flight = self._flights[digest] = Flight()
            self._ask(credential, partial(self._heard, digest))
        return flight

    def confirm(self, identity: Identity, credential: bytes, again: Decide) -> GatewayError | Wait | None:
        """Whether a credential holds, too, beside the one that `identity` comes from. `again` is the policy that asks."""
        found = self.identify(credential)
        if isinstance(found, Flight):
            return Wait(found, again, WAIT_S, AuthUnavailable(cause="no answer in time"))
        if isinstance(found, GatewayError):
            return found
        return None if agree(identity, found) else self.refusal("subject")

    def refusal(self, reason: str) -> Unauthenticated:
        """The answer to a credential that is not believed, or is missing; the client is not told why."""
        self._count_failure(reason)
        detail = self._rules.missing if reason == "missing" else "The credentials are not valid"
        return Unauthenticated(detail, cause=reason, headers=INVALID_TOKEN)

    def _unavailable(self, cause: str) -> AuthUnavailable:
        self._count_failure("unavailable")
        return AuthUnavailable(cause=cause)

    def _heard(self, digest: bytes, testimony: Testimony) -> None:
        now_s = monotonic()
        if isinstance(testimony, Holds) and self._rules.subject_needed and not testimony.claims.get("sub"):
            testimony = Fails("claims")
        if isinstance(testimony, Holds):
            claims, for_s = testimony.claims, min(testimony.for_s, self._rules.keep_s)
            self.remembered.remember(digest, Identity(claims, claim_lines(claims, self._rules.forwarded), now_s + for_s))
        elif isinstance(testimony, Silence):
            self._unanswered.remember(digest, (testimony.cause, now_s + UNANSWERED_S))
        else:
            self.remembered.pop(digest, None)
            self._refused.remember(digest, (testimony.reason, now_s + min(REFUSED_S, self._rules.keep_s)))
        self._flights.pop(digest).land()

"""What becomes of a token by a published key that is not known (yet).

It waits for the keys to be fetched again, at once or, if that may not be yet, for as long as it takes until it may: a rotation
fails no request. It is refused when they have been fetched since it came, and still do not hold its key. While the source is
away such a token may well be good: the answer is 503, never 401. So it is where there is no room for one more who waits.

Nobody waits, and nothing is fetched, for a token that is refused whoever has signed it, because of what it claims. Longer than
a fetch takes waits only one that may be by a key which was published since: it does not say that it is older than those that
are known, and does not name one that was taken away. What an unproven token says is believed for nothing else: it chooses
between refusals of this very request, and is not kept.
"""

from __future__ import annotations

from math import ceil
from time import monotonic, time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from lbgateway.errors import AuthUnavailable
from lbgateway.policies.claims import ClaimRules, check_claims, issued_before
from lbgateway.policies.memory import Memory
from lbgateway.policies.token import InvalidToken, unproven

if TYPE_CHECKING:
    from collections.abc import Container

    from lbgateway.policies.keys import Key
    from lbgateway.policies.wait import Flight

SOUGHT_TOKENS = 1_000
SOUGHT_S, LONGEST_SOUGHT_S = 10.0, 300.0
"""No keys are fetched for a token for so long, once they were in vain; each further time doubles it."""


class KeySource(Protocol):
    """Where published keys come from."""

    @property
    def keys(self) -> tuple[Key, ...]: ...

    @property
    def withdrawn(self) -> Container[str | None]:
        """Names of keys that were taken away."""

    @property
    def fresh(self) -> bool:
        """The last attempt to fetch them went well."""

    @property
    def read_at_s(self) -> float:
        """When the fetch began that they are from; of the monotonic clock."""

    def refetch(self) -> Flight | None:
        """Fetch them once more; lands when that is done. None if it was done a moment ago."""

    def next_fetch(self) -> Flight | None:
        """For who can wait until they may be fetched; lands when that is done. None if too many do."""

    def again_in_s(self) -> float:
        """When that may be, if it may not now."""


class Sought(NamedTuple):
    """A token that keys were fetched for in vain, so many `times`; and until when it is left at that."""

    until_s: float
    times: int


class KeySearch:
    """For the tokens of one verifier."""

    def __init__(self, source: KeySource, rules: ClaimRules) -> None:
        self._source = source
        self._rules = rules
        self._sought: Memory[Sought] = Memory(SOUGHT_TOKENS)

    def outcome(self, token: bytes, digest: bytes, key_id: str | None, came_at_s: float) -> Flight | AuthUnavailable | None:
        """What to wait for, or what to say; None for a token that is not believed.

        `digest`: of the token. `key_id`: the name of its key, if it says one. `came_at_s`: of the monotonic clock.
        """
        source, sought = self._source, self._sought.get(digest)
        if source.fresh and sought is not None and sought.until_s > came_at_s:
            return None
        if source.fresh and source.read_at_s >= came_at_s:
            times = sought.times if sought is not None else 0
            until_s = source.read_at_s + min(SOUGHT_S * 2**times, LONGEST_SOUGHT_S)
            self._sought.remember(digest, Sought(until_s, times + 1))
            return None
        return without_key(token, key_id, source, self._rules)


def without_key(token: bytes, key_id: str | None, source: KeySource, rules: ClaimRules) -> Flight | AuthUnavailable | None:
    """The same for a token that came after the keys had been fetched."""
    claims = _plausible(token, rules)
    if claims is None:
        return None
    flight = source.refetch()
    if flight is not None:
        return flight
    if not source.fresh:
        return AuthUnavailable(cause="the token's key is not known, and the keys cannot be fetched")
    if key_id in source.withdrawn or issued_before(claims, rules, time() - monotonic() + source.read_at_s):
        return None
    cause = "the token's key is not known, the keys were fetched a moment ago, and too many wait for them"
    again_s = max(1, ceil(source.again_in_s()))
    return source.next_fetch() or AuthUnavailable(cause=cause, headers=b"Retry-After: %d\r\n" % again_s)


def _plausible(token: bytes, rules: ClaimRules) -> dict[str, Any] | None:
    """What a token claims, if a key could make it a good one."""
    try:
        claims = unproven(token)
        check_claims(claims, rules, time())
    except InvalidToken:
        return None
    return claims

"""What becomes of a token by a published key that is not known (yet).

It waits for the keys to be fetched again, if that may be; how often it may is the source's to say. It is refused when they have
been fetched since it came, and still do not hold its key. While the source is away such a token may well be good: the answer
is 503, never 401. So it is while the keys may not be fetched again and the token says that it is younger than they are; an older
one would have been signed by a key that they hold. What an unproven token says is believed for nothing else: it
chooses between two refusals of this very request, and is not kept. Nobody is held up.
"""

from __future__ import annotations

from math import ceil
from time import monotonic, time
from typing import TYPE_CHECKING, Protocol

from lbgateway.errors import AuthUnavailable
from lbgateway.policies.claims import ClaimRules, check_claims, issued_after
from lbgateway.policies.token import InvalidToken, unproven

if TYPE_CHECKING:
    from lbgateway.policies.keys import Key
    from lbgateway.policies.wait import Flight


class KeySource(Protocol):
    """Where published keys come from."""

    @property
    def keys(self) -> tuple[Key, ...]: ...

    @property
    def fresh(self) -> bool:
        """The last attempt to fetch them went well."""

    @property
    def read_at_s(self) -> float:
        """When the fetch began that they are from; of the monotonic clock."""

    def refetch(self, *, again: bool = False) -> Flight | None:
        """Fetch them once more; lands when that is done. None if it was done a moment ago.

        `again`: for a token for which that was in vain.
        """

    def again_in_s(self) -> float:
        """When that may be, if it may not now."""


def without_key(
    token: bytes, came_at_s: float, source: KeySource, rules: ClaimRules, *, again: bool
) -> Flight | AuthUnavailable | None:
    """What to wait for, or what to say; None for a token that is not believed. `came_at_s`: of the monotonic clock.

    `again`: keys have been fetched for this very token before, in vain.
    """
    if source.fresh and source.read_at_s >= came_at_s:
        return None
    flight = source.refetch(again=again)
    if flight is not None:
        return flight
    if not source.fresh:
        return AuthUnavailable(cause="the token's key is not known, and the keys cannot be fetched")
    if _younger(token, time() - monotonic() + source.read_at_s, rules):
        again_s = max(1, ceil(source.again_in_s()))
        cause = "the token's key is not known, and the keys were fetched a moment ago"
        return AuthUnavailable(cause=cause, headers=b"Retry-After: %d\r\n" % again_s)
    return None


def _younger(token: bytes, read_at_s: float, rules: ClaimRules) -> bool:
    """It says so (`read_at_s`: Unix seconds), and nothing else of what it says is wrong."""
    try:
        claims = unproven(token)
        check_claims(claims, rules, time())
    except InvalidToken:
        return False
    return issued_after(claims, read_at_s)

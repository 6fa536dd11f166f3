"""What one gateway knows of one client of a limit that all gateways share.

The store has the truth; each gateway has an estimate of it, which it moves on with every request that it lets pass and
corrects with every answer. Between two answers it lets pass at most its `allowance`: 5 % of what remained when it heard
last or of what a second brings, and at least 1. It reports what it has let pass when so little of that is left that at the
client's pace the answer will just be there in time, or, where that is earlier, would have to wait for company for `GATHER_S`;
never before half is used, and of a large allowance a tenth before its end, for a client that speeds up. A client that nobody
has asked about has an allowance of 1: its first request passes, the others wait for the answer.

**Error bound.** With n gateways a client gets at most n allowances more than its limit at any moment, that is 5 % for each
gateway, and what comes in while the store does not answer; all of it is reported, and missing afterwards. Over any longer time
the limit holds.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lbgateway.policies.gcra import Limit
    from lbgateway.policies.wait import Flight

ALLOWED_RATIO = 0.05
REFRESH_S, SLOWEST_REFRESH_S = 1.0, 10.0
"""An answer older than this is refreshed with the next request, however little has been used. In between: the time that brings
5 % of the limit, or a client of a slow one would be asked about with every request."""
GATHER_S = 0.05
"""For so long a question that is not urgent waits for others to go along with."""
ANSWER_S = 0.005
"""So long before it is needed an answer is asked for."""
IN_HAND_RATIO = 0.1


class Pace(NamedTuple):
    """The numbers of a limit as they are needed with every request."""

    emission_s: float
    tolerance_s: float
    least: int
    """An allowance that a full and an empty client have alike, so that a store is not asked for every request of a fast limit."""
    refresh_s: float


def pace_of(limit: Limit) -> Pace:
    emission_s = limit.emission_s
    refresh_s = min(max(REFRESH_S, ALLOWED_RATIO * limit.per_s), SLOWEST_REFRESH_S)
    return Pace(emission_s, limit.tolerance_s, max(1, int(ALLOWED_RATIO * min(limit.per_s, 1.0) / emission_s)), refresh_s)


def name_in_store(limit: Limit, key: bytes) -> str:
    """The same on every gateway with the same limit. A digest: keys may be credentials, and stores have readers."""
    what = f"{limit.scope} {limit.key} {limit.requests} {limit.per_s} {limit.burst}".encode()
    return f"lbgateway:limit:{blake2b(what, digest_size=6).hexdigest()}:{blake2b(key, digest_size=16).hexdigest()}"


class Share:
    """One client's. `full_at_s`: the estimate, a moment of the monotonic clock as in `policies.gcra`."""

    __slots__ = ("allowance", "asked", "due_at", "epoch", "flight", "full_at_s", "granted", "heard_at_s", "name", "pace", "spent")

    def __init__(self, name: str, pace: Pace, now_s: float, epoch: int) -> None:
        # for life
        self.name = name
        self.pace = pace
        # since the last answer
        self.full_at_s = now_s
        self.spent = 0
        """Let pass and not known to be reported."""
        self.allowance = self.due_at = 1
        """What may be let pass, and how much of it before the store is asked."""
        self.heard_at_s = now_s
        self.epoch = epoch
        """Of the store: after an outage nothing is known."""
        # with the store
        self.asked = False
        self.granted = 0
        """Counted by the store already, for requests that waited."""
        self.flight: Flight | None = None
        """Those who wait for the next question to be asked."""

    def __repr__(self) -> str:
        return f"<Share spent={self.spent}/{self.allowance} granted={self.granted}{' asked' if self.asked else ''}>"

    def begin_anew(self, epoch: int) -> None:
        """The store may have forgotten, or know better: as for a client that nobody has asked about."""
        self.epoch, self.spent, self.granted = epoch, 0, 0
        self.allowance = self.due_at = 1

    def hear(self, reported: int, ahead_s: float, granted: int, now_s: float) -> None:
        """The store's answer to a report of `reported`: it counts the client `ahead_s` ahead, `granted` new requests included."""
        emission_s, tolerance_s, least, _ = self.pace
        # Of one who is new nothing is known of its pace but that it may be quick.
        soon = int(reported / max(now_s - self.heard_at_s, 1e-6) * (GATHER_S + ANSWER_S))
        self.spent = max(0, self.spent - reported)
        self.granted += granted
        self.full_at_s = now_s + ahead_s + self.spent * emission_s
        self.allowance = max(least, int(ALLOWED_RATIO * (tolerance_s - ahead_s) / emission_s))
        in_hand = max(int(IN_HAND_RATIO * self.allowance), soon)
        self.due_at = max((self.allowance + 1) // 2, self.allowance - in_hand)
        self.heard_at_s = now_s

    def can_wait_s(self, now_s: float) -> float:
        """For how long a question about it may wait for company: until shortly before the first request that would need the answer."""
        if self.flight is not None or not self.spent:
            return 0.0
        lasts_s = (self.allowance - self.spent + 1) * (now_s - self.heard_at_s) / self.spent
        return min(GATHER_S, lasts_s - ANSWER_S)


def says_nothing_from(share: Share) -> float:
    """From when on a share may be forgotten; one that is being asked about may not."""
    return share.full_at_s if not share.asked else float("inf")

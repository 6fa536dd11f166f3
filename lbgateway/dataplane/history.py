"""What has lately become of one endpoint, for whoever asks why: its changes of state, and the picks that chose it."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

KEEP = 20
"""So many of each are remembered (the contract, section 6)."""


class Change(NamedTuple):
    """One change of state; `at_s` is a moment of the monotonic clock."""

    at_s: float
    before: str
    after: str
    reason: str | None


class Candidate(NamedTuple):
    """One that could have been picked: its cost and its load at that moment. None: nobody has asked for its cost."""

    id: str
    node: str
    cost: float | None
    active: int


class Pick(NamedTuple):
    """One choice: among so many (`of`), of which some are named, and why this one."""

    at_s: float
    reason: str
    of: int
    candidates: tuple[Candidate, ...]


class History:
    """Of one endpoint; made with the first thing that is worth remembering, since most have none."""

    __slots__ = ("changes", "picks")

    def __init__(self) -> None:
        self.changes: deque[Change] = deque(maxlen=KEEP)
        self.picks: deque[Pick] = deque(maxlen=KEEP)

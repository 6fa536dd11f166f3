"""How much something kept is worth, as a state machine. Pure.

What is kept never goes away by itself; only its worth changes. `TRANSITIONS` is the whole story: a
good answer makes it fresh, the first failure stale, what the disk remembers is a snapshot until the
registry has spoken, and without a good answer for `max_age` it is expired, wherever it came from.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from discovery.instance import SnapshotState, SourceStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class News(enum.StrEnum):
    """What may happen to it."""

    CONFIRMED = "a good answer"
    OUTDATED = "an answer that may be old"
    FAILED = "a failed read"
    RECALLED = "read from disk"
    LAPSED = "max_age is over"


TRANSITIONS: Final[Mapping[SnapshotState | None, Mapping[News, SnapshotState]]] = {
    None: {
        News.CONFIRMED: SnapshotState.FRESH,
        News.OUTDATED: SnapshotState.STALE,
        News.RECALLED: SnapshotState.SNAPSHOT,
    },
    SnapshotState.FRESH: {
        News.OUTDATED: SnapshotState.STALE,
        News.FAILED: SnapshotState.STALE,
    },
    SnapshotState.STALE: {
        News.CONFIRMED: SnapshotState.FRESH,
        News.LAPSED: SnapshotState.EXPIRED,
    },
    SnapshotState.SNAPSHOT: {
        News.CONFIRMED: SnapshotState.FRESH,
        News.OUTDATED: SnapshotState.STALE,
        News.LAPSED: SnapshotState.EXPIRED,
    },
    SnapshotState.EXPIRED: {
        News.CONFIRMED: SnapshotState.FRESH,
        News.OUTDATED: SnapshotState.STALE,
    },
}
"""State -> what happens -> next state; None: nothing is known. What is not listed changes nothing."""

_AGEING: Final = frozenset(state for state, ways in TRANSITIONS.items() if News.LAPSED in ways)


class Trust:
    """The worth of one thing that is kept, with the moment of its last confirmation and the last error.

    `max_age_s`: without a good answer for so long it is expired; infinite for never.
    """

    __slots__ = ("confirmed_at_s", "last_error", "max_age_s", "state")

    def __init__(self, max_age_s: float) -> None:
        self.max_age_s = max_age_s
        self.state: SnapshotState | None = None
        """None until something is known."""
        self.confirmed_at_s: float | None = None
        self.last_error: str | None = None

    def confirm(self, now_s: float) -> None:
        """Note a good answer."""
        self.confirmed_at_s, self.last_error = now_s, None
        self._enter(News.CONFIRMED)

    def reconfirm(self, at_s: float) -> None:
        """What is fresh was still true at this moment; what is not stays doubted until it is read again."""
        if self.state is SnapshotState.FRESH and self.confirmed_at_s is not None:
            self.confirmed_at_s = max(self.confirmed_at_s, at_s)

    def outdated(self, error: str, now_s: float, as_of_s: float | None = None) -> None:
        """Note an answer that may be old, because of `error`. `as_of_s`: when it was true for certain, if that is known."""
        self.last_error = error
        if self.confirmed_at_s is None:
            self.confirmed_at_s = now_s if as_of_s is None else as_of_s
        elif as_of_s is not None:
            self.confirmed_at_s = max(self.confirmed_at_s, as_of_s)
        self._enter(News.OUTDATED)
        self._lapse(now_s)

    def failed(self, error: str, now_s: float) -> None:
        """Note a read that brought no answer."""
        self.last_error = error
        self._enter(News.FAILED)
        self._lapse(now_s)

    def recall(self, confirmed_at_s: float, now_s: float) -> None:
        """Begin with what the disk remembers, confirmed at a moment before this process began."""
        self.confirmed_at_s = confirmed_at_s
        self._enter(News.RECALLED)
        self._lapse(now_s)

    def expires_in_s(self, now_s: float) -> float | None:
        """Time until it is expired; None if it does not age, or for ever."""
        if self.state not in _AGEING or self.confirmed_at_s is None or self.max_age_s == float("inf"):
            return None
        return max(0.0, self.confirmed_at_s + self.max_age_s - now_s)

    def _lapse(self, now_s: float) -> None:
        if self.confirmed_at_s is not None and now_s - self.confirmed_at_s >= self.max_age_s:
            self._enter(News.LAPSED)

    def _enter(self, news: News) -> None:
        self.state = TRANSITIONS[self.state].get(news, self.state)


_WORST_FIRST: Final = (SnapshotState.EXPIRED, SnapshotState.STALE, SnapshotState.SNAPSHOT, SnapshotState.FRESH)


def status_of(provider: str, trusts: Sequence[Trust], now_s: float) -> SourceStatus:
    """The worst state, the oldest confirmation and the last error of all that is watched and known."""
    confirmed = [trust.confirmed_at_s for trust in trusts if trust.confirmed_at_s is not None]
    failing = [trust for trust in trusts if trust.last_error is not None]
    states = {trust.state for trust in trusts}
    worst = next((state for state in _WORST_FIRST if state in states), None)
    if worst is SnapshotState.FRESH and failing:
        worst = SnapshotState.STALE  # a watch that fails before it ever knew anything is no good news
    return SourceStatus(provider, worst, now_s - min(confirmed) if confirmed else None, failing[0].last_error if failing else None)

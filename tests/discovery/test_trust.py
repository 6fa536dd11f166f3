"""What something kept is worth, event by event."""

from __future__ import annotations

import pytest

from discovery.instance import SnapshotState
from discovery.trust import TRANSITIONS, News, Trust, status_of


def trust_after(*news: News) -> Trust:
    """At 10 s, confirmed at 0 s if ever, with a `max_age` of 60 s."""
    trust = Trust(60.0)
    for one in news:
        happen(trust, one)
    return trust


def happen(trust: Trust, news: News) -> None:
    match news:
        case News.CONFIRMED:
            trust.confirm(0.0)
        case News.OUTDATED:
            trust.outdated("old", 10.0, 0.0)
        case News.FAILED:
            trust.failed("refused", 10.0)
        case News.RECALLED:
            trust.recall(0.0, 10.0)
        case News.LAPSED:
            trust.failed("refused", 60.0)


WAYS = {
    None: (),
    SnapshotState.FRESH: (News.CONFIRMED,),
    SnapshotState.STALE: (News.CONFIRMED, News.FAILED),
    SnapshotState.SNAPSHOT: (News.RECALLED,),
    SnapshotState.EXPIRED: (News.CONFIRMED, News.FAILED, News.LAPSED),
}
"""How to get into a state."""


@pytest.mark.parametrize("state", WAYS)
def test_every_way_of_the_table_is_gone(state: SnapshotState | None) -> None:
    """And what the table does not list changes nothing; only disk memories of something known are no event at all."""
    assert trust_after(*WAYS[state]).state is state
    for news in set(News) - {News.LAPSED} - ({News.RECALLED} if state else set()):
        assert trust_after(*WAYS[state], news).state is TRANSITIONS[state].get(news, state), news
    if News.LAPSED in TRANSITIONS[state]:
        assert trust_after(*WAYS[state], News.LAPSED).state is SnapshotState.EXPIRED


def test_a_failure_before_anything_is_known_leaves_an_error_and_no_state() -> None:
    """Unknown is neither stale nor expired, for however long."""
    trust = Trust(60.0)
    trust.failed("refused", 0.0)
    trust.failed("refused", 1000.0)

    assert (trust.state, trust.confirmed_at_s, trust.last_error) == (None, None, "refused")
    assert trust.expires_in_s(1000.0) is None


def test_it_ends_with_max_age() -> None:
    """Counted from the last good answer."""
    trust = Trust(60.0)
    assert trust.expires_in_s(0.0) is None
    trust.confirm(0.0)
    assert trust.expires_in_s(10.0) is None
    trust.failed("x", 20.0)
    assert (trust.state, trust.expires_in_s(20.0)) == ("stale", 40.0)
    trust.failed("x", 60.0)
    assert (trust.state, trust.expires_in_s(61.0)) == ("expired", None)


def test_what_comes_from_disk_ages_since_it_was_confirmed() -> None:
    """A restart makes nothing younger."""
    young, old = Trust(60.0), Trust(60.0)
    young.recall(70.0, 100.0)
    old.recall(40.0, 100.0)

    assert (young.state, young.expires_in_s(100.0), young.last_error) == ("snapshot", 30.0, None)
    assert old.state == "expired"


def test_an_old_answer_counts_from_when_it_was_true() -> None:
    """Its own age if it has one, now if it is the first; it never makes anything older."""
    unknown, known, recalled = Trust(60.0), Trust(60.0), Trust(60.0)
    unknown.outdated("no leader", 100.0)
    known.confirm(99.0)
    known.outdated("from the cache", 100.0, 90.0)
    recalled.recall(0.0, 100.0)
    assert recalled.state == "expired"
    recalled.outdated("from the cache", 100.0, 90.0)

    assert [(t.state, t.confirmed_at_s) for t in (unknown, known, recalled)] == [("stale", 100.0), ("stale", 99.0), ("stale", 90.0)]


def test_without_max_age_nothing_expires() -> None:
    """Infinite is for ever."""
    trust = Trust(float("inf"))
    trust.confirm(0.0)
    trust.failed("x", 1e9)

    assert (trust.state, trust.expires_in_s(1e9)) == ("stale", None)


def test_only_what_is_fresh_is_confirmed_from_afar() -> None:
    """Never back in time; what is stale must be read itself."""
    trust = Trust(60.0)
    trust.reconfirm(1.0)
    assert trust.state is None
    trust.confirm(10.0)
    trust.reconfirm(9.0)
    trust.reconfirm(20.0)
    trust.failed("x", 30.0)
    trust.reconfirm(40.0)

    assert (trust.state, trust.confirmed_at_s) == ("stale", 20.0)


@pytest.mark.parametrize(
    ("ways", "state", "error"),
    [
        ([], None, None),
        ([()], None, None),
        ([(News.FAILED,)], None, "refused"),
        ([(News.CONFIRMED,), (News.CONFIRMED,)], "fresh", None),
        ([(News.CONFIRMED,), ()], "fresh", None),
        ([(News.CONFIRMED,), (News.FAILED,)], "stale", "refused"),
        ([(News.CONFIRMED,), (News.RECALLED,)], "snapshot", None),
        ([(News.RECALLED,), (News.FAILED,)], "snapshot", "refused"),
        ([(News.RECALLED,), (News.OUTDATED,)], "stale", "old"),
        ([(News.OUTDATED,), (News.RECALLED, News.LAPSED)], "expired", "old"),
    ],
)
def test_a_source_is_worth_what_its_worst_part_is(ways: list[tuple[News, ...]], state: str | None, error: str | None) -> None:
    """What was never heard of has no say, unless it fails while all others are fresh."""
    status = status_of("consul", [trust_after(*way) for way in ways], 25.0)

    assert (status.provider, status.state, status.last_error) == ("consul", state, error)
    assert status.age_s == (25.0 if state else None)

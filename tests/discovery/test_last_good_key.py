"""What is kept of one key."""

from __future__ import annotations

import pytest

from discovery.consul_wire import Consistency, Read, Reply
from discovery.errors import MalformedAnswer
from discovery.instance import KeyValue, SnapshotState
from discovery.last_good_key import LastGoodKey, absence_is_an_answer

PLAIN = Read()
ABSENT = absence_is_an_answer(Reply(404, b"", "9"))


def value(text: bytes, index: str = "7", *, from_cache: bool = False) -> Reply:
    return Reply(200, b'[{"Value": "%b"}]' % text, index, from_cache=from_cache)


@pytest.fixture
def told() -> list[KeyValue]:
    return []


@pytest.fixture
def kept(told: list[KeyValue]) -> LastGoodKey:
    return LastGoodKey("/a b/c/", told.append, 60.0)


def test_a_key_is_asked_for_by_its_path(kept: LastGoodKey) -> None:
    """Slashes are part of the name, those around it are not."""
    assert (kept.key, kept.path, kept.recheck) == ("a b/c", "/v1/kv/a%20b/c", None)


def test_only_404_becomes_an_answer() -> None:
    """And keeps the index to block on."""
    denied = Reply(403, b"Permission denied", "1")
    assert (ABSENT.status, ABSENT.body, ABSENT.index) == (200, b"[]", "9")
    assert absence_is_an_answer(denied) is denied


def test_changes_are_told_once(kept: LastGoodKey, told: list[KeyValue]) -> None:
    """A wake without news is none; an index below 1 counts as 1."""
    for reply in (value(b"YQ==", "0"), value(b"YQ==", "8"), value(b"Yg=="), ABSENT):
        kept.accept(reply, PLAIN, 1.0, recovering=False)

    assert told == [KeyValue("a b/c", b"a", 1), KeyValue("a b/c", b"b", 7), KeyValue("a b/c", None, 9)]
    assert kept.trust.state is SnapshotState.FRESH


def test_a_failure_takes_nothing_away(kept: LastGoodKey, told: list[KeyValue]) -> None:
    """It is told with the value that stays, once for each text, and the end of it, too."""
    kept.accept(value(b"YQ=="), PLAIN, 1.0, recovering=False)
    for _ in range(2):
        kept.refuse("refused", 2.0)
    kept.accept(value(b"YQ=="), PLAIN, 3.0, recovering=False)

    assert [(each.value, each.last_error) for each in told] == [(b"a", None), (b"a", "refused"), (b"a", None)]


def test_an_answer_that_may_be_old_is_better_than_none(kept: LastGoodKey, told: list[KeyValue]) -> None:
    """But changes nothing of what is known."""
    kept.accept(value(b"YQ==", from_cache=True), PLAIN, 1.0, recovering=False)
    kept.accept(value(b"Yg==", from_cache=True), PLAIN, 2.0, recovering=False)

    assert [each.value for each in told] == [b"a"]
    assert kept.trust.state is SnapshotState.STALE


def test_nonsense_changes_nothing(kept: LastGoodKey, told: list[KeyValue]) -> None:
    """The watcher counts it as a failure."""
    with pytest.raises(MalformedAnswer):
        kept.accept(Reply(200, b"{", "7"), PLAIN, 1.0, recovering=False)
    assert told == []


def test_a_value_out_of_the_past_is_not_taken_over(kept: LastGoodKey, told: list[KeyValue]) -> None:
    """A registry that reads its log anew comes by what was configured long ago; one that stays there means it."""

    def hears(at_s: float, text: bytes, index: str, read: Read = PLAIN) -> tuple[bytes | None, str | None]:
        kept.accept(value(text, index), read, at_s, recovering=at_s > 1)
        return told[-1].value, told[-1].last_error

    new, _ = hears(1.0, b"bmV3", "502")
    assert hears(10.0, b"b2xk", "117") == (new, "the registry is behind what it had told before (index 117 after 502)")
    assert hears(10.1, b"bmV3", "502") == (new, None)
    assert hears(20.0, b"b2xk", "20")[0] == new
    assert hears(20.2, b"b2xk", "20", Read(consistency=Consistency.CONSISTENT)) == (b"old", None)

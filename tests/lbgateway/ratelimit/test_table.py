"""The counters of limits in shared memory, beside the arithmetic that they are to follow."""

from __future__ import annotations

from array import array
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from lbgateway.ratelimit.table import LimitTable

EMISSION_S, TOLERANCE_S = 1.0, 3.0
REQUESTS = st.lists(st.tuples(st.integers(1, 4), st.floats(0, 2)), max_size=80)


class Table(LimitTable):
    """In memory of this process, with locks that count."""

    def __init__(self, buckets: int = 4, ways: int = 4) -> None:
        self.memory = array("Q", [0] * buckets * ways)
        self.times = array("d", [0.0] * buckets * ways)
        self.locks: Counter[str] = Counter()
        self.held: set[int] = set()
        super().__init__(memoryview(self.memory), memoryview(self.times), ways, lock=self.locked, unlock=self.unlocked, secret=b"s")

    def locked(self, bucket: int) -> None:
        assert bucket not in self.held
        self.held.add(bucket)
        self.locks["taken"] += 1

    def unlocked(self, bucket: int) -> None:
        self.held.remove(bucket)


@given(REQUESTS)
def test_each_client_is_counted_by_itself(requests):
    """As the generic cell rate algorithm says, to the last digit; every look is under the lock of its bucket, which is let go."""
    table, full_at_s, now_s = Table(), {}, 10.0
    for client, later_s in requests:
        now_s += later_s
        ahead_s = EMISSION_S + max(0.0, full_at_s.get(client, 0.0) - now_s)
        if ahead_s <= TOLERANCE_S:
            full_at_s[client] = now_s + ahead_s
        assert table.take(client, now_s, EMISSION_S, TOLERANCE_S) == ahead_s
    assert (table.locks["taken"], table.held) == (len(requests), set())


def test_where_there_is_no_room_who_is_the_least_ahead_is_forgotten():
    """A client may come too often once; whoever has used the most of the limit is remembered the longest."""
    table = Table(buckets=1, ways=2)
    for _ in range(3):
        table.take(1, 10.0, EMISSION_S, TOLERANCE_S)
    table.take(2, 10.0, EMISSION_S, TOLERANCE_S)
    table.take(3, 10.0, EMISSION_S, TOLERANCE_S)
    assert set(table.memory) == {1, 3}
    assert table.take(1, 10.0, EMISSION_S, TOLERANCE_S) > TOLERANCE_S


def test_whoever_is_refused_takes_no_place_of_others():
    """A crowd that is refused forgets nobody."""
    table = Table(buckets=1, ways=2)
    for client in (1, 2):
        table.take(client, 10.0, EMISSION_S, TOLERANCE_S)
    for client in range(3, 50):
        assert table.take(client, 10.0, 9.0, TOLERANCE_S) == 9.0
    assert set(table.memory) == {1, 2}

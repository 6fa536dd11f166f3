"""What is remembered of many clients, and who is forgotten first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.policies.buckets import FREED_RATIO, Buckets


def small(most: int = 8) -> Buckets[float]:
    return Buckets(lambda until_s: until_s, shards=1, most=most)


def put(buckets: Buckets[float], key: bytes, until_s: float, now_s: float) -> None:
    shard = buckets.shard(key)
    if len(shard) >= buckets.most and key not in shard:
        buckets.make_room(shard, now_s)
    shard[key] = until_s


def test_what_says_nothing_any_more_goes_first():
    """Nobody is forgotten who still owes something, as long as there is room without them."""
    buckets = small()
    for number in range(8):
        put(buckets, b"%d" % number, 10.0 + number, 0.0)

    put(buckets, b"new", 99.0, 14.5)

    assert sorted(buckets.shards[0]) == [b"5", b"6", b"7", b"new"]


def test_a_full_shard_forgets_who_has_the_least_to_lose():
    """A quarter at once, or each newcomer would cost a search."""
    buckets = small()
    for number in range(8):
        put(buckets, b"%d" % number, 100.0 - number, 0.0)

    put(buckets, b"new", 50.0, 1.0)

    assert len(buckets) == 8 - int(8 * FREED_RATIO) + 1
    assert b"7" not in buckets.shards[0]
    assert b"6" not in buckets.shards[0]


def test_a_crowd_that_comes_once_does_not_free_a_limited_client():
    """Whoever has used up a burst owes more than any newcomer."""
    buckets = small(most=64)
    put(buckets, b"limited", 60.0, 0.0)

    for number in range(10_000):
        put(buckets, b"%d" % number, 1.0 + number * 1e-6, 0.0)

    assert b"limited" in buckets.shards[0]
    assert len(buckets) <= 64


def test_a_sweep_goes_from_shard_to_shard():
    """The whole of it is never looked at in one go."""
    buckets: Buckets[float] = Buckets(lambda until_s: until_s, shards=4, most=100)
    for number in range(200):
        put(buckets, b"%d" % number, 1.0, 0.0)

    sizes = [len(buckets)]
    for _ in range(4):
        buckets.sweep(2.0)
        sizes.append(len(buckets))

    assert sizes[-1] == 0
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 5


@given(st.lists(st.tuples(st.integers(0, 500), st.floats(0, 100)), max_size=400))
def test_memory_is_bounded_whatever_comes(entries):
    """However many keys, in whatever order."""
    buckets: Buckets[float] = Buckets(lambda until_s: until_s, shards=2, most=16)
    for number, until_s in entries:
        put(buckets, b"%d" % number, until_s, 50.0)
        assert len(buckets) <= 32


def test_a_number_of_shards_that_no_mask_fits_is_a_mistake():
    """It would leave some of them empty for ever."""
    with pytest.raises(AssertionError):
        Buckets(lambda until_s: until_s, shards=3)

"""A memory with a bound."""

from __future__ import annotations

from lbgateway.policies.memory import Memory, digest_of


def test_the_oldest_goes_first():
    """Remembering something again makes it the newest."""
    memory: Memory[int] = Memory(3)
    for number, name in enumerate((b"a", b"b", b"c", b"a", b"d")):
        memory.remember(name, number)
    assert dict(memory) == {b"c": 2, b"a": 3, b"d": 4}


def test_a_digest_is_of_the_whole_and_says_nothing():
    """Two tokens that differ in their last character are two."""
    one, other = digest_of(b"x" * 5000 + b"a"), digest_of(b"x" * 5000 + b"b")
    assert one != other
    assert (len(one), b"x" in one[:3]) == (32, False)

"""The kinds that label metrics."""

from __future__ import annotations

from discovery import errors
from discovery.errors import KINDS, Busy, DiscoveryError


def test_every_kind_is_told_apart() -> None:
    """A metric label that two errors share hides one of them."""
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, DiscoveryError)]

    assert len({each.kind for each in classes}) == len(classes)
    assert all(each.kind.isidentifier() for each in classes)
    assert {each.kind for each in classes} < set(KINDS)
    assert len(set(KINDS)) == len(KINDS)


def test_busy_carries_the_wish_of_the_registry() -> None:
    """None means that it did not say."""
    assert Busy("slow down", 7.0).retry_after_s == 7.0
    assert Busy("slow down").retry_after_s is None

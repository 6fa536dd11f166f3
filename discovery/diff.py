"""What changed between two sets of instances. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

from discovery.instance import Instance

if TYPE_CHECKING:
    from collections.abc import Iterable

FIELDS = tuple(field.name for field in fields(Instance))


class Change(NamedTuple):
    """One instance that stayed, with the names of the `Instance` fields that differ."""

    old: Instance
    new: Instance
    fields: frozenset[str]


@dataclass(frozen=True, slots=True)
class Diff:
    """``removed`` is to be drained before ``added`` is opened: a moved instance is in both, under one key."""

    added: tuple[Instance, ...] = ()
    removed: tuple[Instance, ...] = ()
    changed: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def diff(old: Iterable[Instance], new: Iterable[Instance]) -> Diff:
    """Compare by key; each key at most once per side.

    Another address or port under one key is a removal and an addition: connections, latency and
    failures belong to the place that was called, not to the name it had.
    """
    before = {instance.key: instance for instance in old}
    after = {instance.key: instance for instance in new}
    moved = {key for key in before.keys() & after.keys() if _place(before[key]) != _place(after[key])}
    return Diff(
        added=tuple(i for key, i in after.items() if key not in before or key in moved),
        removed=tuple(i for key, i in before.items() if key not in after or key in moved),
        changed=tuple(
            Change(before[key], i, _differing(before[key], i))
            for key, i in after.items()
            if key in before and key not in moved and before[key] != i
        ),
    )


def _place(instance: Instance) -> tuple[str, int]:
    return instance.address, instance.port


def _differing(old: Instance, new: Instance) -> frozenset[str]:
    return frozenset(name for name in FIELDS if getattr(old, name) != getattr(new, name))

"""An instance that cannot make up its mind is taken at its worse word for a while. Pure.

More than six changes of state within a minute, and the worse one of the last two is held for 30 s; twice
as long each time it happens again within ten minutes, five minutes at most. A state that is worse still is
believed at once, and so is its end as an instance. Weights and Meta may change as often as they like, and
maintenance is an operator's word: neither counts. While holding would leave a service without any usable instance, who is held is
SUSPECT instead: picked last, but picked.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from discovery.instance import Instance, InstanceKey, InstanceState
from discovery.protection import USABLE

if TYPE_CHECKING:
    from collections.abc import Iterable

CHANGES: Final = 6
WINDOW_S: Final = 60.0
HOLD_S: Final = 30.0
LONGEST_S: Final = 300.0
FORGET_S: Final = 600.0

_FROM_BAD_TO_WORSE: Final = (
    InstanceState.PASSING,
    InstanceState.WARNING,
    InstanceState.SUSPECT,
    InstanceState.DRAINING,
    InstanceState.CRITICAL,
    InstanceState.MAINTENANCE,
)


@dataclass(slots=True)
class _Record:
    state: InstanceState
    changes: deque[float] = field(default_factory=lambda: deque(maxlen=CHANGES + 1))
    held: InstanceState | None = None
    until_s: float = float("-inf")
    hold_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Damped:
    """What to serve; who began to be held just now; when the first hold ends, None if there is none."""

    instances: tuple[Instance, ...]
    began: tuple[Instance, ...] = ()
    ends_at_s: float | None = None


class Damper:
    """Remembers the states of one service's instances, as the registry told them."""

    __slots__ = ("_records",)

    def __init__(self) -> None:
        self._records: dict[InstanceKey, _Record] = {}

    def damp(self, told: Iterable[Instance], served: tuple[Instance, ...], now_s: float) -> Damped:
        """`told` is the registry's answer, `served` what became of it; returned is `served` with the held ones as they are held."""
        records, began = {}, set()
        for instance in told:
            record = self._records.get(instance.key) or _Record(instance.state)
            records[instance.key] = record
            if _note(record, instance.state, now_s):
                began.add(instance.key)
        self._records = records
        held = {key: record for key, record in records.items() if record.held is not None}
        if not held:
            return Damped(served)
        damped = _never_the_last(served, tuple(_hold(i, held[i.key]) if i.key in held else i for i in served))
        ends_at_s = min(record.until_s for record in held.values())
        return Damped(damped, tuple(i for i in damped if i.key in began), ends_at_s)


def _note(record: _Record, state: InstanceState, now_s: float) -> bool:
    """Take in one state; True if a hold begins."""
    before = record.state
    if state is not InstanceState.MAINTENANCE:
        record.state = state
    if record.state is not before:
        record.changes.append(now_s)
    if record.held is not None and now_s < record.until_s:
        return False
    record.held = None
    often = len(record.changes) > CHANGES and now_s - record.changes[0] <= WINDOW_S
    if record.state is before or not often:
        return False
    again = now_s - record.until_s < FORGET_S
    record.hold_s = min(LONGEST_S, 2 * record.hold_s) if again and record.hold_s else HOLD_S
    record.held, record.until_s = _worse(before, record.state), now_s + record.hold_s
    return True


def _worse(one: InstanceState, other: InstanceState) -> InstanceState:
    return max(one, other, key=_FROM_BAD_TO_WORSE.index)


def _hold(instance: Instance, record: _Record) -> Instance:
    assert record.held is not None
    state = _worse(record.held, instance.state)
    return replace(instance, state=state, reason=f"flapping: {CHANGES + 1} changes within a minute, held for {record.hold_s:g} s")


def _never_the_last(served: tuple[Instance, ...], damped: tuple[Instance, ...]) -> tuple[Instance, ...]:
    if any(instance.state in USABLE for instance in damped):
        return damped
    return tuple(
        replace(held, state=InstanceState.SUSPECT) if instance.state in USABLE else held
        for instance, held in zip(served, damped, strict=True)
    )

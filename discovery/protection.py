"""Which losses to believe. Pure: answers and moments in, instances and doubts out.

A registry loses sight of healthy instances far more often than they all die at once: it restarts
empty, an agent leaves and comes back, a token loses a rule, a server has no leader. So an instance
that goes missing in a suspicious way stays, as SUSPECT: picked last, and gone at its first failed
connect. Suspicious is an answer that

* leaves nothing usable, or loses half of at least four usable instances at once (EMPTY, MASS);
* differs although its index is the same: no change of the catalog does that, a lost permission does (VISIBILITY);
* may be older than what is known (DUBIOUS);
* is of a lower index than an earlier one (BEHIND): a registry that has lost its data, where services register anew one by one.

Such a loss is read again after a second from the leader, then from a verified leader, and believed
after the hold if all of them agree. VISIBILITY alone is not believed before the index moves.

What the registry says in so many words is believed at once, critical and maintenance alike. Four
kinds of "critical" only mean that a check has not run yet, and are held: every watched instance of a
node turns within two seconds together with the node's own check (its agent restarts); a probe without
any result, of an instance that was usable at this address (its agent has restarted so fast that no
other node missed it; believed with the first result); the registry itself has just come back
(time-to-live checks wait for their next heartbeat); the instance itself has just come back from being
SUSPECT (a check starts critical).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from discovery.consul_wire import Consistency
from discovery.instance import Instance, InstanceKey, InstanceState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

USABLE: Final = frozenset((InstanceState.PASSING, InstanceState.WARNING, InstanceState.SUSPECT))
MASS_OF: Final = 4
RECHECK_S: Final = 1.0
FLIP_WINDOW_S: Final = 2.0


class Why(enum.StrEnum):
    """Why a loss is not believed yet, with the words an operator reads."""

    EMPTY = "missing from an answer that lost every instance"
    MASS = "missing from an answer that lost half of the instances"
    VISIBILITY = "missing although the registry's index did not move; may the token still read it?"
    DUBIOUS = "missing from an answer that may be out of date"
    BEHIND = "missing, but the registry is behind what it told before; has it lost its data?"
    NODE_SUSPECTED = "critical together with its node's own check"
    NODE_RESTART = "its node's agent seems to restart"
    REGISTRY_RESTART = "critical just after the registry came back"
    CHECK_NOT_RUN = "registered again, its check has not passed yet"
    NOT_PROBED = "its agent has begun anew, and not probed it yet"


@dataclass(frozen=True, slots=True)
class Hold:
    """One loss that is not believed yet; ``absent`` or, if not, said to be critical."""

    instance: Instance
    why: Why
    since_s: float
    until_s: float
    index: int
    absent: bool = True
    confirmations: int = 0

    def suspect(self) -> Instance:
        return replace(self.instance, state=InstanceState.SUSPECT, reason=self.why.value)


@dataclass(frozen=True, slots=True)
class Recheck:
    """Read again at this moment, in this mode, whatever the index says."""

    at_s: float
    consistency: Consistency


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer with what is known of its circumstances. ``index`` as the registry sent it."""

    instances: tuple[Instance, ...]
    at_s: float
    index: int = 0
    consistency: Consistency = Consistency.STALE
    same_index: bool = False
    dubious: bool = False
    behind: bool = False
    """Its index is lower than that of the answer before it."""
    recovering: bool = False
    """The registry was out of reach less than the hold ago."""
    restarting: frozenset[str] = frozenset()
    maybe_restarting: frozenset[str] = frozenset()
    """Nodes, from `NodeBoard.restarting`."""
    unprobed: frozenset[InstanceKey] = frozenset()
    """Critical instances whose critical checks have no result yet."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What to serve now, what is doubted, and when to look again."""

    instances: tuple[Instance, ...]
    holds: Mapping[InstanceKey, Hold] = field(default_factory=dict)
    recheck: Recheck | None = None


def judge(known: Iterable[Instance], holds: Mapping[InstanceKey, Hold], answer: Answer, hold_s: float) -> Judgement:
    """Believe `answer`, except for its suspicious losses.

    `known` is what was served until now, `holds` the doubts of the last judgement. `hold_s` 0 believes everything.
    """
    if hold_s <= 0:
        return Judgement(answer.instances)
    usable = {instance.key: instance for instance in known if instance.state in USABLE}
    kept = _absent(usable, holds, answer, hold_s) | _critical(usable, holds, answer, hold_s)
    served = {instance.key: instance for instance in answer.instances}
    served |= {key: hold.suspect() for key, hold in kept.items()}
    return Judgement(tuple(served[key] for key in sorted(served)), kept, _recheck(kept, answer, hold_s))


def _absent(
    usable: Mapping[InstanceKey, Instance], holds: Mapping[InstanceKey, Hold], answer: Answer, hold_s: float
) -> dict[InstanceKey, Hold]:
    answered = {instance.key for instance in answer.instances}
    held = {key for key, hold in holds.items() if hold.absent}
    fresh = [instance for key, instance in usable.items() if key not in answered and key not in held]
    kept = {key: hold for key in held - answered if (hold := _still_absent(holds[key], answer, hold_s)) is not None}
    why = _suspicious(len(fresh), len(usable.keys() - held), answer)
    if why is not None:
        until_s = answer.at_s + hold_s
        kept |= {i.key: Hold(_original(i, holds), why, answer.at_s, until_s, answer.index) for i in fresh}
    return kept


def _suspicious(lost: int, of: int, answer: Answer) -> Why | None:
    if not lost:
        return None
    if answer.same_index:
        return Why.VISIBILITY
    if answer.dubious:
        return Why.DUBIOUS
    if not any(instance.state in USABLE for instance in answer.instances):
        return Why.EMPTY
    if answer.behind:
        return Why.BEHIND
    return Why.MASS if of >= MASS_OF and 2 * lost >= of else None


def _still_absent(hold: Hold, answer: Answer, hold_s: float) -> Hold | None:
    """The hold after one more answer without the instance; None when it is believed at last."""
    if answer.dubious:
        return hold
    if hold.why is Why.VISIBILITY:
        # An index that moved is a real change: from here on it is a loss like others.
        moved = answer.index != hold.index
        return replace(hold, why=Why.EMPTY, since_s=answer.at_s, until_s=answer.at_s + hold_s) if moved else hold
    needed = Consistency.DEFAULT if hold.confirmations == 0 else Consistency.CONSISTENT
    if answer.at_s >= hold.since_s + _gap_s(hold_s) and answer.consistency.strength >= needed.strength:
        hold = replace(hold, confirmations=hold.confirmations + 1)
    believed = answer.at_s >= hold.until_s and hold.confirmations > 1 and answer.consistency is not Consistency.STALE
    return None if believed else hold


def _critical(
    usable: Mapping[InstanceKey, Instance], holds: Mapping[InstanceKey, Hold], answer: Answer, hold_s: float
) -> dict[InstanceKey, Hold]:
    kept = {}
    for instance in answer.instances:
        if instance.state is InstanceState.CRITICAL and instance.key in usable:
            hold = holds.get(instance.key)
            why = _unbelievable(instance, usable[instance.key], hold, answer)
            if why is None:
                continue
            since_s = answer.at_s if hold is None or hold.absent else hold.since_s
            if answer.at_s < since_s + hold_s:
                kept[instance.key] = Hold(instance, why, since_s, since_s + hold_s, answer.index, absent=False)
    return kept


def _unbelievable(instance: Instance, known: Instance, hold: Hold | None, answer: Answer) -> Why | None:
    """Why "critical" of the usable instance `known` need not be true yet; None if it must be believed."""
    node = instance.key.node
    if hold is not None and hold.absent:
        return Why.CHECK_NOT_RUN
    unprobed = instance.key in answer.unprobed and (instance.address, instance.port) == (known.address, known.port)
    if hold is None and unprobed:
        return Why.NOT_PROBED
    if hold is not None and hold.why is Why.NOT_PROBED:
        return Why.NOT_PROBED if unprobed else None
    if hold is not None and hold.why is not Why.NODE_SUSPECTED:
        return hold.why
    if node in answer.restarting:
        return Why.NODE_RESTART
    if node in answer.maybe_restarting:
        return Why.NODE_SUSPECTED
    return Why.REGISTRY_RESTART if answer.recovering and hold is None else None


def _original(instance: Instance, holds: Mapping[InstanceKey, Hold]) -> Instance:
    hold = holds.get(instance.key)
    return instance if hold is None else hold.instance


def _gap_s(hold_s: float) -> float:
    return min(RECHECK_S, hold_s / 3)


def _recheck(holds: Mapping[InstanceKey, Hold], answer: Answer, hold_s: float) -> Recheck | None:
    """The earliest second look that any hold needs; not at once if this very answer was as good as one."""
    wishes = [wish for hold in holds.values() if (wish := _wish(hold, hold_s)) is not None]
    if not wishes:
        return None
    at_s, strength = min(wishes)
    if answer.consistency.strength >= -strength:
        at_s = max(at_s, answer.at_s + _gap_s(hold_s))
    return Recheck(at_s, tuple(Consistency)[-strength])


def _wish(hold: Hold, hold_s: float) -> tuple[float, int] | None:
    """Moment and negated strength, so that the stronger of two simultaneous wishes comes first."""
    gap_s = _gap_s(hold_s)
    if hold.why is Why.VISIBILITY:
        return None  # only a moving index can settle it, and the blocking query waits for that
    if hold.why is Why.NODE_SUSPECTED:
        return min(hold.since_s + FLIP_WINDOW_S, hold.until_s), -Consistency.DEFAULT.strength
    if not hold.absent:
        return hold.until_s, -Consistency.DEFAULT.strength
    if hold.confirmations == 0:
        return hold.since_s + gap_s, -Consistency.DEFAULT.strength
    at_s = hold.since_s + 2 * gap_s if hold.confirmations == 1 else hold.until_s
    return at_s, -Consistency.CONSISTENT.strength


class NodeBoard:
    """Tells a restarting agent from instances that fail on their own, over all watched services.

    Kept per service: since when each instance is critical or in maintenance (minus infinity if it
    was never seen otherwise), None while it is fine.
    """

    __slots__ = ("_bad_since_s",)

    def __init__(self) -> None:
        self._bad_since_s: dict[str, dict[InstanceKey, float | None]] = {}

    def observe(self, service: str, instances: Iterable[Instance], now_s: float) -> None:
        """Note an answer, before `restarting` is asked about it."""
        before = self._bad_since_s.get(service, {})
        after: dict[InstanceKey, float | None] = {}
        for instance in instances:
            since_s = before.get(instance.key, float("-inf"))
            good = instance.state in USABLE
            after[instance.key] = None if good else now_s if since_s is None else since_s
        self._bad_since_s[service] = after

    def forget(self, service: str) -> None:
        self._bad_since_s.pop(service, None)

    def restarting(self, nodes_down: Iterable[str], now_s: float) -> tuple[frozenset[str], frozenset[str]]:
        """Of nodes whose own check is critical: those whose agent restarts, and those it may turn out to."""
        found = {node: self._restarting(node, now_s) for node in nodes_down}
        return (
            frozenset(node for node, certain in found.items() if certain),
            frozenset(node for node, certain in found.items() if certain is False),
        )

    def _restarting(self, node: str, now_s: float) -> bool | None:
        """True: all of several flipped together. False: some have yet to be heard of. None: no."""
        since = [s for entries in self._bad_since_s.values() for key, s in entries.items() if key.node == node]
        flips = [s for s in since if s is not None]
        latest_s = max(flips, default=float("-inf"))
        burst = sum(1 for s in flips if latest_s - s <= FLIP_WINDOW_S)  # inf - inf is no number: never seen fine
        fine = since.count(None)
        if not burst or burst + fine < 2:
            return None
        if fine == 0:
            return True
        return False if now_s - latest_s < FLIP_WINDOW_S else None

"""Smooth weighted round robin: in turn, as often as the weights say, never in bursts."""

from __future__ import annotations

from heapq import heapify, heapreplace
from math import gcd
from typing import TYPE_CHECKING

from balancers.balancer import Balancer, E
from balancers.draws import draw_other

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from random import Random

_COMPILE_STEPS = 50_000
"""Price limit of a compiled cycle, as length x endpoints: a few milliseconds, paid on a change of the pool."""

_TRIES = 4


class WeightedRoundRobin(Balancer[E]):
    """Over a full cycle each endpoint gets exactly its weight; 5:1:1 gives a a b a c a a.

    Source: nginx's smooth weighted round robin, compiled into a cycle on rebuild, so that a pick is
    an index. Where the cycle would be too long (many endpoints, weights without a common divisor,
    fractions) the picks come from a heap of deadlines instead, O(log n): each endpoint is due again
    ``1 / weight`` after its last turn (earliest deadline first, as in Envoy). Either starts at a
    random phase: gateways do not march in step, and no change of weights favours anybody.
    """

    name = "weighted"
    rule = "next in turn, by weight"

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        # one of the two is in use
        self.cycle: tuple[E, ...] = ()
        self.turn = 0
        self.due: list[tuple[float, int]] = []

    def rebuild(self, ready: tuple[E, ...]) -> None:
        super().rebuild(ready)
        order = smooth_cycle([endpoint.weight for endpoint in ready])
        if order is None:
            self.cycle = ()
            self.due = [(self.random.random() / endpoint.weight, index) for index, endpoint in enumerate(ready)]
            heapify(self.due)
        else:
            self.cycle, self.due = tuple(ready[index] for index in order), []
            self.turn = self.random.randrange(len(order)) if order else 0

    def pick(self, now_s: float, key: bytes | None = None, exclude: Collection[E] = ()) -> E | None:  # noqa: ARG002 the contract's arguments
        if exclude:
            return self._pick_other(exclude)
        if cycle := self.cycle:
            endpoint = cycle[self.turn]
            self.turn += 1
            if self.turn == len(cycle):
                self.turn = 0
            return endpoint
        if due := self.due:
            deadline, index = due[0]
            endpoint = self.ready[index]
            heapreplace(due, (deadline + 1.0 / endpoint.weight, index))
            return endpoint
        return None

    def _pick_other(self, exclude: Collection[E]) -> E | None:
        for _ in range(_TRIES):
            endpoint = self.pick(0.0)
            if endpoint is None or endpoint not in exclude:
                return endpoint
        return draw_other(self.ready, exclude, self.random)


def smooth_cycle(weights: Sequence[float]) -> tuple[int, ...] | None:
    """Indices in the order of one full cycle; None if it is too long to compile or `weights` are not whole numbers.

    Per step each endpoint gains its weight, the richest is next and pays the total. Ties go to the first.
    """
    if any(weight % 1 for weight in weights):
        return None
    divisor = gcd(*map(int, weights))
    gains = [int(weight) // divisor for weight in weights]
    total = sum(gains)
    if total == len(gains):  # all equal
        return tuple(range(total))
    if total * len(gains) > _COMPILE_STEPS:
        return None
    order = []
    credit = [0] * len(gains)
    for _ in range(total):
        credit = [have + gain for have, gain in zip(credit, gains, strict=True)]
        richest = credit.index(max(credit))
        credit[richest] -= total
        order.append(richest)
    return tuple(order)

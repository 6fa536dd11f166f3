"""The power of two choices: draw two, take the less loaded one."""

from __future__ import annotations

from bisect import bisect
from typing import TYPE_CHECKING

from balancers.balancer import Balancer, E
from balancers.draws import compile_shares, draw_other

if TYPE_CHECKING:
    from collections.abc import Collection
    from random import Random

_TRIES = 4


class P2C(Balancer[E]):
    """Two *distinct* endpoints drawn by weight; of these the one with less ``active / weight``.

    Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001: the fullest
    of n queues grows with ``ln ln n`` instead of ``ln n / ln ln n``. At two draws the cost is the same
    for any pool, and many gateways with stale counts do not all rush to the same endpoint. Drawing
    with replacement would make one pick in n a plain random one, which shows in the tail.
    """

    name = "p2c"
    rule = "the less busy of two drawn by lot"

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.draw = random.random
        self.shares: tuple[float, ...] = ()

    def rebuild(self, ready: tuple[E, ...]) -> None:
        super().rebuild(ready)
        self.shares = compile_shares([endpoint.weight for endpoint in ready])

    def pick(self, now_s: float, key: bytes | None = None, exclude: Collection[E] = ()) -> E | None:  # noqa: ARG002 the contract's arguments
        if len(self.ready) < 2 or exclude:
            return self._pick_other(now_s, exclude)
        first, second = self._pair()
        return second if second.active * first.weight < first.active * second.weight else first

    def _pair(self) -> tuple[E, E]:
        """Draw two distinct endpoints by weight; the second as if the first were not there. Needs two."""
        shares, ready = self.shares, self.ready
        first = bisect(shares, self.draw())
        lower = shares[first - 1] if first else 0.0
        width = (shares[first] if first < len(shares) else 1.0) - lower
        point = self.draw() * (1.0 - width)
        second = bisect(shares, point + width if point >= lower else point)
        if second == first:  # rounding at a boundary
            second = first - 1 if first else 1
        return ready[first], ready[second]

    def _pick_other(self, now_s: float, exclude: Collection[E]) -> E | None:
        lone = None
        for _ in range(_TRIES if len(self.ready) > 1 else 0):
            pair = [endpoint for endpoint in self._pair() if endpoint not in exclude]
            if len(pair) > 1:
                return min(pair, key=lambda endpoint: self.cost(endpoint, now_s))
            if pair:
                lone = pair[0]
        return lone or draw_other(self.ready, exclude, self.random)

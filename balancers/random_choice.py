"""Random: a draw by weight, without any memory."""

from __future__ import annotations

from bisect import bisect
from typing import TYPE_CHECKING

from balancers.balancer import Balancer, E
from balancers.draws import compile_shares, draw_other

if TYPE_CHECKING:
    from collections.abc import Collection
    from random import Random

_TRIES = 4


class RandomChoice(Balancer[E]):
    """Each endpoint with the probability of its weight, independently of everything else.

    Inversion of the cumulative weights by binary search (Devroye, "Non-Uniform Random Variate
    Generation", 1986, III.2). The yardstick for the others: the fullest of n queues grows with
    ``ln n / ln ln n`` (see `p2c`).
    """

    name = "random"
    rule = "drawn by lot, by weight"

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.draw = random.random
        self.shares: tuple[float, ...] = ()

    def rebuild(self, ready: tuple[E, ...]) -> None:
        super().rebuild(ready)
        self.shares = compile_shares([endpoint.weight for endpoint in ready])

    def pick(self, now_s: float, key: bytes | None = None, exclude: Collection[E] = ()) -> E | None:  # noqa: ARG002 the contract's arguments
        ready = self.ready
        if not exclude:
            return ready[bisect(self.shares, self.draw())] if ready else None
        for _ in range(_TRIES if ready else 0):
            endpoint = ready[bisect(self.shares, self.draw())]
            if endpoint not in exclude:
                return endpoint
        return draw_other(ready, exclude, self.random)

"""Round robin: each in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balancers.balancer import Balancer, E

if TYPE_CHECKING:
    from collections.abc import Collection
    from random import Random


class RoundRobin(Balancer[E]):
    """Each endpoint in turn, whatever its weight and load.

    The oldest rule there is; fair for equal endpoints and equal requests, and unbounded queues on a
    slow one. The start is random, or many gateways started together would march in step over the
    endpoints. A rebuild goes on with the endpoint whose turn it was, so that frequent changes do not
    favour the first ones.
    """

    name = "round_robin"
    rule = "next in turn"

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.turn = 0

    def rebuild(self, ready: tuple[E, ...]) -> None:
        upcoming = self.ready[self.turn :] + self.ready[: self.turn]
        place = {endpoint: index for index, endpoint in enumerate(ready)}
        following = (place[endpoint] for endpoint in upcoming if endpoint in place)
        self.turn = next(following, -1)
        if self.turn < 0:
            self.turn = self.random.randrange(len(ready)) if ready else 0
        super().rebuild(ready)

    def pick(self, now_s: float, key: bytes | None = None, exclude: Collection[E] = ()) -> E | None:  # noqa: ARG002 the contract's arguments
        ready = self.ready
        turn = self.turn
        for _ in ready:
            endpoint = ready[turn]
            turn += 1
            if turn == len(ready):
                turn = 0
            if not exclude or endpoint not in exclude:
                self.turn = turn
                return endpoint
        return None

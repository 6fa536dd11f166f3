"""A waiting line for the instances of one service that several processes have together: ``limits.max_pending`` counts all who wait.

Each worker's requests wait in its own line. Room that is made in one worker is nobody's news in the others, so a line that is
not empty looks for it every two milliseconds; and a worker that has made room leaves it to the others by lot, as often as
they have more of those who wait: or who came to a busier worker would be served first for ever.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from lbgateway.dataplane.waiting_line import WaitingLine
from lbgateway.workers.board import SLOTS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from random import Random

    from lbgateway.dataplane.exchange import Exchange
    from lbgateway.dataplane.gateway_endpoint import GatewayEndpoint
    from lbgateway.errors import Overloaded
    from lbgateway.workers.shared_endpoint import Places

LOOK_S = 0.002


class SharedLine(WaitingLine):
    """Of `service`. `advance_all` is called while somebody waits here, to send on whom there is room for."""

    __slots__ = ("_advance_all", "_looking", "_places", "_random", "_service")

    def __init__(self, places: Places, service: str, random: Random, advance_all: Callable[[float], None]) -> None:
        super().__init__()
        self._places = places
        self._service = service
        self._random = random
        self._advance_all = advance_all
        self._looking: asyncio.TimerHandle | None = None

    def join(self, exchange: Exchange, now_s: float, *, places: int, per_second: float) -> Overloaded | None:
        others = self._elsewhere()
        # They leave by the same door: who waits here waits for its part of it.
        refused = super().join(exchange, now_s, places=places - others, per_second=per_second * self._part(others))
        self._write()
        return refused

    def leave(self, exchange: Exchange) -> None:
        super().leave(exchange)
        self._write()

    def advance(self, with_room: Callable[[], Collection[GatewayEndpoint]], now_s: float) -> None:
        others = self._elsewhere()
        if not others or self._random.random() < self._part(others):
            super().advance(with_room, now_s)
            self._write()

    def _elsewhere(self) -> int:
        slot = self._slot()
        return sum(row[slot] for row in self._places.others) if slot < SLOTS else 0

    def _slot(self) -> int:
        """Known as soon as the registry has told of the service."""
        return min(self._places.slots.get(self._service, SLOTS), SLOTS)

    def _part(self, others: int) -> float:
        """Of those who wait, and the one that comes, so many are here."""
        return (len(self) + 1) / (len(self) + 1 + others)

    def _write(self) -> None:
        self._places.own[self._slot()] = len(self)
        if self and self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _look(self) -> None:
        self._looking = None
        if self:
            self._advance_all(monotonic())
        self._write()

"""Who waits for room when every instance of a service is as busy as it may be.

Short and honest: a line that is full, or in which an exchange would wait for longer than it has time,
turns it away at once. Waiting helps against a burst; against lasting overload it only makes every answer
late. First come, first served; but who waits because an instance has failed it is not sent to that one again
while there are others.
"""

from __future__ import annotations

from collections import OrderedDict
from math import ceil
from typing import TYPE_CHECKING

from lbgateway.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from lbgateway.dataplane.exchange import Exchange
    from lbgateway.dataplane.upstream import GatewayEndpoint

MOST_S = 30
"""No ``Retry-After`` asks for more patience."""


class WaitingLine:
    """The exchanges of one upstream that wait for an endpoint."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: OrderedDict[Exchange, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self.waiting)

    def join(self, exchange: Exchange, now_s: float, *, places: int, per_second: float) -> Overloaded | None:
        """Let `exchange` wait, behind those that came before its turn; or say why it cannot.

        `places`: how many may wait; `per_second`: how many leave the service in a second, 0.0 if nobody knows.
        """
        wait_s = (len(self.waiting) + 1) / per_second if per_second else 0.0
        if len(self.waiting) >= places:
            return _turned_away("the waiting line is full" if places else "every instance has as many requests as it may", wait_s)
        if now_s + wait_s > exchange.until_s:
            return _turned_away("it would wait for longer than it has time", wait_s)
        self.waiting[exchange] = None
        return None

    def leave(self, exchange: Exchange) -> None:
        """Its client has gone, or its time is up; harmless if it does not wait."""
        self.waiting.pop(exchange, None)

    def advance(self, with_room: Callable[[], Collection[GatewayEndpoint]], now_s: float) -> None:
        """Send on whoever is first of those that the endpoints with room are any good for, as long as there are such."""
        while self.waiting and (room := with_room()):
            exchange = next((each for each in self.waiting if each.served_by(room)), None)
            if exchange is None:
                return
            del self.waiting[exchange]
            exchange.on_room(now_s)


def _turned_away(cause: str, wait_s: float) -> Overloaded:
    return Overloaded(cause=cause, headers=b"Retry-After: %d\r\n" % min(max(1, ceil(wait_s)), MOST_S))

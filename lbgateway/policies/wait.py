"""How a policy says "not yet": what has to be known first is on its way, and the exchange is parked until then.

A policy decides with what is in memory, or returns a `Wait`. An exchange that gets one joins its `Flight`, holds back
the body and asks nobody else. When the flight lands, `Wait.decide` is called, once, in place of the policy; the
policies behind it follow. At the end of `Wait.within_s` the answer is `Wait.late`. A client that leaves leaves the
flight, too, which goes on for the others.

One flight serves all who wait for the same thing (a session, a token's answer, a set of keys): whoever owns it keeps
it where the next one can find it, and takes it away before it lands. So many requests cost one question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from lbgateway.errors import GatewayError


class Waiter(Protocol):
    """Whoever can be parked."""

    def on_landed(self) -> None:
        """What was waited for has come, or has failed to."""


class Flight:
    """A question that is being asked. Lands exactly once; what has come is for the owner to keep."""

    __slots__ = ("_waiting", "landed")

    def __init__(self) -> None:
        self.landed = False
        self._waiting: dict[Waiter, None] = {}

    def __repr__(self) -> str:
        return f"<Flight {'landed' if self.landed else f'{len(self._waiting)} waiting'}>"

    @property
    def waiting(self) -> int:
        """How many have joined and not left."""
        return len(self._waiting)

    def join(self, waiter: Waiter) -> None:
        """Tell `waiter` when it lands. Joining what has landed is a mistake: decide at once instead."""
        assert not self.landed
        self._waiting[waiter] = None

    def leave(self, waiter: Waiter) -> None:
        """`waiter` is gone, or will not wait any longer."""
        self._waiting.pop(waiter, None)

    def land(self) -> None:
        """Let all go on, in the order in which they came; each one's decision is its own."""
        self.landed = True
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting:
            waiter.on_landed()


@dataclass(frozen=True, slots=True)
class Wait:
    """What a policy returns instead of a rejection, for one exchange."""

    flight: Flight
    decide: Callable[[Any], GatewayError | Wait | None]
    """The rest of the policy, for the exchange: None lets it pass, another `Wait` is for something else."""
    within_s: float
    """More than this an exchange does not wait; the sweep looks every 100 ms."""
    late: GatewayError
    """The answer then."""

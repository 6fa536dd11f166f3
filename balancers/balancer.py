"""The contract of every balancer: ``rebuild`` on change, ``pick`` on request, ``observe`` afterwards.

Pure: no clock, no sockets, no event loop. ``now_s`` is any monotonic clock in seconds, the same one
in all calls; randomness is an argument of the constructor, so a seed reproduces every decision.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import inf
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from balancers.endpoint import Endpoint
from balancers.load import observe_ewma

if TYPE_CHECKING:
    from collections.abc import Collection
    from random import Random

    from balancers.endpoint import Outcome

E = TypeVar("E", bound=Endpoint)


class Balancer(ABC, Generic[E]):
    """Chooses one of the *ready* endpoints.

    ``rebuild`` does the thinking, so that ``pick`` is an index or a short scan. A balancer never
    filters: what it is given may be picked, all of it.
    """

    name: ClassVar[str]
    rule: ClassVar[str] = "the balancer's choice"
    """What it chooses by, for people."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.ready: tuple[E, ...] = ()

    def rebuild(self, ready: tuple[E, ...]) -> None:
        """Take over the endpoints that may be picked from now on, in a stable order. Weights are > 0."""
        self.ready = ready

    @abstractmethod
    def pick(self, now_s: float, key: bytes | None = None, exclude: Collection[E] = ()) -> E | None:
        """Choose one endpoint that is not in `exclude`; None if there is none. `key` serves hashing balancers."""

    def observe(self, endpoint: E, latency_s: float, outcome: Outcome, now_s: float) -> None:
        """Learn how an attempt went; once for each. `latency_s`: from sending to the response head, or to the failure.

        To be called at that moment, not when the body has ended: a long answer is not a slow endpoint.
        """
        observe_ewma(endpoint, latency_s, outcome, now_s, self.ready)

    def cost(self, endpoint: E, now_s: float) -> float:  # noqa: ARG002 a clock is part of the contract
        """How unattractive `endpoint` is right now, as this balancer sees it; lower is picked sooner, inf is never picked."""
        return endpoint.active / endpoint.weight if endpoint.weight else inf

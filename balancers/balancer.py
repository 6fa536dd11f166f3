"""The contract of every balancer: ``rebuild`` on change, ``pick`` on request, ``observe`` afterwards.

Pure: no clock, no sockets, no event loop. ``now_s`` is any monotonic clock in seconds, the same one
in all calls; randomness is an argument of the constructor, so a seed reproduces every decision.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import exp, inf
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from balancers.endpoint import Endpoint, Outcome
from balancers.load import LEAST_S, TAU_S, observe_ewma

if TYPE_CHECKING:
    from collections.abc import Collection
    from random import Random

E = TypeVar("E", bound=Endpoint)

_OK = Outcome.OK
_DECAY = 1.0 / TAU_S


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
        known_s = endpoint.latency_s
        if outcome is _OK and known_s:
            # The usual way through observe_ewma(), written out: every answer of every service comes by here.
            endpoint.oldest_at_s = 0.0
            latency_s += (known_s - latency_s) * exp((endpoint.latency_at_s - now_s) * _DECAY)
            endpoint.latency_s = latency_s or LEAST_S
            endpoint.latency_at_s = now_s
        else:
            observe_ewma(endpoint, latency_s, outcome, now_s, self.ready)

    def cost(self, endpoint: E, now_s: float) -> float:  # noqa: ARG002 a clock is part of the contract
        """How unattractive `endpoint` is right now, as this balancer sees it; lower is picked sooner, inf is never picked."""
        return endpoint.active / endpoint.weight if endpoint.weight else inf

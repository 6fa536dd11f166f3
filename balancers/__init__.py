"""Choosing one of several endpoints: pure decisions from numbers. The menu is `BALANCERS`.

No event loop, no clock, no sockets; usable without the rest of the project.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from balancers.balancer import Balancer
from balancers.endpoint import Endpoint, EndpointState, Outcome
from balancers.ewma import Ewma
from balancers.least_connections import LeastConnections
from balancers.p2c import P2C
from balancers.peak_ewma import PeakEwma
from balancers.random_choice import RandomChoice
from balancers.round_robin import RoundRobin
from balancers.weighted import WeightedRoundRobin

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

__all__ = [
    "BALANCERS",
    "DEFAULT",
    "PLANNED",
    "Balancer",
    "Endpoint",
    "EndpointState",
    "Ewma",
    "LeastConnections",
    "Outcome",
    "P2C",
    "PeakEwma",
    "RandomChoice",
    "RoundRobin",
    "WeightedRoundRobin",
    "make_balancer",
]

BALANCERS: Mapping[str, type[Balancer[Any]]] = MappingProxyType(
    {balancer.name: balancer for balancer in (RoundRobin, WeightedRoundRobin, LeastConnections, RandomChoice, P2C, Ewma, PeakEwma)}
)
"""What `balancer:` may say, by name."""

PLANNED = frozenset({"ring_hash", "maglev", "rendezvous", "prequal"})
"""Names that are reserved and refused as not available in this version."""

DEFAULT = Ewma.name


def make_balancer(name: str, random: Random) -> Balancer[Any]:
    """Build the balancer called `name`; the same `random` seed gives the same picks.

    Raises `ValueError` with a sentence for the user if there is none of that name.
    """
    if balancer := BALANCERS.get(name):
        return balancer(random)
    if name in PLANNED:
        message = f"balancer {name!r} is not available in this version"
        raise ValueError(message)
    message = f"no balancer is called {name!r}; choose one of {', '.join(BALANCERS)}"
    raise ValueError(message)

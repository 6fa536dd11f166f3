"""What the balancers that look for the least cost have in common: whom they look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balancers.balancer import Balancer, E
from balancers.draws import compile_ring, compile_rotations, compile_shares, compile_strides

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from random import Random

SCAN_LIMIT = 32
"""Up to here a full scan gives the better choice for its price; beyond, `draws.DRAWS` distinct candidates do."""


class ScanBalancer(Balancer[E]):
    """Compiles the candidates of a pick: all endpoints, or five distinct ones of a large pool.

    The first candidate is drawn by weight and wins ties. A fixed first one would make all gateways
    send to the same idle endpoint (Envoy had to revert a full scan for that).
    """

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.draw = random.random
        # compiled from ready
        self.shares: tuple[float, ...] = ()
        self.rotations: tuple[tuple[E, ...], ...] = ((),)
        self.ring: tuple[E, ...] = ()
        self.strides: tuple[int, ...] = ()

    def rebuild(self, ready: tuple[E, ...]) -> None:
        super().rebuild(ready)
        self.shares = compile_shares([endpoint.weight for endpoint in ready])
        if len(ready) <= SCAN_LIMIT:
            self.rotations, self.ring, self.strides = compile_rotations(ready), (), ()
        else:
            self.rotations, self.ring, self.strides = (), compile_ring(ready), compile_strides(len(ready))

    def others(self, candidates: Sequence[E], exclude: Collection[E]) -> Sequence[E]:
        """Of `candidates` those not in `exclude`; if none is left, of all endpoints."""
        return [e for e in candidates if e not in exclude] or [e for e in self.ready if e not in exclude]

"""Least connections: the endpoint with the fewest requests in flight for its weight."""

from __future__ import annotations

from bisect import bisect
from math import inf
from typing import TYPE_CHECKING

from balancers.balancer import E
from balancers.draws import DRAWS
from balancers.scan import ScanBalancer

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_REACH = DRAWS - 1


class LeastConnections(ScanBalancer[E]):
    """Join the shortest queue: least ``active / weight``, ties drawn by weight.

    Optimal for equal exponential servers and full information (Winston 1977); the comparison of
    weighted counts is nginx's ``least_conn``. It equalises queue lengths, not delays, and knows no
    latency: an endpoint that fails fast attracts traffic unless it is ejected.
    Above `scan.SCAN_LIMIT` endpoints it looks at five distinct ones (Mitzenmacher 2001, d = 5).
    """

    name = "least_connections"
    rule = "fewest requests for its weight; among equals by lot"

    def pick(self, now_s: float, key: bytes | None = None, exclude: Collection[E] = ()) -> E | None:  # noqa: ARG002 the contract's arguments
        start = bisect(self.shares, self.draw())
        candidates: Sequence[E]
        if strides := self.strides:
            first = self.ring[start]
            if not first.active and not exclude:
                return first
            stride = strides[int(self.draw() * len(strides))]
            candidates = self.ring[start : start + _REACH * stride + 1 : stride]
        else:
            candidates = self.rotations[start]
        if exclude:
            candidates = self.others(candidates, exclude)
        best = None
        least = inf
        for endpoint in candidates:
            load = endpoint.active / endpoint.weight
            if load < least:
                best = endpoint
                if not load:
                    break
                least = load
        return best

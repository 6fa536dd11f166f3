"""The default: least expected delay, from latency and requests in flight."""

from __future__ import annotations

from bisect import bisect
from math import exp, inf
from typing import TYPE_CHECKING

from balancers.balancer import E
from balancers.draws import DRAWS
from balancers.endpoint import Outcome
from balancers.load import HANG_FACTOR, LEAST_S, TAU_S, forgotten, least_latency, observe_ewma, typical_latency
from balancers.scan import ScanBalancer

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from random import Random

_REACH = DRAWS - 1
_DECAY = 1.0 / TAU_S

NEAR = 0.8
"""How much cheaper another must be than the endpoint drawn first. Without it the best by a hair would
take all of a quiet service's requests, whatever the weights."""

NOISE_S = 0.001
"""Added to each estimate: differences well below are those of schedulers and loops, not of endpoints."""

REFRESH_S = 0.1
"""How often the pool's median and minimum are worked out again; in between the minimum only falls, and who has got its first sample counts
as one without."""

_OK = Outcome.OK
# An enum's member costs a lookup in its metaclass on every use.
_UNKNOWN_S = 1.0
_TRIAL_PENALTY = 1e6


class Ewma(ScanBalancer[E]):
    """Least ``latency * (active / weight + 1)``: what a request sent now will probably wait.

    Latency is a time-weighted average over one second (`load.observe_ewma`), fading towards the pool's
    best while idle, and replaced by the endpoint's silence once that exceeds three times the estimate.
    An endpoint without a sample is asked next, for one trial request at a time: what others have taken says
    nothing of it, least of all when they fail. All endpoints are looked at, above
    `scan.SCAN_LIMIT` five distinct ones.

    Sources: cost, and the trial of an endpoint without history, from Finagle's Peak EWMA (its peaks and its
    ten seconds left out: they keep a healed endpoint out for 23 s); the failure sample from linkerd2-proxy. Ties and near ties go to the
    endpoint drawn first, by weight. The weight divides only what is in flight, since latency is already
    the endpoint's own; with nothing in flight it is the draw that respects weights. Simulated beside
    ``latency / weight * (active + 1)`` at right weights: p99 equal (51 ms each), and no starvation.
    """

    name = "ewma"
    rule = "least cost (latency times queue); among near equals by lot"

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        # learned from samples, over the whole pool
        self.floor_s = 0.0
        self.least_s = 0.0
        """No estimate is below: the floor, or nothing as long as an endpoint has none."""
        self.trial_s = _UNKNOWN_S
        self.refresh_at_s = 0.0

    def rebuild(self, ready: tuple[E, ...]) -> None:
        super().rebuild(ready)
        self._learn_pool()

    def pick(self, now_s: float, key: bytes | None = None, exclude: Collection[E] = ()) -> E | None:  # noqa: ARG002 the contract's arguments
        start = bisect(self.shares, self.draw())
        candidates: Sequence[E]
        if strides := self.strides:
            stride = strides[int(self.draw() * len(strides))]
            candidates = self.ring[start : start + _REACH * stride + 1 : stride]
        else:
            candidates = self.rotations[start]
        if exclude:
            candidates = self.others(candidates, exclude)
        floor_s = self.floor_s
        base_s = self.least_s + NOISE_S
        best = None
        least = inf
        # The body of cost(), written out: this loop is most of what choosing costs.
        for endpoint in candidates:
            active = endpoint.active
            queue = active / endpoint.weight + 1.0
            if base_s * queue >= least:  # cannot win even as the fastest of all
                continue
            latency_s = endpoint.latency_s
            if not latency_s:
                latency_s = self.trial_s if active else 0.0
            elif latency_s > floor_s:
                latency_s = floor_s + (latency_s - floor_s) * exp((endpoint.latency_at_s - now_s) * _DECAY)
            if active and (waiting_at_s := endpoint.oldest_at_s) and now_s - waiting_at_s > HANG_FACTOR * latency_s:
                latency_s = now_s - waiting_at_s
            cost = (latency_s + NOISE_S) * queue
            if best is None:
                best, least = endpoint, cost * NEAR
            elif cost < least:
                best, least = endpoint, cost
        return best

    def cost(self, endpoint: E, now_s: float) -> float:
        if not endpoint.weight:
            return inf
        active = endpoint.active
        if endpoint.latency_s:
            latency_s = forgotten(endpoint.latency_s, now_s - endpoint.latency_at_s, self.floor_s)
        else:
            latency_s = self.trial_s if active else 0.0
        if active and endpoint.oldest_at_s and now_s - endpoint.oldest_at_s > HANG_FACTOR * latency_s:
            latency_s = now_s - endpoint.oldest_at_s
        return (latency_s + NOISE_S) * (active / endpoint.weight + 1.0)

    def observe(self, endpoint: E, latency_s: float, outcome: Outcome, now_s: float) -> None:
        known_s = endpoint.latency_s
        if outcome is _OK and known_s:
            # As in `Balancer.observe`, without the call of it.
            endpoint.oldest_at_s = 0.0
            latency_s += (known_s - latency_s) * exp((endpoint.latency_at_s - now_s) * _DECAY)
            endpoint.latency_s = latency_s or LEAST_S
            endpoint.latency_at_s = now_s
        else:
            observe_ewma(endpoint, latency_s, outcome, now_s, self.ready)
        if now_s >= self.refresh_at_s or not self.floor_s:
            self.refresh_at_s = now_s + REFRESH_S
            self._learn_pool()
        elif 0.0 < endpoint.latency_s < self.floor_s:
            self.floor_s = endpoint.latency_s
            self.least_s = min(self.least_s, self.floor_s)

    def _learn_pool(self) -> None:
        self.floor_s = least_latency(self.ready)
        self.least_s = self.floor_s if all(endpoint.latency_s for endpoint in self.ready) else 0.0
        self.trial_s = typical_latency(self.ready) * _TRIAL_PENALTY or _UNKNOWN_S

"""Peak EWMA: two choices by latency and requests in flight, with a long memory for bad moments."""

from __future__ import annotations

from math import exp, inf
from typing import TYPE_CHECKING

from balancers.balancer import E
from balancers.load import PEAK_TAU_S, observe_peak_ewma
from balancers.p2c import P2C

if TYPE_CHECKING:
    from collections.abc import Collection

    from balancers.endpoint import Outcome

_NO_HISTORY_S = 1e6
_IDLE_S = 1e-9


class PeakEwma(P2C[E]):
    """The cheaper of two distinct endpoints drawn by weight; cost is ``latency * (active + 1) / weight``.

    Source: Finagle's ``PeakEwma``, Linkerd and Tower: time-weighted average over 10 s, jumping up to
    a longer sample at once and fading towards zero while idle. An endpoint without history gets one
    trial request at a time. Quick to leave a slow endpoint, slow to forgive: 23 s for a factor of ten.
    """

    name = "peak_ewma"
    rule = "least cost (peak latency times queue)"

    def pick(self, now_s: float, key: bytes | None = None, exclude: Collection[E] = ()) -> E | None:  # noqa: ARG002 the contract's arguments
        if len(self.ready) < 2 or exclude:
            return self._pick_other(now_s, exclude)
        first, second = self._pair()
        return second if self.cost(second, now_s) < self.cost(first, now_s) else first

    def observe(self, endpoint: E, latency_s: float, outcome: Outcome, now_s: float) -> None:
        observe_peak_ewma(endpoint, latency_s, outcome, now_s, self.ready)

    def cost(self, endpoint: E, now_s: float) -> float:
        active = endpoint.active
        if not endpoint.weight:
            return inf
        if endpoint.latency_s:
            latency_s = endpoint.latency_s * exp((endpoint.latency_at_s - now_s) / PEAK_TAU_S)
        else:
            latency_s = _NO_HISTORY_S if active else 0.0
        # Faded to nothing, they still differ by what is in flight.
        return (latency_s + _IDLE_S) * (active + 1) / endpoint.weight

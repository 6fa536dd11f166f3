"""Some of the picks of a service, remembered on the endpoints that they chose, for whoever asks *explain* why.

Recording costs a request nothing when it is not recorded: ``EndpointSet.pick`` is an attribute, and the recording pick stands in its
place while there is something left of the allowance: `BURST` picks at once, `A_TICK` more with each sweep (ten times a second). So a
quiet service has all of its picks recorded, from the first on, and a busy one an even sample.

The costs are those that the balancer compared, looked up just before it chose. What it drew by lot is not repeated.
"""

from __future__ import annotations

from math import inf, isfinite
from typing import TYPE_CHECKING

from lbgateway.dataplane.history import Candidate, Pick

if TYPE_CHECKING:
    from collections.abc import Collection

    from balancers.endpoint_set import EndpointSet
    from lbgateway.dataplane.upstream import GatewayEndpoint

BURST = 20
A_TICK = 2

MOST_COMPARED = 32
"""In a larger pool the balancer looks at a few only; asking for the cost of all would take longer than many requests."""
MOST_NAMED = 8
"""The chosen one, and the cheapest of the others."""

TRIAL = "the trial request that decides whether its ejection is over"


class PickRecorder:
    """Of one service."""

    def __init__(self, endpoints: EndpointSet[GatewayEndpoint]) -> None:
        self._endpoints = endpoints
        self._left = BURST
        endpoints.watch(self._pick)

    def tick(self) -> None:
        """A tenth of a second has passed: some more may be recorded."""
        self._left = min(self._left + A_TICK, BURST)
        self._endpoints.watch(self._pick)

    def trial(self, endpoint: GatewayEndpoint, now_s: float) -> None:
        """A pick that was none of the balancer's."""
        endpoint.remembers().picks.append(Pick(now_s, TRIAL, 1, ()))

    def _pick(self, now_s: float, key: bytes | None = None, exclude: Collection[GatewayEndpoint] = ()) -> GatewayEndpoint | None:
        endpoints = self._endpoints
        self._left -= 1
        if self._left <= 0:
            endpoints.watch(None)
        offered = [each for each in endpoints.ready or endpoints.suspects if each not in exclude]
        costs = {each: endpoints.balancer.cost(each, now_s) for each in offered} if len(offered) <= MOST_COMPARED else {}
        chosen = endpoints.usual(now_s, key, exclude)
        if chosen is not None:
            candidates = tuple(_candidate(each, costs.get(each, inf)) for each in _named(chosen, costs))
            reason = self._reason(chosen, len(offered), excluded=bool(exclude))
            chosen.remembers().picks.append(Pick(now_s, reason, len(offered), candidates))
        return chosen

    def _reason(self, chosen: GatewayEndpoint, offered: int, *, excluded: bool) -> str:
        endpoints = self._endpoints
        if chosen in endpoints.suspects:
            return "a suspect, since no ready instance is left"
        why = "the only one left" if offered == 1 and excluded else "the only one" if offered == 1 else endpoints.balancer.rule
        if endpoints.panic:
            why = f"panic: all are used{', those that are out last' if excluded else ''}; {why}"
        return f"another attempt, on another instance: {why}" if excluded else why


def _named(chosen: GatewayEndpoint, costs: dict[GatewayEndpoint, float]) -> list[GatewayEndpoint]:
    others = sorted((each for each in costs if each is not chosen), key=costs.__getitem__)
    return [chosen, *others[: MOST_NAMED - 1]]


def _candidate(endpoint: GatewayEndpoint, cost: float) -> Candidate:
    return Candidate(endpoint.id, endpoint.instance.key.node, cost if isfinite(cost) else None, endpoint.active)

"""What one process of the gateway decides about instances and services holds in all of them, at once.

A worker ejects an instance, sees it come back, opens a breaker: it tells the parent, which does the same and tells the others. What
operators order and what health checks find is the parent's to tell. What time alone brings (an ejection that is over, a breaker that
turns half open) everybody sees by himself.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from balancers.endpoint import EndpointState
from discovery.instance import InstanceKey
from lbgateway.dataplane.members import Verdict
from lbgateway.dataplane.orders import Order, give
from lbgateway.policies.circuit_breaker import TRANSITIONS, BreakerState
from lbgateway.workers.shared_endpoint import NumberedEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lbgateway.dataplane.gateway_endpoint import GatewayEndpoint
    from lbgateway.dataplane.plane import DataPlane
    from lbgateway.dataplane.upstream import Upstream

Facts = dict[str, Any]

KINDS = frozenset(("ejected", "returned", "suspect", "breaker", "order", "verdict", "verdicts_forgotten"))


class Tell(Protocol):
    """Tells the other processes."""

    def __call__(self, kind: str, /, **facts: Any) -> None: ...


class Sharing:
    """One process's half: implements `dataplane.news.Others`, and does what others have decided."""

    def __init__(self, plane: DataPlane, tell: Tell) -> None:
        self._plane = plane
        self._tell = tell
        self._stale: set[Upstream] = set()
        self.taking_over = False

    # -- what is decided here ------------------------------------------------------------------

    def endpoint_changed(self, service: str, endpoint: GatewayEndpoint, before: EndpointState) -> None:
        """Tell of an ejection and of its end, and of a suspect that does not answer: the rest comes to all from the parent."""
        assert isinstance(endpoint, NumberedEndpoint)
        state, who = endpoint.state, {"service": service, "number": endpoint.number}
        if state is EndpointState.EJECTED and endpoint.ejection is not None:
            self._tell("ejected", **who, **_ejection(endpoint))
        elif before is EndpointState.EJECTED and state is not before and endpoint.ejection is None:
            self._tell("returned", **who)
        elif before is state is EndpointState.SUSPECT:
            self._tell("suspect", **who, failed=self._plane.upstreams[service].endpoints.has_failed(endpoint))

    def breaker_moved(self, service: str, state: BreakerState, why: str) -> None:
        upstream = self._plane.upstreams.get(service)
        if upstream is not None and state is not BreakerState.HALF_OPEN:
            self._tell("breaker", service=service, state=state, at_s=upstream.breaker.moved_at_s, why=why)

    def order(self, service: str, key: InstanceKey, order: Order, *, release: bool) -> None:
        """An operator wants something else of an instance; with `release` nothing that has failed is to count any more."""
        self._tell("order", service=service, key=key, order=asdict(order), release=release)

    def verdict(self, upstream: Upstream, endpoint: GatewayEndpoint | None) -> None:
        """A health check finds otherwise than before; None: of this service nothing is found any more."""
        if endpoint is None:
            self._tell("verdicts_forgotten", service=upstream.name)
            return
        assert isinstance(endpoint, NumberedEndpoint)
        self._tell("verdict", service=upstream.name, number=endpoint.number, found=upstream.verdicts[endpoint.key])

    def everything(self) -> Iterator[tuple[str, Facts]]:
        """What is in force, for somebody who knows nothing: kinds and facts."""
        for service, orders in self._plane.orders.items():
            for key, order in orders.items():
                yield "order", {"service": service, "key": key, "order": asdict(order), "release": False}
        for upstream in self._plane.upstreams.values():
            service = upstream.name
            for endpoint in upstream.endpoints.endpoints.values():
                assert isinstance(endpoint, NumberedEndpoint)
                who = {"service": service, "number": endpoint.number}
                if endpoint.key in upstream.verdicts:
                    yield "verdict", {**who, "found": upstream.verdicts[endpoint.key]}
                if endpoint.ejection is not None:
                    yield "ejected", {**who, **_ejection(endpoint)}
                if upstream.endpoints.has_failed(endpoint):
                    yield "suspect", {**who, "failed": True}
            if upstream.breaker.state is not BreakerState.CLOSED:
                moved = {"at_s": upstream.breaker.moved_at_s, "why": upstream.breaker.why}
                yield "breaker", {"service": service, "state": BreakerState.OPEN, **moved}

    # -- what others have decided --------------------------------------------------------------

    def hear(self, facts: Facts) -> bool:
        """Do the same here; False if `facts` are about something else."""
        if facts["kind"] not in KINDS:
            return False
        self.taking_over = True
        try:
            self._do(self._plane.upstreams.get(facts["service"]), facts)
        finally:
            self.taking_over = False
        return True

    def _do(self, upstream: Upstream | None, facts: Facts) -> None:
        kind = facts["kind"]
        if kind == "order":
            self._obey(upstream, facts)
        elif upstream is None:
            return
        elif kind == "breaker":
            self._move_breaker(upstream, facts)
        elif kind == "verdicts_forgotten":
            upstream.verdicts.clear()
            self._refresh_soon(upstream)
        elif (endpoint := numbered(upstream, facts["number"])) is not None:
            self._do_to(upstream, endpoint, facts, monotonic())

    def _do_to(self, upstream: Upstream, endpoint: GatewayEndpoint, facts: Facts, now_s: float) -> None:
        match facts["kind"]:
            case "ejected":
                upstream.outliers.adopt(endpoint, facts["why"], facts["until_s"], facts["in_row"], now_s)
            case "returned" if endpoint.ejection is not None:
                upstream.outliers.release(endpoint, now_s)
            case "suspect":
                (upstream.endpoints.fail_suspect if facts["failed"] else upstream.endpoints.confirm)(endpoint, now_s)
            case "verdict":
                self._judge(upstream, endpoint, Verdict(*facts["found"]), now_s)

    def _move_breaker(self, upstream: Upstream, facts: Facts) -> None:
        breaker, state = upstream.breaker, BreakerState(facts["state"])
        if breaker.rules is not None and state in TRANSITIONS[breaker.state]:
            breaker.move(state, facts["at_s"], facts["why"])

    def _obey(self, upstream: Upstream | None, facts: Facts) -> None:
        key, now_s = InstanceKey(*facts["key"]), monotonic()
        give(self._plane.orders[facts["service"]], key, Order(**facts["order"]))
        if upstream is not None:
            upstream.refresh(now_s)
            for endpoint in upstream.endpoints.endpoints.values() if facts["release"] else ():
                if endpoint.instance.key == key:
                    upstream.outliers.release(endpoint, now_s)

    def _judge(self, upstream: Upstream, endpoint: GatewayEndpoint, verdict: Verdict, now_s: float) -> None:
        before = upstream.verdicts.get(endpoint.key)
        upstream.verdicts[endpoint.key] = verdict
        self._refresh_soon(upstream)
        if verdict.healthy:
            upstream.endpoints.confirm(endpoint, now_s)
            if before is not None and not before.healthy and endpoint.ejection is not None:
                upstream.outliers.hurry(endpoint, now_s)

    def _refresh_soon(self, upstream: Upstream) -> None:
        """Once for all verdicts that come together: a refresh looks at every instance."""
        if not self._stale:
            asyncio.get_running_loop().call_soon(self._refresh)
        self._stale.add(upstream)

    def _refresh(self) -> None:
        stale, self._stale = self._stale, set()
        for upstream in stale:
            if self._plane.upstreams.get(upstream.name) is upstream:
                upstream.refresh(monotonic())


def numbered(upstream: Upstream, number: int) -> GatewayEndpoint | None:
    """The endpoint that all processes call so. Looked for: it is wanted as seldom as something fails."""
    there = upstream.endpoints.endpoints.values()
    return next((each for each in there if isinstance(each, NumberedEndpoint) and each.number == number), None)


def _ejection(endpoint: GatewayEndpoint) -> Facts:
    return {"why": endpoint.ejection, "until_s": endpoint.ejected_until_s, "in_row": endpoint.ejections_in_row}

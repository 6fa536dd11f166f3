"""What of an upstream is worth telling: to the log, to those who watch events, and to the history of an endpoint."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Protocol

import structlog

from balancers.endpoint import EndpointState
from lbgateway.dataplane.history import Change
from lbgateway.policies.circuit_breaker import BreakerState

if TYPE_CHECKING:
    from balancers.endpoint_set import SyncReport
    from discovery.instance import Snapshot
    from lbgateway.dataplane.upstream import GatewayEndpoint
    from lbgateway.telemetry.events import Events

log = structlog.get_logger("lbgateway")

NAMED = 20
"""So many instances an event names; a list of thousands is nothing that anybody reads."""


class Others(Protocol):
    """The other processes of this gateway: what one of them has decided holds in all."""

    taking_over: bool
    """Something of theirs is being done here at this moment: it is no news to them, and they have logged it."""

    def endpoint_changed(self, service: str, endpoint: GatewayEndpoint, before: EndpointState) -> None: ...

    def breaker_moved(self, service: str, state: BreakerState, why: str) -> None: ...


class News:
    """Of one service."""

    def __init__(self, service: str, events: Events) -> None:
        self.service = service
        self.events = events
        self.others: Others | None = None

    def on_snapshot(self, before: Snapshot | None, snapshot: Snapshot, report: SyncReport[GatewayEndpoint]) -> None:
        """The registry has spoken; that it says the same as before is no news."""
        if report or before is None or before.state is not snapshot.state:
            names = {what: [endpoint.id for endpoint in getattr(report, what)[:NAMED]] for what in ("added", "removed", "changed")}
            facts = {"state": snapshot.state.value, "index": snapshot.index, "instances": len(snapshot.instances)}
            self.events.tell("registry", service=self.service, **facts, **names)

    def on_change(self, endpoint: GatewayEndpoint, before: EndpointState, now_s: float) -> None:
        """An endpoint has another state, or the same one for another reason: that is news of an ejection only."""
        after, reason = endpoint.state, endpoint.reason
        if self.others is not None and not self.others.taking_over:
            self.others.endpoint_changed(self.service, endpoint, before)
        if after is before and after is not EndpointState.EJECTED:
            return
        endpoint.remembers().changes.append(Change(now_s, before.value, after.value, reason))
        kind = "ejection" if EndpointState.EJECTED in (before, after) else "instance"
        names = {"service": self.service, "instance": endpoint.id, "node": endpoint.instance.key.node}
        self.events.tell(kind, **names, **{"from": before.value, "to": after.value, "reason": reason})

    def on_eject(self, endpoint: GatewayEndpoint, why: str) -> None:
        """It is counted under `why`."""
        series = endpoint.series
        series.ejections[why] = series.ejections.get(why, 0) + 1
        log.warning(
            "instance ejected",
            service=self.service,
            instance=endpoint.id,
            reason=endpoint.ejection,
            last_error=series.last_error,
            for_seconds=round(endpoint.ejected_until_s - monotonic(), 1),
        )

    def on_return(self, endpoint: GatewayEndpoint) -> None:
        if self.others is None or not self.others.taking_over:
            log.info("instance is back", service=self.service, instance=endpoint.id)

    def on_kept(self, endpoint: GatewayEndpoint) -> None:
        """It fails, and has to stay."""
        log.warning(
            "instance fails, and is not ejected",
            service=self.service,
            instance=endpoint.id,
            reason=f"{endpoint.failures_in_row} failures in a row, and as many are out as max_ejected allows",
            last_error=endpoint.series.last_error,
        )

    def on_breaker(self, state: BreakerState, why: str) -> None:
        if self.others is None or not self.others.taking_over:
            tell = log.warning if state is BreakerState.OPEN else log.info
            tell("breaker moved", service=self.service, state=state.value, reason=why)
        if self.others is not None and not self.others.taking_over:
            self.others.breaker_moved(self.service, state, why)
        self.events.tell("breaker", service=self.service, state=state.value, reason=why)

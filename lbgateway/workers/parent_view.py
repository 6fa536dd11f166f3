"""The gateway as its operators see it, over all workers. Most of it is in the parent's own numbers, where the workers' have been added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lbgateway.instance_views import milliseconds
from lbgateway.view import GatewayView, Numbers

if TYPE_CHECKING:
    from lbgateway.controlplane.port import AuthorityView, Command, ExplainedView, RedisView, ServiceHead
    from lbgateway.dataplane.upstream import Upstream
    from lbgateway.runtime import Gateway
    from lbgateway.telemetry.metrics import Metrics
    from lbgateway.workers.parent_parts import ParentParts


class ParentView(GatewayView):
    """`parts` has the parent's board, and what workers have told."""

    def __init__(self, gateway: Gateway, parts: ParentParts) -> None:
        super().__init__(gateway)
        self._parts = parts

    def workers(self) -> int:
        return self._parts.board.workers

    def redis(self) -> RedisView | None:
        """It is down as soon as one worker says so."""
        asked: list[RedisView] = [each["asked"]["redis"] for each in self._gauges() if each["asked"]["redis"] is not None]
        return next((each for each in asked if each["state"] != "up"), asked[0] if asked else super().redis())

    def authorities(self) -> dict[str, AuthorityView]:
        """As whoever has fared worst says; those that have asked nothing say nothing."""
        told = super().authorities()
        for name, own in told.items():
            asked = [own, *(each["asked"]["authorities"][name] for each in self._gauges() if name in each["asked"]["authorities"])]
            by_state = {each["state"]: each for each in asked}
            told[name] = by_state.get("down") or by_state.get("up") or own
        return told

    def service(self, name: str) -> ServiceHead | None:
        head = super().service(name)
        if head is not None and head["hedge"] is not None:
            told = self._merging.patience_s.get(name, {}).values()
            head["hedge"]["after_ms"] = milliseconds(sum(told) / len(told)) if told else None
        return head

    def tokens_of(self, upstream: Upstream) -> int:
        """What the workers have left of it, each its part."""
        told = self._merging.tokens.get(upstream.name)
        return int(sum(told.values())) if told else super().tokens_of(upstream)

    def act(self, name: str, instance: str, command: Command) -> ExplainedView | list[str]:
        """Here, and in all workers; the answer waits until they have done it."""
        done = super().act(name, instance, command)
        if not isinstance(done, list):
            self._parts.order(self._gateway.plane.upstreams[name], done["id"], done["node"], command)
        return done

    def metrics(self) -> Numbers:
        return SumNumbers(self._gateway, self)

    @property
    def _merging(self) -> Any:
        return self._parts.merging

    def _gauges(self) -> list[dict[str, Any]]:
        return list(self._merging.gauges.values())


class SumNumbers(Numbers):
    def __init__(self, gateway: Gateway, view: ParentView) -> None:
        super().__init__(gateway)
        self._view = view

    @property
    def metrics(self) -> Metrics:
        metrics, gauges = super().metrics, self._view._gauges()  # noqa: SLF001 one file, one matter
        metrics.requests_active += sum(each["requests"] for each in gauges)
        metrics.loop_lag_s = max([metrics.loop_lag_s, *(each["lag_s"] for each in gauges)])
        metrics.pids = ("self", *(each["pid"] for each in gauges))
        metrics.rate_limit_store_state = (self._view.redis() or {"state": "up"})["state"]
        return metrics

"""How a service is guarded: its settings in the data plane's words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from balancers.outlier import OutlierRules
from lbgateway.config.units import parse_duration
from lbgateway.dataplane.rules import CheckRules, UpstreamRules
from lbgateway.errors import BreakerOpen, substitute
from lbgateway.policies.circuit_breaker import BreakerRules
from lbgateway.policies.hedge import HedgeRules

if TYPE_CHECKING:
    from lbgateway.config.service import BreakerSettings, HealthCheckSettings, HedgeSettings, OutlierSettings, ServiceSettings


class _WhenOpen(TypedDict, total=False):
    fallback_service: str
    when_open: type[BreakerOpen]


def upstream_rules(service: ServiceSettings) -> UpstreamRules:
    """Everything that guards one service."""
    breaker = service.breaker
    return UpstreamRules(
        outlier=_outlier(service.outlier),
        panic_threshold=service.panic_threshold,
        slow_start_s=service.slow_start,
        check=None if service.health_check is None else _check(service.health_check),
        breaker=None if breaker is None else _breaker(breaker),
        max_active=service.limits.max_active,
        max_connections=service.limits.max_connections,
        adaptive=service.limits.adaptive,
        max_pending=service.limits.max_pending or 0,
        hedge=None if service.hedge is None else _hedge(service.hedge),
        **_when_open(breaker),
    )


def _outlier(given: OutlierSettings) -> OutlierRules:
    return OutlierRules(given.consecutive_failures, given.eject_for, given.max_eject_for, given.max_ejected, given.success_rate)


def _breaker(given: BreakerSettings) -> BreakerRules:
    return BreakerRules(given.failure_ratio, given.min_requests, given.window, given.open_for, given.half_open_requests)


def _check(given: HealthCheckSettings) -> CheckRules:
    return CheckRules(given.path, given.interval, given.timeout, given.unhealthy_after, given.healthy_after, *given.expect)


def _hedge(given: HedgeSettings) -> HedgeRules:
    if given.after.startswith("p"):
        return HedgeRules(given.at_most, quantile=float(given.after[1:]) / 100)
    return HedgeRules(given.at_most, after_s=parse_duration(given.after))


def _when_open(given: BreakerSettings | None) -> _WhenOpen:
    fallback = given.fallback if given is not None else None
    if fallback is None:
        return {}
    if fallback.service is not None:
        return {"fallback_service": fallback.service}
    return {"when_open": substitute(fallback.status or BreakerOpen.status, fallback.content_type, fallback.body)}

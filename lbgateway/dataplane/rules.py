"""What an operator wants of one upstream, in the data plane's own words; replaced whole on reload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lbgateway.errors import BreakerOpen

if TYPE_CHECKING:
    from balancers.outlier import OutlierRules
    from lbgateway.policies.circuit_breaker import BreakerRules
    from lbgateway.policies.hedge import HedgeRules


@dataclass(frozen=True, slots=True)
class CheckRules:
    """The contract's ``health_check``; durations in seconds. Without `path` a TCP connection is all that is wanted."""

    path: str | None = None
    interval_s: float = 5.0
    timeout_s: float = 1.0
    unhealthy_after: int = 3
    healthy_after: int = 2
    lowest: int = 200
    highest: int = 399

    def judge(self, status: int) -> str | None:
        """None if an answer with `status` is a success, or what is wrong with it."""
        return None if self.lowest <= status <= self.highest else f"GET {self.path} answered {status}"


@dataclass(frozen=True, slots=True)
class UpstreamRules:
    """How a service is guarded; the defaults guard nothing. Shares are 0..1."""

    outlier: OutlierRules | None = None
    panic_threshold: float = 0.0
    slow_start_s: float = 0.0
    breaker: BreakerRules | None = None
    fallback_service: str | None = None
    """Who gets the requests while the breaker is open."""
    when_open: type[BreakerOpen] = BreakerOpen
    """What the gateway answers then, if nobody does."""
    check: CheckRules | None = None
    max_active: int | None = None
    """Requests at once, per instance; None for no limit, here and below."""
    max_connections: int | None = None
    adaptive: bool = False
    """Whether an instance's own latency says how many requests at once, up to these."""
    max_pending: int = 0
    """How many may wait for room, per instance."""
    hedge: HedgeRules | None = None

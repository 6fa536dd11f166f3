"""``services``: how a service is called. Built-in < ``"*"`` < the service < the route, key by key.

Defaults are what this version does: a feature that is not built yet is off here, whatever the
contract's default, so that the effective configuration never promises what does not happen.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from lbgateway.config.fields import (
    Count,
    Duration,
    File,
    HeaderName,
    HostPort,
    PositiveDuration,
    Ratio,
    ServiceName,
    Size,
    Text,
    UrlPath,
    Whole,
    as_written,
    split_host_port,
)
from lbgateway.config.section import Section

Balancer = Literal[
    "round_robin",
    "weighted",
    "least_connections",
    "random",
    "p2c",
    "ewma",
    "peak_ewma",
    "ring_hash",
    "maglev",
    "rendezvous",
    "prequal",
]
RetryOn = Literal["connect", "reset", "timeout", "malformed", "500", "502", "503", "504"]
NonNegative = Annotated[Whole, Field(ge=0)]


class InstanceSettings(Section):
    """One instance of a static service; in the file also just ``host:port``."""

    address: HostPort
    id: Text | None = None
    weight: Annotated[Whole, Field(ge=0, le=65535)] = 1
    tags: tuple[Text, ...] = ()
    meta: dict[str, Text] = Field(default_factory=dict)
    zone: Text | None = None

    @property
    def host(self) -> str:
        """Name or address, without brackets."""
        return split_host_port(self.address)[0]

    @property
    def port(self) -> int:
        return split_host_port(self.address)[1]


def _instance(value: object) -> object:
    return {"address": value} if isinstance(value, str) else value


class ServiceTls(Section):
    ca: File | None = None
    cert: File | None = None
    key: File | None = None
    server_name: Text | None = None
    verify: bool = True


class StickySettings(Section):
    cookie: Text = "lbgateway_sticky"
    ttl: PositiveDuration = 3600.0


class SubsetMatch(Section):
    header: HeaderName


class SubsetAbort(Section):
    error_ratio: float = 2.0
    p99_ratio: float = 1.5
    min_requests: Count = 200


class SubsetSettings(Section):
    name: Text
    tags: tuple[Text, ...] = ()
    share: Ratio = 0.0
    match: SubsetMatch | None = None
    abort: SubsetAbort | None = None


class TierSettings(Section):
    zone: Text | None = None
    datacenter: Text | None = None


class HealthCheckSettings(Section):
    path: UrlPath
    interval: PositiveDuration = 5.0
    timeout: PositiveDuration = 1.0
    unhealthy_after: Count = 3
    healthy_after: Count = 2
    expect: tuple[Whole, ...] = (200, 399)


class OutlierSettings(Section):
    consecutive_failures: Count = 5
    eject_for: PositiveDuration = 1.0
    max_eject_for: PositiveDuration = 30.0
    max_ejected: Ratio = 0.5
    success_rate: bool = True


class FallbackSettings(Section):
    service: ServiceName | None = None
    status: Whole | None = None
    body: Text = ""
    content_type: Text = "application/json"


class BreakerSettings(Section):
    failure_ratio: Ratio = 0.5
    min_requests: Count = 20
    window: PositiveDuration = 10.0
    open_for: PositiveDuration = 5.0
    half_open_requests: Count = 3
    fallback: FallbackSettings | None = None


class LimitsSettings(Section):
    max_active: Count | None = None
    max_pending: NonNegative | None = None
    max_connections: Count | None = None
    adaptive: bool = False


class TimeoutSettings(Section):
    """Seconds. ``response``: to its head, per attempt; ``total``: to the head, all attempts; ``idle``: a gap in a body."""

    connect: PositiveDuration = 1.0
    response: PositiveDuration = 30.0
    total: PositiveDuration = 60.0
    idle: PositiveDuration = 60.0
    tunnel_idle: PositiveDuration = 3600.0
    pool_idle: PositiveDuration = 4.0


class RetrySettings(Section):
    """``attempts`` counts tries after the first; ``replay_body_up_to`` is in bytes."""

    attempts: Annotated[Whole, Field(ge=0, le=10)] = 2
    on: tuple[Annotated[RetryOn, BeforeValidator(as_written)], ...] = ("connect", "reset")
    methods: Literal["idempotent"] = "idempotent"
    budget: Ratio | None = None
    min_per_second: NonNegative | None = None
    backoff: Duration | None = None
    per_try_timeout: PositiveDuration | None = None
    replay_body_up_to: Size = 64 * 1024


class HedgeSettings(Section):
    after: Text = "p95"
    at_most: Ratio = 0.05


class MirrorSettings(Section):
    service: ServiceName
    share: Ratio = 1.0


class ServiceSettings(Section):
    """Everything about one service; durations in seconds, sizes in bytes."""

    instances: tuple[Annotated[InstanceSettings, BeforeValidator(_instance)], ...] = ()
    scheme: Literal["http", "https"] = "http"
    transport: Literal["native", "httpx"] = "native"
    tls: ServiceTls | None = None
    balancer: Balancer = "ewma"
    hash_on: Text | None = None
    sticky: StickySettings | None = None
    zone_aware: bool = False
    slow_start: Duration = 0.0
    probe_path: UrlPath | None = None
    panic_threshold: Ratio = 0.0
    subsets: tuple[SubsetSettings, ...] = ()
    tiers: tuple[TierSettings, ...] = ()
    health_check: HealthCheckSettings | None = None
    outlier: OutlierSettings | None = None
    breaker: BreakerSettings | None = None
    limits: LimitsSettings = LimitsSettings()
    timeout: TimeoutSettings = TimeoutSettings()
    retry: RetrySettings = RetrySettings()
    hedge: HedgeSettings | None = None
    mirror: MirrorSettings | None = None

    @field_validator("panic_threshold", mode="before")
    @classmethod
    def _no_panic(cls, value: object) -> object:
        return 0.0 if value is None else value

"""``services``: how a service is called. Built-in < ``"*"`` < the service < the route, key by key.

Defaults are what this version does: a feature that is not built yet is off here, whatever the
contract's default, so that the effective configuration never promises what does not happen.
"""

import re
from typing import Annotated, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from lbgateway.config.environment import PROXY_SCHEMES
from lbgateway.config.fields import (
    Count,
    Duration,
    File,
    HeaderName,
    HeaderValue,
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
from lbgateway.config.shapes import HEDGE_AFTER, shaped
from lbgateway.config.units import parse_duration

_PERCENTILE = re.compile(r"p(\d+(?:\.\d+)?)", re.ASCII)
LEAST_PERCENTILE, MOST_PERCENTILE = 50, 99.9

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
Status = Annotated[Whole, Field(ge=100, le=599)]


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


def instance_item(value: object) -> object:
    """An item of a list of instances: ``host:port`` is short for a map."""
    return {"address": value} if isinstance(value, str) else value


def _off(value: object) -> object:
    """``breaker: null`` or ``false``: none at all."""
    return None if value is False else value


def _proxy(value: str) -> str:
    if value != "none" and not (value.startswith(PROXY_SCHEMES) and urlsplit(value).hostname):
        raise ValueError("not a proxy such as http://proxy.example:3128 or socks5://127.0.0.1:1080, nor `none`")
    return value


class ServiceTls(Section):
    ca: File | None = None
    cert: File | None = None
    key: File | None = None
    server_name: Text | None = None
    verify: bool = True


class HttpxSettings(Section):
    """How ``transport: httpx`` goes about it."""

    http2: Literal["auto", "always", "never"] = "auto"
    """``auto``: as TLS negotiates it; ``always``: without asking, in cleartext too."""
    proxy: Annotated[Text, AfterValidator(_proxy)] | None = None
    """None: what HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY say; ``none``: no proxy whatever they say."""


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
    """Without ``path`` a TCP connection is all that is wanted; ``expect``: lowest and highest status that is a success."""

    path: UrlPath | None = None
    interval: PositiveDuration = 5.0
    timeout: PositiveDuration = 1.0
    unhealthy_after: Count = 3
    healthy_after: Count = 2
    expect: tuple[Status, Status] = (200, 399)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.expect[0] > self.expect[1]:
            raise ValueError(f"expect: the lowest status comes first: [{self.expect[1]}, {self.expect[0]}]")
        return self


class OutlierSettings(Section):
    consecutive_failures: Count = 5
    eject_for: PositiveDuration = 1.0
    max_eject_for: PositiveDuration = 30.0
    max_ejected: Ratio = 0.5
    success_rate: bool = True


class FallbackSettings(Section):
    """Who or what answers while a breaker is open: another service, or these bytes."""

    service: ServiceName | None = None
    status: Annotated[Whole, Field(ge=200, le=599)] | None = None
    body: Text = ""
    content_type: HeaderValue = "application/json"

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.service is None) == (self.status is None):
            raise ValueError("needs `service`, or `status` with `body`; not both")
        if self.status in (204, 304) and self.body:
            raise ValueError(f"an answer of {self.status} has no body")
        return self

    def beneath(self, over: Self) -> Self:
        """A service takes the place of an answer, and an answer that of a service."""
        return self if (self.service is None) == (over.service is None) else over


class BreakerSettings(Section):
    failure_ratio: Ratio = 0.5
    min_requests: Count = 20
    window: PositiveDuration = 10.0
    open_for: PositiveDuration = 5.0
    half_open_requests: Count = 3
    fallback: FallbackSettings | None = None


class LimitsSettings(Section):
    """Per instance. ``max_pending``: how many may wait when all are full."""

    max_active: Count | None = None
    max_pending: NonNegative | None = None
    max_connections: Count | None = 512
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
    """``attempts`` counts tries after the first; ``per_try_timeout`` bounds each of them; ``replay_body_up_to`` is in bytes."""

    attempts: Annotated[Whole, Field(ge=0, le=10)] = 2
    on: tuple[Annotated[RetryOn, BeforeValidator(as_written)], ...] = get_args(RetryOn)
    methods: Literal["idempotent"] = "idempotent"
    budget: Ratio = 0.2
    min_per_second: NonNegative = 10
    backoff: Duration = 0.025
    per_try_timeout: PositiveDuration | None = None
    replay_body_up_to: Size = 64 * 1024


def _hedge_after(value: str) -> str:
    """A percentile of recent latencies, or a duration."""
    value = value.strip()
    percentile = _PERCENTILE.fullmatch(value)
    if percentile is not None:
        if not LEAST_PERCENTILE <= float(percentile[1]) <= MOST_PERCENTILE:
            raise ValueError(f"a percentile must be from p{LEAST_PERCENTILE} to p{MOST_PERCENTILE}")
        return value
    try:
        seconds = parse_duration(value)
    except ValueError:
        raise ValueError("must be a percentile of the service's latencies, such as p95, or a duration, such as 50ms") from None
    if not seconds:
        raise ValueError("must be more than 0: with 0s every request would be sent twice")
    return value


class HedgeSettings(Section):
    after: Annotated[Text, AfterValidator(_hedge_after), shaped(HEDGE_AFTER)] = "p95"
    at_most: Ratio = 0.05


class MirrorSettings(Section):
    service: ServiceName
    share: Ratio = 1.0


class ServiceSettings(Section):
    """Everything about one service; durations in seconds, sizes in bytes."""

    instances: tuple[Annotated[InstanceSettings, BeforeValidator(instance_item)], ...] = ()
    scheme: Literal["http", "https"] = "http"
    transport: Literal["native", "httpx"] = "native"
    httpx: HttpxSettings = HttpxSettings()
    tls: ServiceTls | None = None
    balancer: Balancer = "ewma"
    hash_on: Text | None = None
    sticky: StickySettings | None = None
    zone_aware: bool = False
    slow_start: Duration = 0.0
    probe_path: UrlPath | None = None
    panic_threshold: Ratio = 0.5
    subsets: tuple[SubsetSettings, ...] = ()
    tiers: tuple[TierSettings, ...] = ()
    health_check: HealthCheckSettings | None = None
    outlier: OutlierSettings = OutlierSettings()
    breaker: Annotated[BreakerSettings | None, BeforeValidator(_off)] = BreakerSettings()
    limits: LimitsSettings = LimitsSettings()
    timeout: TimeoutSettings = TimeoutSettings()
    retry: RetrySettings = RetrySettings()
    hedge: Annotated[HedgeSettings | None, BeforeValidator(_off)] = None
    mirror: MirrorSettings | None = None

"""What operators see and use: admin, health, logging, metrics, tracing."""

from typing import Literal

from lbgateway.config.fields import HostPort, Ratio, Scope, ServiceName, Url, UrlPath
from lbgateway.config.section import Section
from lbgateway.config.visible import Token


class AdminSettings(Section):
    token: Token | None = None
    scope: Scope = "admin"
    allow_loopback: bool = False
    listen: HostPort | None = None


class HealthSettings(Section):
    required: tuple[ServiceName, ...] = ()


class LoggingSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"
    access_log: bool = True
    sample: Ratio = 1.0


class MetricsSettings(Section):
    enabled: bool = True
    path: UrlPath = "/metrics"
    public: bool = True


class TracingSettings(Section):
    otlp: Url
    sample: Ratio = 0.01

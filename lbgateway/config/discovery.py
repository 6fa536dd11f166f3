"""``discovery``: where instances come from."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from lbgateway.config.fields import Count, Duration, File, HostPort, Port, PositiveDuration, Prefix, ServiceName, Text, Url
from lbgateway.config.secret import Secret
from lbgateway.config.section import Section


class ConsulTls(Section):
    """``ca`` verifies Consul; ``cert`` and ``key`` show who we are."""

    ca: File | None = None
    cert: File | None = None
    key: File | None = None


class FeedbackSettings(Section):
    to: Literal["kv", "check"]
    quorum: Count = 2


class RegisterSettings(Section):
    name: ServiceName = "lbgateway"
    address: Text | None = None
    port: Port | None = None


def _expose(value: object) -> object:
    if value in ("tagged", "all"):
        return value
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return tuple(name.lower() for name in value)
    raise ValueError("must be tagged, all, or a list of service names")


class ConsulSettings(Section):
    """Durations in seconds. ``expose`` is ``tagged``, ``all`` or names in lower case."""

    url: Url = "http://127.0.0.1:8500"
    token: Secret | None = None
    datacenter: Text | None = None
    failover_datacenters: tuple[Text, ...] = ()
    consistency: Literal["stale", "default", "consistent"] = "stale"
    max_age: PositiveDuration = 600.0
    wait: PositiveDuration = 30.0
    passing_only: bool = True
    tags: tuple[Text, ...] = ()
    snapshot: Text | None = None
    empty_hold: Duration = 10.0
    expose: Annotated[str | tuple[str, ...], BeforeValidator(_expose)] = "tagged"
    routes_from_tags: bool = False
    allow_tag_keys: tuple[Text, ...] = ()
    tag_prefixes: dict[str, tuple[Prefix, ...]] = Field(default_factory=dict)
    feedback: FeedbackSettings | None = None
    config_key: Text | None = None
    tls: ConsulTls | None = None
    register_: RegisterSettings | None = Field(default=None, alias="register")


class FileSettings(Section):
    path: Text


class DnsSettings(Section):
    nameservers: tuple[HostPort, ...] = ()
    interval: PositiveDuration = 5.0


class DiscoverySettings(Section):
    provider: Literal["consul", "static", "file", "dns", "embedded"] = "consul"
    consul: ConsulSettings = ConsulSettings()
    file: FileSettings | None = None
    dns: DnsSettings | None = None

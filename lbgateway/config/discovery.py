"""``discovery``: where instances come from."""

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from lbgateway.config.fields import (
    Count,
    Duration,
    File,
    OwnFile,
    Port,
    PositiveDuration,
    Prefix,
    ServiceName,
    Text,
    Urls,
    split_host_port,
)
from lbgateway.config.section import Section
from lbgateway.config.shapes import EXPOSE, shaped
from lbgateway.config.tag_keys import grantable
from lbgateway.config.visible import Named, Token


class ConsulTls(Section):
    """``ca`` verifies Consul; ``cert`` and ``key`` show who we are."""

    ca: File | None = None
    cert: File | None = None
    key: File | None = None


class FeedbackSettings(Section):
    to: Literal["kv", "check"]
    quorum: Count = 2


class RegisterSettings(Section):
    """``drain_pause``: seconds between leaving the registry and closing the port."""

    name: ServiceName = "lbgateway"
    address: Text | None = None
    port: Annotated[Port, Field(ge=1)] | None = None
    tags: tuple[Text, ...] = ()
    meta: dict[str, Text] = Field(default_factory=dict)
    drain_pause: Duration = 2.0


def _expose(value: object) -> object:
    if value in ("tagged", "all"):
        return value
    if isinstance(value, list | tuple) and all(isinstance(name, str) and name.strip() for name in value):
        return tuple(name.lower() for name in value)
    raise ValueError("must be tagged, all, or a list of service names")


def _no_placeholder(prefix: str) -> str:
    if "{" in prefix or "}" in prefix:
        raise ValueError("is a prefix as requests have it, without a placeholder")
    return prefix


class ConsulSettings(Section):
    """Durations in seconds. ``expose`` is ``tagged``, ``all`` or names in lower case."""

    url: Urls = "http://127.0.0.1:8500"
    token: Token | None = None
    datacenter: Text | None = None
    failover_datacenters: tuple[Text, ...] = ()
    consistency: Literal["stale", "default", "consistent"] = "stale"
    max_age: PositiveDuration = 600.0
    wait: PositiveDuration = 30.0
    passing_only: bool = True
    tags: tuple[Named, ...] = ()
    snapshot: OwnFile | None = None
    empty_hold: Duration = 10.0
    expose: Annotated[str | tuple[str, ...], BeforeValidator(_expose), shaped(EXPOSE)] = "tagged"
    routes_from_tags: bool = True
    allow_tag_keys: tuple[Annotated[Text, AfterValidator(grantable)], ...] = ()
    tag_prefixes: dict[ServiceName, tuple[Annotated[Prefix, AfterValidator(_no_placeholder)], ...]] = Field(default_factory=dict)
    feedback: FeedbackSettings | None = None
    config_key: Text | None = None
    tls: ConsulTls | None = None
    register_: RegisterSettings | None = Field(default=None, alias="register")

    @property
    def agents(self) -> tuple[str, ...]:
        """The addresses of all agents."""
        return (self.url,) if isinstance(self.url, str) else self.url


class FileSettings(Section):
    """``path`` lists the instances of all services; see `config.instances`."""

    path: File


def _nameserver(value: str) -> str:
    try:
        ipaddress.ip_address(split_host_port(value)[0])
    except ValueError:
        raise ValueError("a nameserver is written as address and port, such as 127.0.0.1:8600") from None
    return value


def _some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("must have at least one item")
    return value


def _dns_name(value: str) -> str:
    if value.count("{service}") != 1:
        raise ValueError("must have {service} once, such as {service}.service.consul")
    return value


class DnsSettings(Section):
    """``name`` is what is asked for; ``interval`` is for records without a TTL of their own."""

    nameservers: Annotated[tuple[Annotated[Text, AfterValidator(_nameserver)], ...], AfterValidator(_some)]
    name: Annotated[Text, AfterValidator(_dns_name)] = "{service}.service.consul"
    interval: PositiveDuration = 5.0


class EmbeddedSettings(Section):
    """``file`` keeps registrations and keys over a restart; without it they end with the process."""

    file: OwnFile | None = None


class DiscoverySettings(Section):
    provider: Literal["consul", "static", "file", "dns", "embedded"] = "consul"
    consul: ConsulSettings = ConsulSettings()
    file: FileSettings | None = None
    dns: DnsSettings | None = None
    embedded: EmbeddedSettings = EmbeddedSettings()

"""What a configuration allows but probably does not mean: said at the start and by ``lbgateway check``, refused never. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discovery.consul_access import is_loopback
from lbgateway.config.certificates import expired
from lbgateway.config.errors import Finding
from lbgateway.config.fields import split_host_port
from lbgateway.config.jwt_rules import warn_jwt
from lbgateway.config.limit_rules import warn_limits
from lbgateway.config.session_rules import warn_session
from lbgateway.config.settings import is_under

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lbgateway.config.document import Document
    from lbgateway.config.errors import KeyPath
    from lbgateway.config.service import ServiceSettings
    from lbgateway.config.settings import Settings

    Advice = Iterator[tuple[KeyPath, str]]


def warn(settings: Settings, document: Document) -> Iterator[Finding]:
    """All of it, each where it is written."""
    for part in (_server, _auth, warn_limits, _services, _unused, _health, _registration, _never_reached):
        yield from (Finding(document.origin(path), path, message) for path, message in part(settings))


def _server(settings: Settings) -> Advice:
    server = settings.server
    if server.deadline_header and not server.trusted_proxies:
        yield ("server", "deadline_header"), "is believed from nobody while server.trusted_proxies is empty; it is only written"
    if settings.admin.listen is not None and server.tls is not None and not is_loopback(split_host_port(settings.admin.listen)[0]):
        yield ("admin", "listen"), "speaks plain HTTP, whatever server.tls says: the admin token can be read on the way to this address"
    if server.tls is not None and (text := expired(server.tls.cert)):
        yield ("server", "tls", "cert"), text


def _auth(settings: Settings) -> Advice:
    if settings.auth.jwt is not None:
        yield from warn_jwt(settings.auth.jwt)
    if settings.auth.session is not None:
        yield from warn_session(settings.auth.session)


def _services(settings: Settings) -> Advice:
    for name, service in settings.services.items():
        if service.tls is not None and not service.tls.verify:
            yield ("services", name, "tls", "verify"), "false: whoever answers at an instance's address is believed"
        if settings.service(name).slow_start and settings.service(name).balancer == "round_robin":
            yield ("services", name), "slow_start has no effect with round_robin, which knows no weights: take weighted"
        if _hedges_never(settings.service(name)):
            yield ("services", name), "hedge has no effect: a hedge is one of retry.attempts, and the retry budget pays for it"
    static = settings.discovery.provider == "static"
    for name in settings.named_services():
        instances = settings.services[name].instances
        if static and not instances:
            yield ("services", name), "has no instances: every request to it will be answered 503"
        elif instances and not static:
            yield ("services", name, "instances"), f"is not used: discovery.provider is {settings.discovery.provider}, not static"


def _hedges_never(service: ServiceSettings) -> bool:
    hedge, retry = service.hedge, service.retry
    return hedge is not None and (not retry.attempts or not (retry.budget or retry.min_per_second))


def _unused(settings: Settings) -> Advice:
    """Keys of a source that is not the one in use."""
    discovery = settings.discovery
    if discovery.file is not None and discovery.provider != "file":
        yield ("discovery", "file"), f"is not used: discovery.provider is {discovery.provider}, not file"
    if discovery.dns is not None and discovery.provider != "dns":
        yield ("discovery", "dns"), f"is not used: discovery.provider is {discovery.provider}, not dns"
    if discovery.provider == "dns" and not settings.named_services() and all(route.service is None for route in settings.routes):
        yield ("discovery", "provider"), "no service is named, and DNS has no list of them: name each under `services`, or in a route"
    if discovery.consul.snapshot is not None and discovery.provider != "consul":
        yield ("discovery", "consul", "snapshot"), f"is not used: discovery.provider is {discovery.provider}, not consul"
    if discovery.embedded.file is not None and discovery.provider != "embedded":
        yield ("discovery", "embedded", "file"), f"is not used: discovery.provider is {discovery.provider}, not embedded"
    if discovery.provider not in ("consul", "embedded") and discovery.consul.config_key:
        yield ("discovery", "consul", "config_key"), f"is not used: discovery.provider is {discovery.provider}, not consul"


def _health(settings: Settings) -> Advice:
    static = settings.discovery.provider == "static"
    for index, name in enumerate(settings.health.required):
        if name == "redis" and static and name not in settings.services and not settings.uses_redis:
            yield ("health", "required", index), "redis can never be well: neither rate_limit.store nor auth.session.store is in one"


def _registration(settings: Settings) -> Advice:
    register, host = settings.discovery.consul.register_, settings.server.host
    if register is not None and register.address is None and is_loopback(host):
        text = f"announces {host}, where only this machine finds the gateway: set server.host, or `address` here"
        yield ("discovery", "consul", "register"), text
    if register is not None and settings.server.proxy_protocol and settings.admin.listen is None:
        text = "the agent's check finds a closed door: it sends no preamble, and server.proxy_protocol lets in nobody without"
        yield ("discovery", "consul", "register"), text


def _never_reached(settings: Settings) -> Advice:
    if settings.admin.listen is not None:
        return
    for index, route in enumerate(settings.routes):
        own = next((one for one in settings.own_paths if is_under(route.prefix, one)), None)
        if own is not None and route.prefix != "/":
            yield ("routes", index, "prefix"), f"is never reached: {own} belongs to the gateway itself"

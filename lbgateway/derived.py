"""What the parts of a gateway need of its settings, in their own words. Pure, but for the certificates that it has read."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from discovery import InstanceState, static_instance
from lbgateway.config.instances import read_instances
from lbgateway.config.settings import EVERY_SERVICE
from lbgateway.config.tls import client_context, fingerprint
from lbgateway.controlplane.admin_auth import AdminAccess
from lbgateway.controlplane.app import ControlPlaneSettings
from lbgateway.dataplane.plane import Limits
from lbgateway.dataplane.reach import HttpxReach, Reach, TlsReach
from lbgateway.policies.security_headers import SecurityHeaders

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from discovery.instance import Instance
    from discovery.registry import Expose
    from lbgateway.config import Settings
    from lbgateway.config.instances import ListedInstance
    from lbgateway.config.server import ServerSettings
    from lbgateway.policies.checks import Checks

LIVE = ("expose", "register_", "routes_from_tags", "allow_tag_keys", "tag_prefixes")
"""Of `discovery.consul`, what a reload changes in a running process."""


def expose_of(settings: Settings) -> Expose:
    """`discovery.consul.expose` as the registry takes it."""
    expose = settings.discovery.consul.expose
    if isinstance(expose, str):
        return "all" if expose == "all" else "tagged"
    return frozenset(expose)


def static_services(settings: Settings) -> Mapping[str, list[Instance]]:
    """The instances that the file lists."""
    return {
        name: [
            static_instance(name, item.host, item.port, id=item.id, weight=item.weight, tags=item.tags, meta=item.meta, zone=item.zone)
            for item in settings.service(name).instances
        ]
        for name in settings.named_services()
    }


def listed_services(path: str | Path) -> Mapping[str, list[Instance]]:
    """The instances that the file behind ``discovery.file`` lists; raises `ConfigErrors`."""
    return {name: [_listed(name, item) for item in items] for name, items in read_instances(path).items()}


def _listed(service: str, item: ListedInstance) -> Instance:
    state = InstanceState.PASSING if item.state == "ready" else InstanceState(item.state)
    return static_instance(
        service, item.host, item.port, provider="file", id=item.id, weight=item.weight,
        tags=item.tags, meta=item.meta, zone=item.zone, state=state, reason=item.reason,
    )  # fmt: skip


def needs_restart(running: Settings, wanted: Settings) -> list[str]:
    """The keys that differ, but that a running process cannot change."""
    keys = [f"server.{key}" for key in ("host", "port", "workers") if getattr(running.server, key) != getattr(wanted.server, key)]
    if running.admin.listen != wanted.admin.listen:
        keys.append("admin.listen")
    if running.discovery.provider != wanted.discovery.provider:
        return [*keys, "discovery.provider"]
    if running.discovery.dns != wanted.discovery.dns:
        keys.append("discovery.dns")
    before, after = running.discovery.consul, wanted.discovery.consul
    followed = before.token is not None and after.token is not None and before.token.path == after.token.path is not None
    live = (*LIVE, "token") if followed else LIVE
    differing = (key for key in type(before).model_fields if key not in live and getattr(before, key) != getattr(after, key))
    return [*keys, *(f"discovery.consul.{key}" for key in differing)]


def with_source_of(running: Settings, wanted: Settings) -> Settings:
    """`wanted`, with instances from where they come from until a restart: what follows from that stays, too, such as routes from tags."""
    discovery = wanted.discovery.model_copy(update={"provider": running.discovery.provider})
    return wanted.model_copy(update={"discovery": discovery})


def security_headers_of(settings: Settings) -> SecurityHeaders | None:
    """What answers say to browsers; None for nothing."""
    given = settings.security_headers
    return None if given is None else SecurityHeaders(given)


def own_prefixes_of(settings: Settings, running: Settings) -> tuple[bytes, ...]:
    """What belongs to the gateway itself on the public port: nothing, if it was started with a port of their own for its paths."""
    return () if running.admin.listen is not None else tuple(path.encode() for path in settings.own_paths)


def limits_of(server: ServerSettings) -> Limits:
    """What bounds a client."""
    return Limits(
        keep_alive_s=server.keep_alive,
        header_timeout_s=server.header_timeout,
        body_timeout_s=server.body_timeout,
        max_head_bytes=server.max_head,
        max_headers=server.max_headers,
        max_connections=server.max_connections,
    )


def control_plane_settings(settings: Settings, checks: Checks | None) -> ControlPlaneSettings:
    """Who may see the gateway's inside, and where its numbers are."""
    admin, metrics = settings.admin, settings.metrics
    access = AdminAccess(
        token=admin.token.reveal() if admin.token is not None else None,
        scope=admin.scope,
        allow_loopback=admin.allow_loopback,
        verify=checks.identify if checks is not None and checks.knows_tokens else None,
    )
    return ControlPlaneSettings(access, metrics.enabled, metrics.path, metrics.public)


class Reaches(dict[str, Reach | None]):
    """How the instances of each service are reached; None for plain TCP."""

    def __missing__(self, name: str) -> Reach | None:
        return self.get(EVERY_SERVICE)


def reaches_of(settings: Settings, before: Mapping[str, Reach | None] = MappingProxyType({})) -> Reaches:
    """What is as it was `before` is the same object: reading certificates takes time.

    Raises OSError where the file of a certificate cannot be used any more.
    """
    return Reaches({name: _reach(settings, name, before.get(name)) for name in (EVERY_SERVICE, *settings.named_services())})


def _reach(settings: Settings, name: str, before: Reach | None) -> Reach | None:
    service = settings.service(name)
    tls, secure = service.tls, service.scheme == "https"
    server_name, credentials = tls.server_name if tls is not None else None, fingerprint(tls) if secure else ()
    reach: Reach
    if service.transport == "httpx":
        proxies = _proxies(service.httpx.proxy, settings.proxies)
        reach = HttpxReach(service.scheme, service.httpx.http2, proxies, server_name, credentials)
    elif secure:
        reach = TlsReach(server_name, credentials)
    else:
        return None
    if reach == before:
        return before
    return replace(reach, context=client_context(tls)) if secure else reach


def _proxies(own: str | None, environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The service's own proxy, or those of the environment; ``none`` for none of them."""
    chosen = environment if own is None else {} if own == "none" else {"all": own}
    return tuple(sorted(chosen.items()))

"""What the parts of a gateway need of its settings, in their own words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discovery import static_instance
from lbgateway.controlplane.admin_auth import AdminAccess
from lbgateway.controlplane.app import ControlPlaneSettings
from lbgateway.dataplane.plane import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from discovery.instance import Instance
    from discovery.registry import Expose
    from lbgateway.config import Settings
    from lbgateway.config.server import ServerSettings
    from lbgateway.policies.jwt_auth import TokenVerifier


def expose_of(settings: Settings) -> Expose:
    """`discovery.consul.expose` as the registry takes it."""
    expose = settings.discovery.consul.expose
    if isinstance(expose, str):
        return "all" if expose == "all" else "tagged"
    return frozenset(expose)


def named_services(settings: Settings) -> Iterable[str]:
    """Services that the operator names: under `services`, or in a route."""
    return {*settings.named_services(), *(route.service for route in settings.routes if route.service is not None)}


def static_services(settings: Settings) -> Mapping[str, list[Instance]]:
    """The instances that the file lists."""
    return {
        name: [
            static_instance(name, item.host, item.port, id=item.id, weight=item.weight, tags=item.tags, meta=item.meta, zone=item.zone)
            for item in settings.service(name).instances
        ]
        for name in settings.named_services()
    }


def needs_restart(running: Settings, wanted: Settings) -> list[str]:
    """The keys that differ, but that a running process cannot change."""
    keys = [f"server.{key}" for key in ("host", "port", "workers") if getattr(running.server, key) != getattr(wanted.server, key)]
    if running.discovery.provider != wanted.discovery.provider:
        return [*keys, "discovery.provider"]
    before, after = running.discovery.consul, wanted.discovery.consul
    differing = (key for key in type(before).model_fields if key != "expose" and getattr(before, key) != getattr(after, key))
    return [*keys, *(f"discovery.consul.{key}" for key in differing)]


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


def control_plane_settings(settings: Settings, verifier: TokenVerifier | None) -> ControlPlaneSettings:
    """Who may see the gateway's inside, and where its numbers are."""
    admin, metrics = settings.admin, settings.metrics
    access = AdminAccess(
        token=admin.token.reveal() if admin.token is not None else None,
        scope=admin.scope,
        allow_loopback=admin.allow_loopback,
        verify=verifier.claims_of if verifier is not None else None,
    )
    return ControlPlaneSettings(access, metrics.enabled, metrics.path, metrics.public)

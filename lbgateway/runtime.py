"""The composition root: settings in, a running gateway out; reload, drain, stop."""

from __future__ import annotations

import asyncio
import ipaddress
import sys
import time
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog

from discovery import ConsulSource, Registry, StaticSource
from discovery.embedded import EmbeddedRegistry
from discovery.registry import NEVER
from lbgateway import __version__
from lbgateway.controlplane.app import build_app
from lbgateway.dataplane.head import request_rules
from lbgateway.dataplane.plane import DataPlane
from lbgateway.dataplane.routing import compile_routes
from lbgateway.dataplane.upstream import Upstream
from lbgateway.derived import control_plane_settings, expose_of, limits_of, named_services, needs_restart, static_services
from lbgateway.errors import NoEndpoint, NoRoute
from lbgateway.policies import compile_admit
from lbgateway.policies.jwt_auth import TokenVerifier
from lbgateway.telemetry.access_log import AccessLog
from lbgateway.view import GatewayView

if TYPE_CHECKING:
    from discovery.instance import Snapshot
    from discovery.source import Source
    from lbgateway.config import Settings
    from lbgateway.config.operations import LoggingSettings
    from lbgateway.errors import GatewayError

log = structlog.get_logger("lbgateway")

HINT_EVERY_S = 10.0
"""How often the log says that a service is registered but not exposed; a scanner must not fill it."""

SETTLE_POLL_S = 0.005


class Gateway:
    """One gateway process: data plane, discovery and control plane, put together."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        # for life
        self.loop = loop
        self.plane = DataPlane(loop)
        self.view = GatewayView(self)
        self.embedded: EmbeddedRegistry | None = None
        self.source: Source = self._make_source(settings)
        self.registry = Registry(
            self.source,
            expose=expose_of(settings),
            named=named_services(settings),
            on_snapshot=self._on_snapshot,
            on_gone=self._on_gone,
        )
        self._started_with = settings
        self._hinted_at_s: dict[str, float] = {}
        # until the next reload
        self.settings = settings
        self._access_log: AccessLog | None = None
        self._logging: LoggingSettings | None = None
        self.plane.missing_upstream = self._missing_upstream
        self._apply(settings)

    # -- life ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to watch the registry and to sweep; returns at once, whether or not the registry answers."""
        if self.settings.discovery.provider == "embedded":
            self.embedded = EmbeddedRegistry()
            url = urlsplit(self.settings.discovery.consul.url)
            await self.embedded.start(url.hostname or "127.0.0.1", url.port or 8500)
        self.plane.start()
        await self.registry.start()

    async def settle(self, within_s: float) -> None:
        """Wait until the registry has told of all services, or has failed to, for at most `within_s` seconds.

        A restarted gateway that opens its door at once would turn its first clients away.
        """
        end_s = time.monotonic() + within_s
        while not self.registry.settled() and time.monotonic() < end_s:  # noqa: ASYNC110 once in a gateway's life
            await asyncio.sleep(SETTLE_POLL_S)

    def summary(self) -> dict[str, Any]:
        """What the log tells at the start and after a reload."""
        state = self.registry.status().state
        return {
            "version": __version__,
            "routes": len(self.plane.routes.routes),
            "services": len(self.plane.upstreams),
            "discovery": self.settings.discovery.provider,
            "discovery_state": state.value if state is not None else "nothing heard yet",
        }

    def reload(self, settings: Settings) -> None:
        """Take over new settings without losing a request; what cannot change in a running process is said aloud.

        An exception leaves everything as it was.
        """
        for key in needs_restart(self._started_with, settings):
            log.warning("changed, but needs a restart to take effect", key=key)
        self._apply(settings)
        if isinstance(self.source, StaticSource):
            self.source.replace(static_services(settings))
        self.registry.configure(expose=expose_of(settings), named=named_services(settings))

    def drain(self) -> None:
        """Finish what runs, invite no more: ready turns 503, answers close their connections."""
        self.plane.draining = True

    async def aclose(self) -> None:
        """End everything; exchanges that still run are cut by whoever closes their connections."""
        await self.registry.aclose()
        for upstream in self.plane.upstreams.values():
            upstream.close(time.monotonic())
        if self.embedded is not None:
            await self.embedded.aclose()
        self.plane.stop()
        if self._access_log is not None:
            self._access_log.close()

    # -- configuration -------------------------------------------------------------------------

    def _apply(self, settings: Settings) -> None:
        # Whatever may fail comes first: half of a configuration is worse than the old one.
        verifier = self._make_verifier(settings)
        routes = compile_routes(settings, lambda route: compile_admit(route, verifier))
        application = build_app(self.view, control_plane_settings(settings, verifier))
        self.settings = settings
        plane, server = self.plane, settings.server
        plane.routes, plane.application = routes, application
        plane.limits = limits_of(server)
        plane.body_timeout_s = server.body_timeout
        plane.trust(ipaddress.ip_network(str(network)) for network in server.trusted_proxies)
        plane.request_rules = request_rules(header.lower().encode() for header in settings.auth.forward_claims.values())
        plane.own_prefixes = (b"/health", b"/admin", *((settings.metrics.path.encode(),) if settings.metrics.enabled else ()))
        for upstream in plane.upstreams.values():
            service = settings.service(upstream.name)
            upstream.configure(service.balancer, service.timeout.pool_idle)
        for name in named_services(settings):
            self._upstream(name)
        self._apply_access_log(settings.logging)

    def _apply_access_log(self, logging: LoggingSettings) -> None:
        if logging == self._logging:
            return  # closing one waits for its reader, which requests should not
        self._logging, before = logging, self._access_log
        self._access_log = AccessLog(sys.stdout.buffer, format=logging.format, sample=logging.sample) if logging.access_log else None
        self.plane.access_log = self._access_log
        if before is not None:
            before.close()
        if self._access_log is not None:
            self._access_log.start()

    def _make_verifier(self, settings: Settings) -> TokenVerifier | None:
        rules = settings.auth.jwt
        if rules is None or rules.secret is None:
            return None
        return TokenVerifier(
            secret=rules.secret.reveal(),
            algorithms=rules.algorithms,
            issuer=rules.issuer,
            audience=rules.audience,
            leeway_s=rules.leeway,
            required_claims=rules.required_claims,
            claims_to_headers=settings.auth.forward_claims,
            count_failure=self._count_auth_failure,
        )

    def _count_auth_failure(self, reason: str) -> None:
        self.plane.metrics.auth_failures[reason] += 1

    def _make_source(self, settings: Settings) -> Source:
        if settings.discovery.provider == "static":
            return StaticSource(static_services(settings))
        consul = settings.discovery.consul
        tls = consul.tls
        return ConsulSource(
            consul.url,
            token=consul.token.reveal() if consul.token is not None else None,
            datacenter=consul.datacenter,
            consistency=consul.consistency,
            wait_s=consul.wait,
            max_age_s=consul.max_age,
            passing_only=consul.passing_only,
            tags=consul.tags,
            empty_hold_s=consul.empty_hold,
            tls_ca=tls.ca if tls else None,
            tls_cert=tls.cert if tls else None,
            tls_key=tls.key if tls else None,
            random=Random(),  # noqa: S311 jitter is no secret
            on_error=self._on_discovery_error,
            on_update=self._on_discovery_update,
        )

    # -- discovery -----------------------------------------------------------------------------

    def _on_snapshot(self, snapshot: Snapshot) -> None:
        self._upstream(snapshot.service).take(snapshot, time.monotonic())

    def _on_gone(self, name: str) -> None:
        upstream = self.plane.upstreams.pop(name, None)
        if upstream is not None:
            upstream.close(time.monotonic())

    def _upstream(self, name: str) -> Upstream:
        upstream = self.plane.upstreams.get(name)
        if upstream is None:
            service = self.settings.service(name)
            upstream = Upstream(name, service.balancer, pool_idle_s=service.timeout.pool_idle, loop=self.loop, random=self.plane.random)
            self.plane.upstreams[name] = upstream
        return upstream

    def _on_discovery_error(self, kind: str) -> None:
        self.plane.metrics.discovery_errors[kind] += 1

    def _on_discovery_update(self, service: str) -> None:
        self.plane.metrics.discovery_updates[service] += 1

    def _missing_upstream(self, name: str) -> GatewayError:
        """Unknown and unexposed look alike to a client; the operator is told the difference."""
        if not self.registry.heard():
            return NoEndpoint()  # nobody knows yet what there is
        now_s = time.monotonic()
        if self.registry.registered(name) and name not in NEVER and now_s - self._hinted_at_s.get(name, -HINT_EVERY_S) >= HINT_EVERY_S:
            self._hinted_at_s[name] = now_s
            log.warning(
                "a client asked for a service that is registered, but not exposed: it got 404",
                service=name,
                what_to_do="give the service the tag lbgateway.enable=true, or name it under `services`",
            )
        return NoRoute()

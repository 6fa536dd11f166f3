"""The composition root: settings in, a running gateway out; reload, drain, stop."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from discovery import FileSource, Registry, StaticSource
from discovery.source import KeySource
from lbgateway import __version__
from lbgateway.authentication import Authentication
from lbgateway.checks.checker import Checker
from lbgateway.composition.changes import tell_of, tell_refused
from lbgateway.composition.composer import Composer
from lbgateway.controlplane.spa import Spa
from lbgateway.dataplane.compiling import RouteCompiler
from lbgateway.dataplane.head import request_rules
from lbgateway.dataplane.plane import DataPlane
from lbgateway.derived import (
    Reaches,
    control_plane_settings,
    expose_of,
    limits_of,
    needs_restart,
    own_prefixes_of,
    reaches_of,
    security_headers_of,
    static_services,
    with_source_of,
)
from lbgateway.explaining import MayExplain
from lbgateway.gateways import Gateways
from lbgateway.missing import Missing
from lbgateway.parts import Parts
from lbgateway.policies import compile_admit
from lbgateway.policies.cors import Cors
from lbgateway.reporting import Reporting
from lbgateway.seclusion import Seclusion
from lbgateway.self_registration import SelfRegistration
from lbgateway.sources import make_stored

if TYPE_CHECKING:
    from discovery.embedded import EmbeddedRegistry
    from discovery.instance import Catalog, Snapshot
    from discovery.source import Source
    from lbgateway.composition.compose import Composition
    from lbgateway.config import Settings
    from lbgateway.dataplane.routing import RouteTable
    from lbgateway.dataplane.upstream import Upstream

log = structlog.get_logger("lbgateway")

SETTLE_POLL_S = 0.005


class Gateway:
    """One gateway process: data plane, discovery and control plane, put together."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop, parts: Parts | None = None) -> None:
        # for life
        self.loop = loop
        self._parts = parts = Parts() if parts is None else parts
        self.plane = DataPlane(loop)
        self.reporting = Reporting(self.plane, parts.access_log)
        self.checker = Checker(self.plane.upstreams, self.plane.random)
        self.view = parts.view(self)
        self.authentication = Authentication(self._count_auth_failure, self.plane)
        self.embedded: EmbeddedRegistry | None = None
        self.store = parts.store(settings, self._on_discovery_error)
        self.self_registration = SelfRegistration()
        self.leaving = False
        self.source: Source = parts.source(settings, self.store, self._on_discovery_error, self._on_discovery_update)
        self.gateways = Gateways(self.source)
        self.limiter = parts.limiter(self)
        self.registry = Registry(
            self.source,
            expose=expose_of(settings),
            named=(),
            on_snapshot=self._on_snapshot,
            on_gone=self._on_gone,
            on_catalog=self._on_catalog,
        )
        self.seclusion = Seclusion(self.registry)
        self._started_with = settings
        self.composer = Composer(
            settings,
            make_stored(settings, self._on_discovery_error),
            loop=loop,
            exposed=self.seclusion.visible,
            apply=self._recompose,
            refused=partial(tell_refused, self.plane.events, "kv"),
        )
        # until the next reload
        self._reaches = Reaches()
        self.settings = settings
        self.composition: Composition
        self._compiler: RouteCompiler
        self.plane.missing_upstream = Missing(self.registry, self.composer).error_for
        self._apply(settings)
        self.registry.configure(expose=expose_of(settings), named=self.seclusion.followed)

    # -- life ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to watch the registry and to sweep; returns at once, whether or not the registry answers.

        Raises:
            RegistryNotStarted: with `discovery.provider: embedded` only.

        """
        self.embedded = await self._parts.registry(self.settings)
        self.plane.start()
        if self._parts.leads:
            self.checker.start()
        self.authentication.start()
        self.limiter.start()
        if self.composer.stored is not None and isinstance(self.source, KeySource):
            self.source.watch_key(self.composer.stored.key, self._parts.key_listener(self.composer))
        await self.registry.start()
        if self.store is not None:
            self.store.start(self.registry.known)

    async def settle(self, within_s: float) -> None:
        """Wait until the registry has told of all services, or has failed to, for at most `within_s` seconds.

        A restarted gateway that opens its door at once would turn its first clients away.
        """
        end_s = time.monotonic() + within_s
        while not (self.registry.settled() and self.composer.settled()) and time.monotonic() < end_s:  # noqa: ASYNC110 once in a gateway's life
            await asyncio.sleep(SETTLE_POLL_S)
        self.composer.flush()

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
        for key in needs_restart(self._started_with, settings) if self._parts.leads else ():
            log.warning("changed, but needs a restart to take effect", key=key)
        settings = with_source_of(self._started_with, settings)
        self._apply(settings)
        self.composer.rebase(settings, self.composition)
        if isinstance(self.source, StaticSource):
            self.source.replace(static_services(settings))
        if isinstance(self.source, FileSource) and settings.discovery.file is not None:
            self.source.follow(settings.discovery.file.path)
        self.registry.configure(expose=expose_of(settings), named=self.seclusion.followed)
        if not self.leaving:
            self.self_registration.follow(settings)

    def open(self, port: int) -> None:
        """Say that clients may come: `port` accepts connections."""
        self.self_registration.open(self.settings, port)

    def leave(self) -> float:
        """Ask for no more clients: ready turns 503, the registry is told. Returns for how many seconds the port should stay open still."""
        self.leaving = True
        return self.self_registration.leave()

    def drain(self) -> None:
        """Finish what runs, invite no more: ready turns 503, answers close their connections, those who watch events are let go."""
        self.plane.drain()
        self.plane.events.close()

    async def aclose(self) -> None:
        """End everything; exchanges that still run are cut by whoever closes their connections."""
        await self.self_registration.aclose()
        self.composer.close()
        await self.checker.aclose()
        if self.store is not None:
            await self.store.aclose()
        await self.registry.aclose()
        await self.authentication.aclose()
        await self.limiter.aclose()
        for upstream in self.plane.upstreams.values():
            upstream.close(time.monotonic())
        if self.embedded is not None:
            await self.embedded.aclose()
        self.plane.stop()
        await self.reporting.aclose()

    # -- configuration -------------------------------------------------------------------------

    def _apply(self, settings: Settings) -> None:
        # Whatever may fail comes first: half of a configuration is worse than the old one.
        prepared = self.authentication.prepare(settings.auth)
        limits = self.limiter.prepare(settings.rate_limit)
        compiler = RouteCompiler(lambda route: compile_admit(route, prepared.checks, self._count_auth_failure, limits.policy_for(route)))
        composition = self.composer.composed(settings)
        routes = compiler.compile(composition.settings, composition.sources)
        reaches = reaches_of(composition.settings, self._reaches)
        control = control_plane_settings(settings, prepared.checks)
        application = self._parts.application(self, settings, control)
        for close in self.authentication.apply(prepared):
            self.plane.spawn(close())
        needless = self.limiter.apply(limits, settings.rate_limit)
        if needless is not None:
            self.plane.spawn(needless.aclose())
        self._compiler, plane, server = compiler, self.plane, settings.server
        plane.application = application
        plane.limits = limits_of(server)
        plane.may_explain = MayExplain(control.admin, secluded=self._started_with.admin.listen is not None)
        plane.security = security_headers_of(settings)
        plane.cors = None if settings.cors is None else Cors(settings.cors)
        plane.spa = None if settings.spa is None else Spa(settings.spa.directory, settings.spa.index)
        plane.body_timeout_s = server.body_timeout
        plane.trust(ipaddress.ip_network(str(network)) for network in server.trusted_proxies)
        claims = [header.lower().encode() for header in settings.auth.forward_claims.values()]
        plane.deadline_field = server.deadline_header.lower().encode() if server.deadline_header else None
        plane.request_rules = request_rules(claims, filter(None, [plane.deadline_field]))
        plane.own_prefixes = own_prefixes_of(settings, self._started_with)
        self.gateways.follow(settings)
        self._enforce(composition, routes, reaches)
        self.reporting.follow(settings)

    def _recompose(self, composition: Composition) -> None:
        """Tags or the key-value store have changed; the file is as it was."""
        routes = self._compiler.compile(composition.settings, composition.sources)
        reaches = reaches_of(composition.settings, self._reaches)
        before, followed = self.composition, self.seclusion.followed
        self._enforce(composition, routes, reaches)
        tell_of(self.plane.events, before, composition, *self.composer.causes)
        if self.seclusion.followed != followed:
            self.registry.configure(expose=expose_of(composition.settings), named=self.seclusion.followed)

    def _enforce(self, composition: Composition, routes: RouteTable, reaches: Reaches) -> None:
        self.composition, self.settings, self._reaches = composition, composition.settings, reaches
        self.plane.use_routes(routes)
        self.authentication.reach(self.settings)
        self.plane.limit_policies = self.limiter.limits.keep(routes.routes)
        for name in self.seclusion.follow(composition):
            self._upstream(name)
        for upstream in self.plane.upstreams.values():
            service = self.settings.service(upstream.name)
            upstream.configure(service.balancer, service.timeout.pool_idle)
            upstream.guard(self._parts.rules(service), time.monotonic())
            upstream.reach_by(reaches[upstream.name])
            upstream.hides = self.seclusion.hides if upstream.name in self.seclusion.led_to else None

    def _count_auth_failure(self, reason: str) -> None:
        self.plane.metrics.auth_failures[reason] += 1

    # -- discovery -----------------------------------------------------------------------------

    def _on_catalog(self, catalog: Catalog) -> None:
        self._parts.on_catalog(catalog)
        # Once the registry has taken it: a tag that opts in may be new there, or gone, without news of the instances.
        self.loop.call_soon(self.seclusion.look_again, self._weigh)

    def _on_snapshot(self, snapshot: Snapshot) -> None:
        self._parts.on_snapshot(snapshot)
        self._upstream(snapshot.service).take(snapshot, time.monotonic())
        self._weigh(snapshot)

    def _weigh(self, snapshot: Snapshot) -> None:
        """What its tags say counts, unless the service is there for an operator's own purposes only."""
        if self.seclusion.hides(snapshot.service, (tag for instance in snapshot.instances for tag in instance.tags)):
            self.composer.gone(snapshot.service, unexposed=True)
        else:
            self.composer.saw(snapshot)

    def _on_gone(self, name: str) -> None:
        self._parts.on_gone(name)
        self.composer.gone(name, unexposed=self.registry.registered(name))
        self.plane.metrics.discovery_updates.pop(name, None)
        if (upstream := self.plane.upstreams.pop(name, None)) is not None:
            upstream.close(time.monotonic())

    def _upstream(self, name: str) -> Upstream:
        upstream = self.plane.upstreams.get(name)
        if upstream is None:
            service = self.settings.service(name)
            upstream = self.plane.new_upstream(name, service.balancer, service.timeout.pool_idle)
            self._parts.on_upstream(upstream)
            upstream.guard(self._parts.rules(service), time.monotonic())
            upstream.reach_by(self._reaches[name])
        return upstream

    def _on_discovery_error(self, kind: str) -> None:
        self.plane.metrics.discovery_errors[kind] += 1

    def _on_discovery_update(self, service: str) -> None:
        self.plane.metrics.discovery_updates[service] += 1

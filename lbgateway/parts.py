"""What a gateway is put together from, where one process is all of it. Where several are one gateway, `lbgateway.workers` has others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbgateway.controlplane.app import build_app
from lbgateway.dev_registry import start_registry
from lbgateway.guarding import upstream_rules
from lbgateway.ratelimit.limiter import Limiter
from lbgateway.reporting import access_log_of
from lbgateway.sources import make_source, make_store
from lbgateway.view import GatewayView

if TYPE_CHECKING:
    from discovery import SnapshotStore
    from discovery.embedded import EmbeddedRegistry
    from discovery.instance import Catalog, Snapshot
    from discovery.source import KeyListener, Source
    from lbgateway.composition.composer import Composer
    from lbgateway.config import Settings
    from lbgateway.config.operations import LoggingSettings
    from lbgateway.config.service import ServiceSettings
    from lbgateway.controlplane.app import ControlPlaneSettings
    from lbgateway.dataplane.asgi import Application
    from lbgateway.dataplane.rules import UpstreamRules
    from lbgateway.dataplane.upstream import Upstream
    from lbgateway.runtime import Gateway
    from lbgateway.sources import OnError, OnUpdate
    from lbgateway.telemetry.access_log import AccessLog


class Parts:
    """Makes them, and hears what other processes would have to know: ``on_…``."""

    leads = True
    """Whether this process checks instances, and says what concerns the gateway as a whole."""

    def store(self, settings: Settings, on_error: OnError) -> SnapshotStore | None:
        return make_store(settings, on_error)

    def source(self, settings: Settings, store: SnapshotStore | None, on_error: OnError, on_update: OnUpdate) -> Source:
        return make_source(settings, store, on_error=on_error, on_update=on_update)

    async def registry(self, settings: Settings) -> EmbeddedRegistry | None:
        """Raises RegistryNotStarted."""
        return await start_registry(settings)

    def view(self, gateway: Gateway) -> GatewayView:
        return GatewayView(gateway)

    def limiter(self, gateway: Gateway) -> Limiter:
        return Limiter(gateway.gateways.count)

    def application(self, gateway: Gateway, settings: Settings, control: ControlPlaneSettings) -> Application:  # noqa: ARG002 for those that have other applications
        """What answers the gateway's own paths."""
        return build_app(gateway.view, control)

    def access_log(self, logging: LoggingSettings) -> AccessLog | None:
        return access_log_of(logging)

    def key_listener(self, composer: Composer) -> KeyListener:
        """Hears what the registry's store says of the configuration."""
        return composer.heard_key

    def rules(self, service: ServiceSettings) -> UpstreamRules:
        return upstream_rules(service)

    def on_upstream(self, upstream: Upstream) -> None:
        """A service has come; its endpoints will."""

    def on_catalog(self, catalog: Catalog) -> None:
        """The registry has told which services there are."""

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """The registry has told of a service that may be reached."""

    def on_gone(self, name: str) -> None:
        """A service may be reached no longer."""

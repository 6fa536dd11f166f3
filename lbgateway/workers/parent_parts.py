"""What the parent is put together from: it serves no client, knows everything, and tells its workers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from lbgateway.dataplane.gateway_endpoint import endpoint_key
from lbgateway.dataplane.orders import NO_ORDER
from lbgateway.instance_views import node_of
from lbgateway.parts import Parts
from lbgateway.ratelimit.limiter import Limiter
from lbgateway.workers import registry_wire
from lbgateway.workers.merging import Merging, SumEndpoint
from lbgateway.workers.parent_view import ParentView
from lbgateway.workers.sharing import Sharing
from lbgateway.workers.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from balancers.endpoint_set import Member
    from discovery.instance import Catalog, Instance, KeyValue, Snapshot
    from discovery.source import KeyListener
    from lbgateway.composition.composer import Composer
    from lbgateway.config import Settings
    from lbgateway.config.operations import LoggingSettings
    from lbgateway.controlplane.app import ControlPlaneSettings
    from lbgateway.controlplane.port import Command
    from lbgateway.dataplane.asgi import Application
    from lbgateway.dataplane.gateway_endpoint import GatewayEndpoint
    from lbgateway.dataplane.pool import Pool
    from lbgateway.dataplane.upstream import Upstream
    from lbgateway.runtime import Gateway
    from lbgateway.workers.board import Board

READING = ("GET", "HEAD")


class IdleLimiter(Limiter):
    """Knows which limits there are; it is the workers that count, and ask a store."""

    def start(self) -> None:
        """Nobody is counted here."""


class ParentParts(Parts):
    """`tell` tells all workers; `gathered` waits until they have told what they have counted, and done what they were told."""

    merging: Merging
    sharing: Sharing

    def __init__(self, board: Board, tell: Callable[..., None], gathered: Callable[[], Awaitable[None]]) -> None:
        self.board = board
        self.slots = Slots(lambda slot: not any(row[slot] for row in board.rows))
        self._tell = tell
        self._gathered = gathered
        self._teller = registry_wire.SnapshotTeller(self.slots)
        self._catalog: Catalog | None = None
        self._value: KeyValue | None = None
        self._sharing: Sharing | None = None

    def bind(self, gateway: Gateway) -> None:
        """The gateway is made: from now on its endpoints count for all, and what it decides is told."""
        self.merging = Merging(gateway.plane, self.slots)
        self.sharing = self._sharing = Sharing(gateway.plane, self._tell)
        gateway.plane.make_endpoint = self._made
        gateway.checker.on_news = self.sharing.verdict
        for upstream in gateway.plane.upstreams.values():
            self.on_upstream(upstream)

    def everything(self) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
        """What a worker has to know before it serves: kind, payload and facts of each frame."""
        if self._catalog is not None:
            yield "catalog", b"", registry_wire.catalog_facts(self._catalog)
        if self._value is not None:
            facts, payload = registry_wire.value_facts(self._value)
            yield "value", payload, facts
        for facts in self._teller.whole(time.monotonic()):
            yield "snapshot", b"", facts
        for kind, facts in self.sharing.everything():
            yield kind, b"", facts

    def order(self, upstream: Upstream, id: str, node: str, command: Command) -> None:  # noqa: A002 the registry's own word
        """Tell of an operator's order what it has come to."""
        for endpoint in upstream.endpoints.endpoints.values():
            if (endpoint.id, node_of(endpoint)) == (id, node):
                key = endpoint.instance.key
                self.sharing.order(upstream.name, key, upstream.orders.get(key, NO_ORDER), release=command.verb == "uneject")

    # -- Parts ---------------------------------------------------------------------------------

    def view(self, gateway: Gateway) -> ParentView:
        return ParentView(gateway, self)

    def limiter(self, gateway: Gateway) -> Limiter:
        return IdleLimiter(gateway.gateways.count)

    def application(self, gateway: Gateway, settings: Settings, control: ControlPlaneSettings) -> Application:
        return Gathered(super().application(gateway, settings, control), settings.metrics.path, self._gathered)

    def access_log(self, logging: LoggingSettings) -> None:
        """The workers'."""

    def key_listener(self, composer: Composer) -> KeyListener:
        def listener(news: KeyValue) -> None:
            self._value = news
            facts, payload = registry_wire.value_facts(news)
            self._tell("value", payload, **facts)
            composer.heard_key(news)

        return listener

    def on_upstream(self, upstream: Upstream) -> None:
        upstream.news.others = self._sharing

    def on_catalog(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._tell("catalog", **registry_wire.catalog_facts(catalog))

    def on_snapshot(self, snapshot: Snapshot) -> None:
        self._tell("snapshot", **self._teller.news(snapshot, time.monotonic()))

    def on_gone(self, name: str) -> None:
        self._teller.gone(name, time.monotonic())
        self._tell("gone", service=name)

    def _made(self, instance: Instance, member: Member, pool: Pool) -> GatewayEndpoint:
        return SumEndpoint(self.board, self.slots.take(endpoint_key(instance), time.monotonic()), instance, member, pool)


class Gathered:
    """The control plane's application: what is read is read when all have told, what is done is answered when all have done it."""

    def __init__(self, application: Application, metrics_path: str, gathered: Callable[[], Awaitable[None]]) -> None:
        self._application = application
        self._metrics_path = metrics_path
        self._gathered = gathered

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path, reading = scope["path"], scope["method"] in READING
        if reading and (path == self._metrics_path or path.startswith("/admin/upstreams")):
            await self._gathered()

        async def send_later(message: Any) -> None:
            if message["type"] == "http.response.start":
                await self._gathered()
            await send(message)

        await self._application(scope, receive, send if reading else send_later)

"""What all exchanges of a process share: routes, upstreams, limits, numbers, and the sweep that bounds every wait."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from email.utils import formatdate
from random import Random
from time import monotonic, time
from typing import TYPE_CHECKING, Any

import structlog

from lbgateway.dataplane.head import request_rules
from lbgateway.dataplane.routing import KNOWN
from lbgateway.dataplane.upstream import EndpointMaker, GatewayEndpoint, Upstream
from lbgateway.errors import GatewayError, NoRoute
from lbgateway.policies.client_address import ClientAddresses
from lbgateway.policies.memory import Memory
from lbgateway.telemetry.events import Events
from lbgateway.telemetry.metrics import UNROUTED, Metrics, RouteSeries

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection, Coroutine, Iterable

    from lbgateway.dataplane.asgi import Application
    from lbgateway.dataplane.exchange import Exchange
    from lbgateway.dataplane.head import RequestHead
    from lbgateway.dataplane.orders import Orders
    from lbgateway.dataplane.protocol import GatewayProtocol
    from lbgateway.dataplane.routing import Route, RouteTable
    from lbgateway.dataplane.target import Target
    from lbgateway.dataplane.trace import Tracing
    from lbgateway.policies.cors import Cors
    from lbgateway.policies.rate_limit import LimitPolicy
    from lbgateway.policies.security_headers import SecurityHeaders
    from lbgateway.telemetry.access_log import AccessLog

log = structlog.get_logger("lbgateway")

SWEEP_S = 0.1
"""All deadlines are this coarse (seconds); a timer per request would cost more than the rest of its accounting."""

WANT_EVERY_S = 10.0
ROTATE_S = 30.0

FAREWELL_S = 0.5
"""How long an idle connection outlives the signal to stop: a request that is on its way by then would be reset."""


class Limits:
    """What bounds a client (the contract, `server:`); seconds and bytes."""

    __slots__ = ("body_timeout_s", "header_timeout_s", "keep_alive_s", "max_connections", "max_head_bytes", "max_headers")

    def __init__(
        self,
        *,
        keep_alive_s: float = 75.0,
        header_timeout_s: float = 10.0,
        body_timeout_s: float = 30.0,
        max_head_bytes: int = 64 * 1024,
        max_headers: int = 128,
        max_connections: int = 10_000,
    ) -> None:
        self.keep_alive_s = keep_alive_s
        self.header_timeout_s = header_timeout_s
        self.body_timeout_s = body_timeout_s
        self.max_head_bytes = max_head_bytes
        self.max_headers = max_headers
        self.max_connections = max_connections


class DataPlane:
    """The fast half of one gateway process. `routes`, `limits` and the rest are swapped whole on reload."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # for life
        self.loop = loop
        self.metrics = Metrics()
        self.random = Random()  # noqa: S311 chooses endpoints, keeps no secrets
        self.events = Events()
        self.upstreams: dict[str, Upstream] = {}
        self.make_endpoint: EndpointMaker = GatewayEndpoint
        self.orders: defaultdict[str, Orders] = defaultdict(dict)
        """What operators want, by service: it outlives the upstream."""
        self.active: set[Exchange] = set()
        self.connections: set[GatewayProtocol] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._rated_at_s = self._rotated_at_s = monotonic()
        self._swept_at_s, self._want_told_at_s = 0.0, -WANT_EVERY_S
        # as composed
        self.application: Application = _no_application
        self.spa: Application | None = None
        """Answers what no route covers and lies below none."""
        self.access_log: AccessLog | None = None
        self.missing_upstream: Callable[[str], GatewayError] = lambda _name: NoRoute()
        # as configured
        self.routes: RouteTable
        self.labels: frozenset[str] = frozenset((UNROUTED,))
        """Of the routes in the table, and of what none of them takes."""
        self.limits = Limits()
        self.body_timeout_s = self.limits.body_timeout_s
        self.request_rules = request_rules()
        self.tracing: Tracing | None = None
        self.may_explain: Callable[[RequestHead, str], bool] | None = None
        """Whether a request asks to be explained, and may; by its head and its peer."""
        self.deadline_field: bytes | None = None
        """Lower-case name of the field with the remaining milliseconds, if there is one."""
        self.trusted: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
        self.clients = ClientAddresses()
        """Whose requests trusted proxies forward."""
        self.security: SecurityHeaders | None = None
        self.cors: Cors | None = None
        """Of the whole gateway: for answers that belong to no route."""
        self.limit_policies: Collection[LimitPolicy] = ()
        """The limits of the routes in the table."""
        self.own_prefixes: tuple[bytes, ...] = (b"/health", b"/admin", b"/metrics")
        # what need not be worked out again
        self.known_targets: Memory[Target] = Memory(KNOWN)
        """Request targets that are asked for again and again, and proxied whatever else a request says (`handlers.choose_handler`)."""
        self.known_lines: Memory[tuple[bytes, bytes, Target]] = Memory(KNOWN)  # "method target" -> both, and the latter taken apart
        # as time goes
        self.draining = False
        self.farewell_s, self.date_line = FAREWELL_S, b""

    # -- on the way of a request ---------------------------------------------------------------

    def owns(self, path: bytes) -> bool:
        """Whether `path`, which begins like one of ours, is one of ours: prefixes are whole segments."""
        return any(path.startswith(prefix) and (len(path) == len(prefix) or path[len(prefix)] == 0x2F) for prefix in self.own_prefixes)

    def is_below_routes(self, path: bytes) -> bool:
        """Whether `path` lies below one of the routes': then no single-page application has a say."""
        return (path + b"/").startswith(self.routes.heads)

    def left_to_spa(self, head: RequestHead, target: Target) -> bool:
        """Whether a path below none of the routes' is the single-page application's: no route takes it either."""
        return self.routes.match(target.authority or head.hosts, target.path, head.method, head.lines) is None

    def use_routes(self, table: RouteTable) -> None:
        """Swap the table; exchanges under way keep their routes, and what counted those that are gone disappears."""
        self.routes = table
        self.known_targets.clear()
        self.known_lines.clear()
        self.labels = frozenset((UNROUTED, *(route.label for route in table.routes)))
        self.metrics.keep_routes(self.labels)

    def series_of(self, route: Route, service: str) -> RouteSeries:
        """The counters of `route`, found once for each service that it leads to; of a route that is gone they count for nobody."""
        found = self.metrics.route(route.label, service) if route.label in self.labels else RouteSeries(route.label, service)
        route.series[service] = found
        return found

    @property
    def unrouted(self) -> RouteSeries:
        """The counters of what no route takes: unknown paths, and messages that are no requests."""
        return self.metrics.route(UNROUTED, "")

    def on_bug(self, event: str, bug: BaseException) -> None:
        """An exception that is not in the tree of errors: logged whole. Whoever answers its request says 500, and counts it."""
        log.error(event, exc_info=bug)

    def on_want(self, cause: str, now_s: float) -> None:
        """No file or port is left to connect with: operators hear of it, but not with each request."""
        if now_s >= self._want_told_at_s + WANT_EVERY_S:
            self._want_told_at_s = now_s
            log.warning("no connection to an instance can be opened, requests may be turned away", reason=cause)

    # -- connections ---------------------------------------------------------------------------

    def say_goodbye(self) -> None:
        """Let the next answer on each connection that is there be its last; those who come now may stay."""
        for protocol in self.connections:
            protocol.goodbye = True

    def drain(self) -> None:
        """Invite nobody any more: every answer is the last on its connection, and idle ones end soon."""
        self.draining = True
        self.say_goodbye()

    def accept(self, protocol: GatewayProtocol) -> bool:
        """Take in a new client connection; False if there are too many already."""
        self.metrics.connections_accepted += 1
        self.connections.add(protocol)
        protocol.goodbye = self.draining
        return len(self.connections) <= self.limits.max_connections + protocol.spare

    def trust(self, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> None:
        """Believe proxies in `networks` and no others, from now on and on open connections too: a proxy may hold one for days."""
        self.trusted = tuple(networks)
        self.clients = ClientAddresses(self.trusted)
        for protocol in self.connections:
            protocol.trusted = self.trusts(protocol.peer)

    def trusts(self, peer: str) -> bool:
        """Whether `peer` is a trusted proxy: always the TCP peer, never what a header says."""
        if not self.trusted or not peer:
            return False
        address = ipaddress.ip_address(peer.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self.trusted)

    def new_upstream(self, name: str, balancer: str, pool_idle_s: float) -> Upstream:
        """The group of a service that had none; what operators have ordered before holds for it."""
        made = self.upstreams[name] = Upstream(
            name, balancer, pool_idle_s=pool_idle_s, loop=self.loop, random=self.random, events=self.events, orders=self.orders[name],
            make_endpoint=lambda *given: self.make_endpoint(*given),  # noqa: PLW0108 whatever it is by then
        )  # fmt: skip
        return made

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `coroutine` beside the requests, and hold on to its task."""
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- time ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to sweep."""
        self._swept_at_s = monotonic() - SWEEP_S
        self._sweep()

    def stop(self) -> None:
        """End the sweep."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    def _sweep(self) -> None:
        now_s = monotonic()
        self.metrics.loop_lag_s = max(0.0, now_s - self._swept_at_s - SWEEP_S)
        self._swept_at_s = now_s
        self._sweeping = self.loop.call_later(SWEEP_S, self._sweep)
        self.metrics.requests_active = len(self.active)
        self.date_line = f"Date: {formatdate(time(), usegmt=True)}\r\n".encode()
        for exchange in tuple(self.active):
            exchange.on_tick(now_s)
        for protocol in tuple(self.connections):
            if protocol.handler is None:
                protocol.on_tick(now_s)
        for upstream in tuple(self.upstreams.values()):
            upstream.sweep(now_s)
        for limit in self.limit_policies:
            limit.sweep(now_s)
        for series in self.metrics.routes.values():
            series.settle()
        self._sweep_slowly(now_s)

    def _sweep_slowly(self, now_s: float) -> None:
        elapsed_s = now_s - self._rated_at_s
        if elapsed_s >= 1.0:
            self._rated_at_s = now_s
            for upstream in self.upstreams.values():
                upstream.rate(elapsed_s)
        if now_s - self._rotated_at_s >= ROTATE_S:
            self._rotated_at_s = now_s
            for upstream in self.upstreams.values():
                upstream.rotate()


async def _no_application(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 the signature of ASGI
    """Stands in until the control plane is composed."""
    raise RuntimeError(scope["path"])

"""What all exchanges of a process share: routes, upstreams, limits, numbers, and the sweep that bounds every wait."""

from __future__ import annotations

import ipaddress
from email.utils import formatdate
from random import Random
from time import monotonic, time
from typing import TYPE_CHECKING, Any

import structlog

from lbgateway.dataplane.head import RequestHead, request_rules
from lbgateway.errors import GatewayError, NoRoute
from lbgateway.telemetry.metrics import Metrics

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Iterable

    from lbgateway.dataplane.asgi import AsgiExchange
    from lbgateway.dataplane.exchange import Exchange
    from lbgateway.dataplane.protocol import GatewayProtocol
    from lbgateway.dataplane.routing import Route, RouteTable
    from lbgateway.dataplane.upstream import GatewayEndpoint, Upstream
    from lbgateway.telemetry.access_log import AccessLog
    from lbgateway.telemetry.metrics import RouteSeries

log = structlog.get_logger("lbgateway")

SWEEP_S = 0.1
"""All deadlines are this coarse (seconds); a timer per request would cost more than the rest of its accounting."""

ROTATE_S = 30.0


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
        self.upstreams: dict[str, Upstream] = {}
        self.active: set[Exchange] = set()
        self.connections: set[GatewayProtocol] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._swept_at_s = 0.0
        self._rated_at_s = self._rotated_at_s = monotonic()
        # as composed
        self.application: Callable[..., Coroutine[Any, Any, None]] = _no_application
        self.access_log: AccessLog | None = None
        self.missing_upstream: Callable[[str], GatewayError] = lambda _name: NoRoute()
        # as configured
        self.routes: RouteTable
        self.limits = Limits()
        self.body_timeout_s = self.limits.body_timeout_s
        self.request_rules = request_rules()
        self.trusted: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
        self.own_prefixes: tuple[bytes, ...] = (b"/health", b"/admin", b"/metrics")
        # as time goes
        self.draining = False
        self.date_line = b""

    # -- on the way of a request ---------------------------------------------------------------

    def owns(self, path: bytes) -> bool:
        """Whether `path`, which begins like one of ours, is one of ours: prefixes are whole segments."""
        return any(path.startswith(prefix) and (len(path) == len(prefix) or path[len(prefix)] == 0x2F) for prefix in self.own_prefixes)

    def series_of(self, route: Route, service: str) -> RouteSeries:
        """The counters of `route`, found once for each service that it leads to."""
        series = route.series[service] = self.metrics.route(route.label, service)
        return series

    def log_access(self, exchange: Exchange, now_s: float) -> None:
        """One line for one finished exchange; rendered on another thread."""
        if self.access_log is None:
            return
        head, error = exchange.head, exchange.error
        endpoint: GatewayEndpoint | None = exchange.endpoint
        route: Route | None = exchange.route
        upstream: Upstream | None = exchange.upstream
        self.access_log.append((
            now_s, exchange.request_id, exchange.downstream.peer, head.method.decode(), head.hosts or b"", head.target,
            None if route is None else route.label, None if upstream is None else upstream.name,
            None if endpoint is None else endpoint.id, exchange.status, None if error is None else error.slug,
            now_s - exchange.started_s, None if endpoint is None else exchange.upstream_s, exchange.attempts,
            exchange.bytes_in, exchange.bytes_out, user_agent(head),
        ))  # fmt: skip

    def on_refused(self, error: GatewayError, request_id: bytes, peer: str, head: RequestHead, bytes_out: int) -> None:
        """Count a message that was no request."""
        self.metrics.errors[error.slug] += 1
        if self.access_log is not None:
            self.access_log.append((
                monotonic(), request_id, peer, head.method.decode(), head.hosts or b"", head.target, None, None, None,
                error.status, error.slug, 0.0, None, 0, 0, bytes_out, user_agent(head),
            ))  # fmt: skip

    def on_own_answer(self, exchange: AsgiExchange, now_s: float) -> None:
        """Log an answer of the gateway's own application."""
        if self.access_log is not None:
            head = exchange.head
            self.access_log.append((
                now_s, exchange.request_id, exchange.protocol.peer, head.method.decode(), head.hosts or b"", head.target, "(gateway)",
                None, None, exchange.status, None, now_s - exchange.started_s, None, 0, len(exchange.body), exchange.bytes_out,
                user_agent(head),
            ))  # fmt: skip

    def on_bug(self, event: str) -> None:
        """An exception that is not in the tree of errors: logged whole, answered with 500."""
        self.metrics.errors["internal_error"] += 1
        log.exception(event)  # noqa: LOG004 called while handling it

    # -- connections ---------------------------------------------------------------------------

    def accept(self, protocol: GatewayProtocol) -> bool:
        """Take in a new client connection; False if there are too many already."""
        self.metrics.connections_accepted += 1
        self.connections.add(protocol)
        return len(self.connections) <= self.limits.max_connections

    def trust(self, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> None:
        """Believe proxies in `networks` and no others, from now on and on open connections too: a proxy may hold one for days."""
        self.trusted = tuple(networks)
        for protocol in self.connections:
            protocol.trusted = self.trusts(protocol.peer)

    def trusts(self, peer: str) -> bool:
        """Whether `peer` is a trusted proxy: always the TCP peer, never what a header says."""
        if not self.trusted or not peer:
            return False
        address = ipaddress.ip_address(peer.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self.trusted)

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


def user_agent(head: RequestHead) -> bytes:
    """The client's ``User-Agent``, empty if there is none."""
    lines = head.lines
    for index in range(1, len(lines) - 3, 4):
        name = lines[index]
        if len(name) == 10 and name.lower() == b"user-agent":
            return lines[index + 2]
    return b""


async def _no_application(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 the signature of ASGI
    """Stands in until the control plane is composed."""
    raise RuntimeError(scope["path"])

"""The data plane with a test as its network and its clock: every playbook reads like the trace of a wire.

::

    world = World()
    client = world.client().sends(get("/api/orders/1"))
    upstream = world.connects()
    assert upstream.got().startswith(b"GET /1 HTTP/1.1")
    upstream.sends(ok(b"fine"))
    assert client.got().endswith(b"fine")

The protocol, the exchanges, the pools and the connections are the real ones. Only the transports are not, and
whether a connect succeeds is the test's word.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable, Iterator
from functools import lru_cache
from random import Random
from time import monotonic
from typing import Any, Self

from discovery.instance import Instance, InstanceKey, InstanceState, Snapshot
from lbgateway.authentication import Authentication
from lbgateway.config import Settings, load_text
from lbgateway.dataplane.compiling import compile_routes
from lbgateway.dataplane.connection import UpstreamConnection
from lbgateway.dataplane.exchange import Exchange
from lbgateway.dataplane.exchange_state import TRANSITIONS, ExchangeState, Phase
from lbgateway.dataplane.head import request_rules
from lbgateway.dataplane.plane import DataPlane
from lbgateway.dataplane.pool import ConnectWaiter, Pool
from lbgateway.dataplane.protocol import GatewayProtocol
from lbgateway.dataplane.route import Route
from lbgateway.dataplane.upstream import GatewayEndpoint, Upstream
from lbgateway.errors import ConnectFailed, ConnectTimeout, GatewayError
from lbgateway.guarding import upstream_rules
from lbgateway.policies import compile_admit
from lbgateway.ratelimit.limiter import Limits
from tests.support.transports import FakeTransport, Later

BASE = {"auth": "{default: none}", "discovery": "{provider: static}", "logging": "{access_log: false}"}


@lru_cache
def settings_of(text: str) -> Settings:
    base = "".join(f"{key}: {value}\n" for key, value in BASE.items() if f"{key}: " not in text)
    return load_text(text + base, "playbook.yaml", {})


class Peer:
    """The other end of one of the gateway's connections, in the test's hands."""

    def __init__(self, world: World, transport: FakeTransport) -> None:
        self.world = world
        self.transport = transport

    def sends(self, *parts: bytes) -> Self:
        """Each part is a read of its own, if the gateway reads at all."""
        for part in parts:
            self.transport.arrive(part)
            self.world.turn()
        return self

    def got(self) -> bytes:
        """What has come here since the last look."""
        data = bytes(self.transport.sent)
        self.transport.sent.clear()
        return data

    def ends(self) -> Self:
        """Closes in good order."""
        self.transport.arrive(None)
        self.world.turn()
        return self

    def resets(self) -> Self:
        self.transport.arrive(ConnectionResetError("reset by peer"))
        self.world.turn()
        return self

    def stalls(self) -> Self:
        """Takes nothing any more."""
        self.transport.stall()
        return self

    def flows(self) -> Self:
        self.transport.flow()
        self.world.turn()
        return self

    @property
    def paused(self) -> bool:
        """The gateway does not read from here."""
        return self.transport.paused

    @property
    def closed(self) -> bool:
        """The gateway has closed, or cut, this connection."""
        return self.transport.is_closing()

    @property
    def cut(self) -> bool:
        return self.transport.aborted


class Client(Peer):
    """A client of the gateway."""

    protocol: GatewayProtocol

    @property
    def exchange(self) -> Exchange:
        """The one that is being answered."""
        assert isinstance(self.protocol.handler, Exchange)
        return self.protocol.handler


class Connect:
    """A connection that the gateway has asked for. Stands in for the task that would make it."""

    def __init__(self, pool: HandPool, waiter: ConnectWaiter) -> None:
        self.pool = pool
        self.waiter = waiter
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def succeeds(self, *, stalled: bool = False) -> Peer:
        """`stalled`: the other end takes nothing."""
        world = self.pool.world
        world.asked.remove(self)
        connection = UpstreamConnection(self.pool)
        transport = FakeTransport(world.later)
        transport.start(connection)
        if stalled:
            transport.stall()
        self.pool.active += 1
        peer = Peer(world, transport)
        world.upstreams.append(peer)
        self.waiter.on_connected(connection)
        world.turn()
        return peer

    def fails(self, error: GatewayError | None = None) -> None:
        self.pool.world.asked.remove(self)
        self.waiter.on_connect_failed(error or ConnectFailed(cause="refused"))
        self.pool.world.turn()

    def times_out(self) -> None:
        self.fails(ConnectTimeout(cause="no connection within 1 s"))


class HandPool(Pool):
    """A pool whose connects are the test's to complete."""

    def __init__(self, world: World, like: Pool) -> None:
        super().__init__(like.host, like.port, like.idle_timeout_s, like.loop)
        self.world = world

    def connect(self, waiter: ConnectWaiter, timeout_s: float) -> Any:
        asked = Connect(self, waiter)
        self.world.asked.append(asked)
        return asked


class HandTimer:
    """What a loop gives for a callback that shall come later; unpacks to the delay in seconds and the callback."""

    def __init__(self, delay_s: float, callback: Callable[[], object], timers: list[HandTimer]) -> None:
        self.delay_s = delay_s
        self.callback = callback
        self.timers = timers

    def __iter__(self) -> Iterator[Any]:
        return iter((self.delay_s, self.callback))

    def cancel(self) -> None:
        if self in self.timers:
            self.timers.remove(self)


class HandLoop:
    """What the data plane asks of a loop beside its connections."""

    def __init__(self) -> None:
        self.timers: list[HandTimer] = []

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> HandTimer:
        timer = HandTimer(delay_s, callback, self.timers)
        self.timers.append(timer)
        return timer


class World:
    """A gateway's data plane. `text` is configuration; each service in `services` has that many endpoints."""

    def __init__(self, text: str = "", *, balancer: str = "round_robin", limits: Limits | None = None, **services: int) -> None:
        self.later = Later()
        self.loop = HandLoop()
        self.hurries = True
        """Pauses are over at once; otherwise `passes` ends them."""
        self.waited: list[float] = []
        """How long the pauses were that are over, in seconds."""
        self.plane = DataPlane(self.loop)  # type: ignore[arg-type]  # the part of a loop that it needs
        self.asked: list[Connect] = []
        self.clients: list[Client] = []
        self.upstreams: list[Peer] = []
        settings = settings_of(text)
        self.authentication = Authentication(self._count_auth_failure, self.plane)
        self.prepared = self.authentication.prepare(settings.auth)
        self.limits = limits or Limits("memory")
        self.plane.use_routes(compile_routes(settings, self._policies))
        self.plane.limit_policies = self.limits.keep(self.plane.routes.routes)
        self.plane.trust(ipaddress.ip_network(str(network)) for network in settings.server.trusted_proxies)
        header = settings.server.deadline_header
        self.plane.deadline_field = header.lower().encode() if header else None
        claims = [header.lower().encode() for header in settings.auth.forward_claims.values()]
        self.plane.request_rules = request_rules(claims, filter(None, [self.plane.deadline_field]))
        for name, count in (services or {"orders": 2}).items():
            self.plane.upstreams[name] = upstream = Upstream(name, balancer, pool_idle_s=4.0, loop=self.plane.loop, random=Random(1))
            upstream.guard(upstream_rules(settings.service(name)), monotonic())
            self.registers(name, *(f"{name}-{number}" for number in range(1, count + 1)))

    def registers(self, service: str, *ids: str, **states: InstanceState) -> None:
        """The registry's word: these are all instances of `service`; `states` by id with underscores."""
        instances = tuple(
            Instance(
                InstanceKey("static", "", "", "", each), service, f"10.0.0.{number}", 9000 + number,
                state=states.get(each.replace("-", "_"), InstanceState.PASSING),
            )
            for number, each in enumerate(ids, 1)
        )  # fmt: skip
        upstream = self.plane.upstreams[service]
        upstream.take(Snapshot(service, 1, instances, 1, monotonic()), monotonic())
        for endpoint in upstream.endpoints.endpoints.values():
            if not isinstance(endpoint.pool, HandPool):
                endpoint.pool = HandPool(self, endpoint.pool)

    def _policies(self, route: Route) -> tuple[Any, ...]:
        return compile_admit(route, self.prepared.checks, self._count_auth_failure, self.limits.policy_for(route))

    def _count_auth_failure(self, reason: str) -> None:
        self.plane.metrics.auth_failures[reason] += 1

    # -- events --------------------------------------------------------------------------------

    def client(self, peer: str = "192.0.2.7", *, trusted: bool = False, **extra: Any) -> Client:
        """A client has connected, or a proxy that is believed."""
        transport = FakeTransport(self.later, peer=peer, extra=extra)
        client = Client(self, transport)
        client.protocol = GatewayProtocol(self.plane)
        transport.start(client.protocol)
        client.protocol.trusted = trusted or client.protocol.trusted
        self.clients.append(client)
        self.turn()
        return client

    @property
    def connect(self) -> Connect:
        """The one connection that the gateway has asked for."""
        [asked] = [each for each in self.asked if not each.cancelled]
        return asked

    def connects(self) -> Peer:
        """The one connection that the gateway has asked for is made."""
        return self.connect.succeeds()

    def ticks(self, now_s: float) -> None:
        """The sweep comes by; `now_s` is any moment, in seconds of the monotonic clock."""
        for exchange in tuple(self.plane.active):
            exchange.on_tick(now_s)
        for protocol in tuple(self.plane.connections):
            if protocol.handler is None:
                protocol.on_tick(now_s)
        self.turn()

    def passes(self) -> None:
        """So much time passes that every pause is over."""
        while self.loop.timers:
            timer = self.loop.timers.pop(0)
            self.waited.append(timer.delay_s)
            timer.callback()
        self.later.turn()

    def turn(self) -> None:
        """What happens a moment later happens."""
        self.later.turn()
        if self.hurries and self.loop.timers:
            self.passes()

    # -- what to look at -----------------------------------------------------------------------

    def endpoints(self) -> Iterator[GatewayEndpoint]:
        groups = (upstream.endpoints for upstream in self.plane.upstreams.values())
        return itertools.chain.from_iterable((*group.endpoints.values(), *group.leaving.values()) for group in groups)

    def endpoint(self, name: str) -> GatewayEndpoint:
        [endpoint] = [each for each in self.endpoints() if each.id == name]
        return endpoint

    @property
    def left(self) -> list[str]:
        """What has begun and not ended: empty when all is well."""
        found = [repr(exchange) for exchange in self.plane.active]
        found += [f"{each!r} {each.pool!r}" for each in self.endpoints() if each.active or each.pool.active]
        return found

    def statuses(self, label: str = "/api/{service}") -> dict[tuple[str, int], int]:
        """(method, status) -> how many, as the metrics count them for the route."""
        counted: dict[tuple[str, int], int] = {}
        for (route, _), series in self.plane.metrics.routes.items():
            if route == label:
                for key, count in series.requests.items():
                    counted[key] = counted.get(key, 0) + count
        return counted


class WatchedPhase:
    """Stands in for the attribute `ExchangeState.phase` and holds every exchange to the table."""

    def __init__(self) -> None:
        self.slot: Any = ExchangeState.__dict__["phase"]
        self.seen: set[tuple[Phase, Phase]] = set()

    def __get__(self, exchange: Exchange | None, owner: type) -> Any:
        return self if exchange is None else self.slot.__get__(exchange, owner)

    def __set__(self, exchange: Exchange, phase: Phase) -> None:
        try:
            before = self.slot.__get__(exchange)
        except AttributeError:
            assert phase is Phase.BEGIN
        else:
            assert phase in TRANSITIONS[before], f"{exchange!r} goes to {phase!r}"
            self.seen.add((before, phase))
        self.slot.__set__(exchange, phase)


# -- messages ------------------------------------------------------------------------------------


def request(method: str, path: str, *lines: str, body: bytes = b"", version: str = "1.1") -> bytes:
    """A complete request to one host."""
    return "\r\n".join((f"{method} {path} HTTP/{version}", "Host: shop.example", *lines, "", "")).encode("latin-1") + body


def get(path: str = "/api/orders/", *lines: str) -> bytes:
    return request("GET", path, *lines)


def post(path: str, body: bytes, *lines: str) -> bytes:
    return request("POST", path, f"Content-Length: {len(body)}", *lines, body=body)


def ok(body: bytes = b"fine", *lines: str, status: str = "200 OK") -> bytes:
    """A complete response with its length."""
    return "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines, "", "")).encode("latin-1") + body

"""A gateway of the test's own process: real sockets, a uvloop of its own on a thread of its own.

The test is the network on both sides: it writes and reads raw bytes as the client and as the upstream::

    with LiveGateway() as gateway, Listener() as upstream:
        gateway.serve(orders=[upstream.port])
        client = gateway.connect()
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Self, TypeVar

import uvloop
import yaml

from lbgateway.config import load_text
from lbgateway.dataplane.protocol import GatewayProtocol
from lbgateway.dataplane.upstream import GatewayEndpoint
from lbgateway.listeners import Listeners, bind
from lbgateway.runtime import Gateway
from lbgateway.tls import server_context
from tests.support.launch import wait_until
from tests.support.wire import Listener, Wire

T = TypeVar("T")

SETTLED_WITHIN_S = 2.0


def merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """`more` over `base`, map by map."""
    out = dict(base)
    for key, value in more.items():
        out[key] = merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


BASE: dict[str, Any] = {
    "discovery": {"provider": "static"},
    "auth": {"default": "none"},
    "logging": {"access_log": False},
    "services": {"*": {"balancer": "round_robin"}},
}


@contextlib.contextmanager
def services_reached_by(transport: str) -> Iterator[None]:
    """Every gateway that is made meanwhile reaches its services by that `services.*.transport`."""
    base, BASE["services"] = BASE["services"], merged(BASE["services"], {"*": {"transport": transport}})
    try:
        yield
    finally:
        BASE["services"] = base


class LiveGateway:
    """One gateway on a free port of 127.0.0.1; `config` is laid over `BASE`."""

    def __init__(self, config: dict[str, Any] | None = None, *, environ: dict[str, str] | None = None, **services: list[int]) -> None:
        given = {"services": {name: {"instances": [f"127.0.0.1:{port}" for port in ports]} for name, ports in services.items()}}
        self.config = merged(merged(BASE, given), config or {})
        self.environ = environ or {}
        self.port = 0
        self.gateway: Gateway
        self.bugs: list[str] = []
        self.clients: list[Wire] = []
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gateway", daemon=True)

    def __enter__(self) -> Self:
        self._loop.set_exception_handler(lambda _loop, context: self.bugs.append(repr(context)))
        self._thread.start()
        self._await(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect_all()
        self._await(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def connect(self, *, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None) -> Wire:
        """A new client connection."""
        client = Wire.connect(self.port, receive_buffer=receive_buffer, tls=tls)
        self.clients.append(client)
        return client

    def disconnect_all(self) -> None:
        """Close all client connections."""
        for client in self.clients:
            client.close()
        self.clients.clear()

    def call(self, function: Callable[[Gateway], T]) -> T:
        """Ask the gateway something on its own thread."""

        async def ask() -> T:
            return function(self.gateway)

        return asyncio.run_coroutine_threadsafe(ask(), self._loop).result(10)

    def reload(self, config: dict[str, Any]) -> None:
        """Take over `config`, laid over what is in force."""
        self.config = merged(self.config, config)
        settings = load_text(yaml.safe_dump(self.config), "test.yaml", self.environ)
        self.call(lambda root: root.reload(settings))

    def endpoints(self, service: str) -> list[GatewayEndpoint]:
        return list(self.gateway.plane.upstreams[service].endpoints.endpoints.values())

    def assert_settled(self) -> None:
        """Every beginning had its end: no exchange runs, no endpoint counts one, no connection is leased, nothing was raised."""
        wait_until(lambda: self.call(_left) == [], SETTLED_WITHIN_S, lambda: f"still running: {self.call(_left)}")
        assert self.bugs == []

    # -- on the gateway's thread ---------------------------------------------------------------

    async def _start(self) -> None:
        settings = load_text(yaml.safe_dump(self.config), "test.yaml", self.environ)
        self.gateway = Gateway(settings, self._loop)
        await self.gateway.start()
        server, listener = settings.server, bind("127.0.0.1", 0)
        self.port = listener.getsockname()[1]
        make_protocol = partial(GatewayProtocol, self.gateway.plane)
        self.listeners = Listeners([listener], make_protocol, tls=server_context(server.tls), handshake_s=server.header_timeout)
        self.listeners.open()
        wanted = [name for name in self.config["services"] if self.config["services"][name].get("instances")]
        end_s = time.monotonic() + 5
        while not all(self.gateway.plane.upstreams[name].endpoints.ready for name in wanted):
            assert time.monotonic() < end_s, "the static instances did not appear"
            await asyncio.sleep(0.001)

    async def _stop(self) -> None:
        self.listeners.close()
        for protocol in tuple(self.gateway.plane.connections):
            protocol.transport.abort()
        await self.gateway.aclose()
        for upstream in self.gateway.plane.upstreams.values():
            upstream.close(time.monotonic())
        await asyncio.sleep(0.01)

    def _await(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(20)


def _left(gateway: Gateway) -> list[str]:
    left = [repr(exchange) for exchange in gateway.plane.active]
    for upstream in gateway.plane.upstreams.values():
        endpoints = upstream.endpoints.endpoints.values()
        left += [f"{each.id} active={each.active} {each.pool!r}" for each in endpoints if each.active or each.pool.active]
    return left


@contextlib.contextmanager
def one_upstream(config: dict[str, Any] | None = None, environ: dict[str, str] | None = None) -> Iterator[tuple[LiveGateway, Listener]]:
    """A gateway whose service ``orders`` is one listener of the test; in the end everything has settled."""
    with Listener() as upstream, LiveGateway(config, environ=environ, orders=[upstream.port]) as gateway:
        yield gateway, upstream
        upstream.close_all()
        gateway.disconnect_all()
        gateway.assert_settled()

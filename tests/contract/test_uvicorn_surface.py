"""What `lbgateway.server` and `dataplane.protocol` use of uvicorn and uvicorn does not promise.

A new release is looked at here first: each test is one thing that the gateway stands on.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import signal
import socket
from collections.abc import Generator, Iterator
from functools import partial
from types import FrameType
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from lbgateway.config import load_text
from lbgateway.dataplane.protocol import GatewayProtocol
from lbgateway.runtime import Gateway
from lbgateway.server import uvicorn_config

SETTINGS = "auth: {default: none}\ndiscovery: {provider: static}\nlogging: {access_log: false}\n"


class Seat(asyncio.Protocol):
    """Sits where uvicorn's own protocol would, and writes down how it is treated."""

    def __init__(self, **given: Any) -> None:
        self.given = given
        self.state: ServerState = given["server_state"]
        self.shut_down = 0
        seats.append(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.state.connections.add(self)  # type: ignore[arg-type]  # as GatewayProtocol does it

    def connection_lost(self, exc: Exception | None) -> None:
        self.state.connections.discard(self)  # type: ignore[arg-type]  # as above

    def shutdown(self) -> None:
        self.shut_down += 1
        self.transport.close()


seats: list[Seat] = []


class Server(uvicorn.Server):
    """Overrides what `GatewayServer` overrides."""

    captured = 0

    def __init__(self, config: uvicorn.Config, listener: socket.socket | None = None) -> None:
        super().__init__(config)
        self.listener = listener

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        assert self.servers == []
        make_seat = partial(Seat, server_state=self.server_state)
        self.servers = [await asyncio.get_running_loop().create_server(make_seat, sock=self.listener)]

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        self.captured += 1
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        yield sock


async def application(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("nobody asks")


def config_of(**more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        application, http=Seat, ws="none", lifespan="off", log_config=None, access_log=False, proxy_headers=False, server_header=False,
        date_header=False, backlog=16, timeout_graceful_shutdown=1, **more,
    )  # fmt: skip


async def connected(listener: socket.socket) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection(*listener.getsockname())
    return writer


async def until(what: Any) -> None:
    async with asyncio.timeout(5):
        while not what():  # noqa: ASYNC110 uvicorn tells nobody
            await asyncio.sleep(0.01)


async def test_a_life_of_the_server(listener):
    """From `serve(sockets=)` to the first signal: everything that the gateway's drain depends on, in its order."""
    seats.clear()
    server = Server(config_of(), listener)
    assert (server.started, server.should_exit) == (False, False)
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    await until(lambda: server.started and server.servers)
    assert server.captured == 1
    [bound] = server.servers
    assert bound.sockets[0].getsockname() == listener.getsockname()
    client = await connected(listener)
    await until(lambda: len(server.server_state.connections) == 1)
    [seat] = seats
    server.handle_exit(signal.SIGTERM, None)
    assert server.should_exit
    async with asyncio.timeout(5):
        await serving
    assert (seat.shut_down, listener.fileno()) == (1, -1)
    client.close()


async def test_a_second_signal_forces_the_exit():
    """SIGINT twice: nobody waits any longer."""
    server = Server(config_of())
    server.handle_exit(signal.SIGINT, None)
    assert (server.should_exit, server.force_exit) == (True, False)
    server.handle_exit(signal.SIGINT, None)
    assert server.force_exit


async def test_shutdown_closes_connections_only_by_asking_them(listener):
    """A connection that stays open, as one with a running request does, holds the shutdown for no longer than its time."""

    class Stays(Seat):
        def shutdown(self) -> None:
            self.shut_down += 1

    seats.clear()
    server = Server(config_of(), listener)
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    await until(lambda: server.started and server.servers)
    client = await connected(listener)
    await until(lambda: seats)
    seats[0].__class__ = Stays
    server.should_exit = True
    async with asyncio.timeout(5):
        await serving
    assert (seats[0].shut_down, seats[0].transport.is_closing()) == (1, False)
    seats[0].transport.abort()
    client.close()


async def test_the_gateways_own_configuration_is_understood():
    """Each keyword is still one, and nothing of uvicorn's own is loaded in the place of ours."""
    gateway = Gateway(load_text(SETTINGS, "gateway.yaml", {}), asyncio.get_running_loop())
    config = uvicorn_config(gateway, gateway.settings)
    config.load()
    assert config.http_protocol_class is GatewayProtocol  # type: ignore[comparison-overlap]  # uvicorn lists its own classes only
    assert config.ws_protocol_class is None
    assert config.timeout_graceful_shutdown == round(gateway.settings.server.drain_timeout)


def test_what_is_overridden_is_still_there():
    """An override of nothing would fail silently."""
    assert isinstance(inspect.getattr_static(uvicorn.Server, "capture_signals"), type(inspect.getattr_static(Server, "capture_signals")))
    assert list(inspect.signature(uvicorn.Server.handle_exit).parameters) == ["self", "sig", "frame"]
    assert list(inspect.signature(uvicorn.Server.shutdown).parameters) == ["self", "sockets"]
    assert list(inspect.signature(uvicorn.Server.startup).parameters) == ["self", "sockets"]
    assert inspect.iscoroutinefunction(uvicorn.Server.shutdown)
    assert isinstance(ServerState().connections, set)
    assert callable(GatewayProtocol.shutdown)

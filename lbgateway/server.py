"""The door to uvicorn: sockets, signals, reload, drain. With `dataplane.protocol` the only file that knows it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import resource
import signal
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
import uvicorn

from lbgateway.config import ConfigErrors
from lbgateway.dataplane.protocol import GatewayProtocol
from lbgateway.runtime import Gateway

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from types import FrameType

    from uvicorn.server import ServerState

    from lbgateway.config import Settings
    from lbgateway.dataplane.plane import DataPlane

log = structlog.get_logger("lbgateway")

BACKLOG = 4096
FIRST_ANSWER_S = 1.0
"""How long a start waits for the registry, so that the first clients find its services."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
SPARE_FILES = 128
"""Open files that are neither a client's connection nor an upstream's."""


class GatewayServer(uvicorn.Server):
    """uvicorn with our way of stopping: drain first, exit with 0, never raise the signal again."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway, listeners: Sequence[socket.socket]) -> None:
        super().__init__(config)
        self.gateway = gateway
        self.listeners = list(listeners)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield  # `signals` captures them, and for longer

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            if self.started:
                self.close_listeners()
            self.gateway.drain()
            log.info(
                "stopping: no new connections, what runs may finish",
                signal=signal.Signals(sig).name,
                requests_active=len(self.gateway.plane.active),
                connections=len(self.gateway.plane.connections),
                drain_timeout_seconds=self.gateway.settings.server.drain_timeout,
            )
        super().handle_exit(sig, frame)

    def close_listeners(self) -> None:
        """Accept who has come, then close the door, with nothing in between.

        Before any answer says ``Connection: close``: clients would all come back at the very moment at which
        the door closes, and the kernel resets whoever waits behind it.
        """
        waiting = [connection for listener in self.listeners for connection in accept_waiting(listener)]
        for server in self.servers:
            server.close()
        self.listeners.clear()
        for connection in waiting:
            self.gateway.plane.spawn(self._take_in(connection))

    async def _take_in(self, connection: socket.socket) -> None:
        make_protocol: Callable[..., GatewayProtocol] = self.config.http_protocol_class  # type: ignore[assignment]  # ours, see `uvicorn_config`
        with contextlib.suppress(OSError):  # gone already
            await self.gateway.loop.connect_accepted_socket(partial(make_protocol, self.config, self.server_state, {}), connection)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.close_listeners()  # where the signal came before the start was complete
        await super().shutdown(sockets)


@contextlib.contextmanager
def signals(loop: asyncio.AbstractEventLoop, handlers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """Let the loop call the handlers: those of `signal.signal` run between any two bytecodes, also inside of a log call."""
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        OSError: the address cannot be had, with a message for people.

    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise OSError(error.errno, f"{host}:{port} is in use by another process") from None
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    listener.setblocking(False)
    return listener


async def serve(
    settings: Settings,
    *,
    sockets: Sequence[socket.socket],
    reload: Callable[[], Settings] | None = None,
    on_started: Callable[[Gateway], None] | None = None,
) -> None:
    """Run one gateway on `sockets` until SIGINT or SIGTERM; SIGHUP asks `reload` for new settings."""
    loop = asyncio.get_running_loop()
    settings = fit_to_open_files(settings)
    gateway = Gateway(settings, loop)
    server = GatewayServer(uvicorn_config(gateway, settings), gateway, sockets)
    handlers: dict[signal.Signals, Callable[[], None]] = {number: partial(server.handle_exit, number, None) for number in STOP_SIGNALS}
    if reload is not None:
        handlers[signal.SIGHUP] = partial(reload_settings, gateway, reload)
    with signals(loop, handlers):
        try:
            await gateway.start()
            await gateway.settle(FIRST_ANSWER_S)
            # What is alive now lives as long as the process: no collection need look at it again.
            gc.collect()
            gc.freeze()
            gc.set_threshold(20_000, 20, 50)
            if on_started is not None:
                on_started(gateway)
            log.info("listening", addresses=[address_of(listener) for listener in sockets], **gateway.summary())
            await server.serve(sockets=list(sockets))
            cut_what_is_left(gateway.plane)
        finally:
            gc.unfreeze()
            await gateway.aclose()
    log.info("stopped")


def accept_waiting(listener: socket.socket) -> list[socket.socket]:
    """The connections that clients believe to have, but that nobody has looked at yet: closing the listener would reset them."""
    accepted = []
    with contextlib.suppress(OSError):  # in the end BlockingIOError; or too many open files
        while True:
            accepted.append(listener.accept()[0])
    return accepted


def cut_what_is_left(plane: DataPlane) -> None:
    """End the connections that `server.drain_timeout` was too short for."""
    if plane.connections:
        log.warning(
            "server.drain_timeout is over, what was left is cut", connections=len(plane.connections), requests_active=len(plane.active)
        )
    for protocol in tuple(plane.connections):
        protocol.abort()


def uvicorn_config(gateway: Gateway, settings: Settings) -> uvicorn.Config:
    """The server part of uvicorn only: no parser, no access log, no headers, no logging of its own."""
    plane: DataPlane = gateway.plane

    def make_protocol(config: Any, server_state: ServerState, app_state: Any, _loop: Any = None) -> GatewayProtocol:  # noqa: ARG001 uvicorn's call
        return GatewayProtocol(plane, server_state)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await plane.application(scope, receive, send)

    return uvicorn.Config(
        application,
        http=make_protocol,  # type: ignore[arg-type]  # uvicorn only calls it
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=max(1, round(settings.server.drain_timeout)),
    )


def reload_settings(gateway: Gateway, reload: Callable[[], Settings]) -> None:
    """Take over the file as it is now; if it is bad, say why and keep the old one."""
    try:
        settings = fit_to_open_files(reload())
        gateway.reload(settings)
    except ConfigErrors as bad:
        log.error("reload refused, the old configuration stays", errors=[str(error) for error in bad.errors])  # noqa: TRY400 the errors say it all
        return
    except Exception:
        log.exception("reload failed, the old configuration stays")
        return
    for warning in settings.warnings:
        log.warning("configuration", warning=warning)
    log.info("reloaded", **gateway.summary())


def fit_to_open_files(settings: Settings) -> Settings:
    """Raise the limit of open files to its hard bound; lower ``max_connections`` if two files each would not fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.server.max_connections
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    fitting = (soft - SPARE_FILES) // 2 if soft != resource.RLIM_INFINITY else wanted
    if fitting >= wanted:
        return settings
    log.warning("server.max_connections lowered to fit the open-files limit", wanted=wanted, max_connections=fitting, open_files=soft)
    return settings.model_copy(update={"server": settings.server.model_copy(update={"max_connections": max(1, fitting)})})


def address_of(listener: socket.socket) -> str:
    """The address as in a URL."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

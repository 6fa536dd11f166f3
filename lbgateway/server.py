"""The door to uvicorn: sockets, signals, reload, drain. With `dataplane.protocol` the only file that knows it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
import uvicorn

from lbgateway.dataplane.admin_protocol import AdminProtocol
from lbgateway.dataplane.protocol import GatewayProtocol
from lbgateway.doorkeeper import SPARE_FILES
from lbgateway.handover import Handover
from lbgateway.leaving import Leaving
from lbgateway.listeners import Listeners, address_of
from lbgateway.open_files import fit_to_open_files
from lbgateway.preamble import Preambles
from lbgateway.reloading import reload_settings
from lbgateway.runtime import Gateway
from lbgateway.self_registration import registration_id
from lbgateway.succession import informed, pass_on
from lbgateway.systemd import ServiceManager
from lbgateway.tls import server_context

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

    from lbgateway.config import Settings
    from lbgateway.dataplane.plane import DataPlane
    from lbgateway.handover import Successor
    from lbgateway.takeover import Predecessor

log = structlog.get_logger("lbgateway")

FIRST_ANSWER_S = 1.0
"""How long a start waits for the registry, so that the first clients find its services."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class GatewayServer(uvicorn.Server):
    """uvicorn with our way of stopping: drain first, exit with 0, never raise the signal again.

    `admin`: the sockets of `admin.listen`, open until the end, so that the drain can be watched there. `predecessor`: who
    serves on all of them until we do. `meeting`: where a successor of ours may find us, nowhere by default.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        gateway: Gateway,
        sockets: Sequence[socket.socket],
        *,
        admin: Sequence[socket.socket] = (),
        predecessor: Predecessor | None = None,
        meeting: Sequence[Path] = (),
    ) -> None:
        super().__init__(config)
        self.gateway = gateway
        self.manager = ServiceManager(os.environ)
        self.predecessor = predecessor
        server = gateway.settings.server
        make_protocol = partial(GatewayProtocol, gateway.plane, self.server_state)
        self.listeners = Listeners(
            sockets, make_protocol, tls=server_context(server.tls), handshake_s=server.header_timeout,
            preambles=preambles_of(gateway), spare=SPARE_FILES,
        )  # fmt: skip
        self.servers = self.listeners.servers  # type: ignore[assignment]  # uvicorn closes them, which a doorkeeper can
        self.admin = Listeners(admin, partial(AdminProtocol, gateway.plane), tls=None, handshake_s=server.header_timeout)
        self.handover: Handover | None = None
        if meeting:
            self.handover = Handover(meeting, lambda: self.listeners.sockets, self.retire, lambda: self.admin.sockets)
        self.leaving: Leaving | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield  # `signals` captures them, and for longer

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Leave the registry, and stop once that is known and what runs is answered; a second signal stops at once."""
        if self.started and not self.gateway.leaving:
            gateway, stop = self.gateway, partial(self.stop, sig, frame)
            self.leaving = Leaving(gateway.plane, gateway.leave(), gateway.settings.server.drain_timeout, stop)
            if not self.leaving.over:
                log.info("leaving: not ready any more, the port stays open for those who have not heard", **self.leaving.facts())
                gateway.plane.say_goodbye()
                self.leaving.look()
                return
        impatient = self.leaving is not None and not self.leaving.over
        self.stop(sig, frame)
        if impatient:
            super().handle_exit(sig, frame)  # a second SIGINT means at once

    def stop(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            if self.leaving is not None:
                self.leaving.cancel()
            if self.started:
                self.close_listeners()
            self.manager.stopping()
            self._drain("stopping: no new connections, what runs may finish", signal=signal.Signals(sig).name)
        super().handle_exit(sig, frame)

    def retire(self, successor: Successor) -> None:
        """Another process accepts connections on our sockets: finish what runs, and end."""
        if self.should_exit:
            return
        if self.leaving is not None:
            self.leaving.cancel()
        self.listeners.leave()
        self.admin.leave()
        pass_on(self.gateway, successor)
        self.manager.succeeded_by(successor.pid)
        self._drain("handed over: another process serves the port now, what runs here may finish", successor=successor.pid)
        super().handle_exit(signal.SIGTERM, None)

    def _drain(self, event: str, **why: Any) -> None:
        if self.handover is not None:
            self.handover.close()
        self.gateway.drain()
        plane, drain_timeout_s = self.gateway.plane, self.gateway.settings.server.drain_timeout
        if self.leaving is not None:
            drain_timeout_s = max(0.0, round(drain_timeout_s - self.leaving.late_s, 3))
        self.config.timeout_graceful_shutdown = drain_timeout_s  # type: ignore[assignment]  # uvicorn waits for fractions as well
        log.info(event, **why, requests_active=len(plane.active), connections=len(plane.connections), drain_timeout_seconds=drain_timeout_s)

    def addresses(self) -> dict[str, list[str]]:
        """Where clients and, if they have a door of their own, operators come in."""
        told = {"addresses": [address_of(each, secure=self.listeners.secure) for each in self.listeners.sockets]}
        admin = [address_of(each) for each in self.admin.sockets]
        return {**told, "admin": admin} if admin else told

    def close_listeners(self) -> None:
        """Accept who has come, then close the door, with nothing in between.

        Before any answer says ``Connection: close``: clients would all come back at the very moment at which
        the door closes, and the kernel resets whoever waits behind it.
        """
        for connection in self.listeners.close():
            self.gateway.plane.spawn(self.listeners.take_in(connection))

    def greet(self, tls: ssl.SSLContext | None) -> None:
        """A reload has brought other certificates, maybe under the same names: new clients get them."""
        preambles = preambles_of(self.gateway)
        if not self.should_exit and (tls or preambles or self.listeners.secure or self.listeners.preambles):
            self.listeners.rekey(tls, self.gateway.settings.server.header_timeout, preambles)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 uvicorn's signature
        await super().startup(sockets=[])  # all but the sockets: those are ours, for TLS that can be changed
        self.servers = self.listeners.servers  # type: ignore[assignment]  # uvicorn closes them, which a doorkeeper can
        self.listeners.open()
        self.admin.open()
        if self.listeners.sockets and not self.should_exit:
            self.gateway.plane.spawn(self.succeed(self.listeners.sockets[0].getsockname()[1]))

    async def succeed(self, port: int) -> None:
        """We serve: send away who did so before, and let it be known."""
        if self.handover is not None:
            self.handover.open()
        if self.predecessor is not None:
            await self.predecessor.retire(registration_id(self.gateway.settings, port))
        if not self.should_exit:
            self.gateway.open(port)
            self.manager.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.close_listeners()  # where the signal came before the start was complete
        logging.getLogger("uvicorn.error").addFilter(is_news)
        await super().shutdown(sockets)
        self.admin.leave()


@contextlib.contextmanager
def signals(loop: asyncio.AbstractEventLoop, handlers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """Let the loop call the handlers: those of `signal.signal` run between any two bytecodes, also inside of a log call."""
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, handlers)  # those that came before there was a handler are served now
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


def collect_seldom() -> None:
    """What is alive now lives as long as the process: no collection need look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


async def serve(
    settings: Settings,
    *,
    sockets: Sequence[socket.socket],
    admin: Sequence[socket.socket] = (),
    reload: Callable[[], Settings] | None = None,
    on_started: Callable[[Gateway], None] | None = None,
    predecessor: Predecessor | None = None,
    meeting: Sequence[Path] = (),
) -> None:
    """Run one gateway on `sockets` until SIGINT, SIGTERM or a successor; SIGHUP asks `reload` for new settings.

    `admin`, `predecessor` and `meeting` as for `GatewayServer`.

    Raises:
        RegistryNotStarted: with `discovery.provider: embedded` only.
        TakeoverFailed: the registry does not answer, while `predecessor` still knows what it last said.

    """
    loop = asyncio.get_running_loop()
    settings = fit_to_open_files(settings)
    gateway = Gateway(settings, loop)
    server = GatewayServer(
        uvicorn_config(gateway, settings), gateway, sockets, admin=admin, predecessor=predecessor, meeting=meeting
    )  # fmt: skip
    handlers: dict[signal.Signals, Callable[[], None]] = {number: partial(server.handle_exit, number, None) for number in STOP_SIGNALS}
    if reload is not None:
        handlers[signal.SIGHUP] = partial(reload_settings, server, reload)
    with signals(loop, handlers):
        try:
            await gateway.start()
            await (gateway.settle(FIRST_ANSWER_S) if predecessor is None else informed(gateway))
            collect_seldom()
            if on_started is not None:
                on_started(gateway)
            log.info("listening", **server.addresses(), **gateway.summary())
            await server.serve(sockets=list(sockets))
            cut_what_is_left(gateway.plane)
        finally:
            gc.unfreeze()
            await gateway.aclose()
    log.info("stopped")


def is_news(record: logging.LogRecord) -> bool:
    """A filter. uvicorn calls it an error that a drain takes all of its time; `cut_what_is_left` says it, and what is cut."""
    return "timeout graceful shutdown exceeded" not in str(record.msg)


def cut_what_is_left(plane: DataPlane) -> None:
    """End the connections that `server.drain_timeout` was too short for, and those of operators, who may stay until the end."""
    late = sum(not isinstance(protocol, AdminProtocol) for protocol in plane.connections)
    if late:
        log.warning("server.drain_timeout is over, what was left is cut", connections=late, requests_active=len(plane.active))
    for protocol in tuple(plane.connections):
        protocol.abort()


def preambles_of(gateway: Gateway) -> Preambles | None:
    """What connections have to begin with; None if with nothing."""
    server = gateway.settings.server
    if not server.proxy_protocol:
        return None
    return Preambles(gateway.plane.trusts, timeout_s=server.header_timeout, most=server.max_connections)


def uvicorn_config(gateway: Gateway, settings: Settings) -> uvicorn.Config:
    """The server part of uvicorn only: no parser, no access log, no headers, no logging of its own."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await gateway.plane.application(scope, receive, send)

    return uvicorn.Config(
        application,
        http=GatewayProtocol,  # in its place; it is our listeners that make them
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=round(settings.server.drain_timeout),  # until the stop, which knows it better
    )

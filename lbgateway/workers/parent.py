"""The parent of several workers: what there is one of in a gateway.

It starts, reloads, hands over, drains and stops like a single process.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import secrets
import signal
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

import structlog

from lbgateway.dataplane.admin_protocol import AdminProtocol
from lbgateway.handover import Handover
from lbgateway.listeners import Listeners, address_of
from lbgateway.open_files import fit_to_open_files
from lbgateway.reloading import reload_settings
from lbgateway.runtime import Gateway
from lbgateway.self_registration import registration_id
from lbgateway.server import FIRST_ANSWER_S, STOP_SIGNALS, collect_seldom, cut_what_is_left, signals
from lbgateway.succession import informed, pass_on
from lbgateway.systemd import ServiceManager
from lbgateway.tls import server_context
from lbgateway.workers import registry_wire
from lbgateway.workers.asgi_host import Hosting
from lbgateway.workers.asking import Asking
from lbgateway.workers.board import Board
from lbgateway.workers.crew import Crew
from lbgateway.workers.parent_parts import ParentParts

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

    from lbgateway.config import Settings
    from lbgateway.doors import Doors
    from lbgateway.handover import Successor
    from lbgateway.workers.crew import Member
    from lbgateway.workers.frames import Frame

log = structlog.get_logger("lbgateway")

SERVING_WITHIN_S = 60.0
TOLD_EVERY_S = 1.0
LATE_S = 5.0
"""So much longer than ``server.drain_timeout`` a worker may take to leave."""


class Parent:
    """Implements `reloading.Reloadable`. `doors` as `lbgateway.doors` opens them."""

    def __init__(self, settings: Settings, doors: Doors, loop: asyncio.AbstractEventLoop) -> None:
        # for life
        self.loop = loop
        self.workers = settings.server.processes
        self.board = Board.create(self.workers)
        self.asking = Asking(self._ask)
        self.parts = ParentParts(self.board, self._tell, self.asking.all)
        self.gateway = Gateway(settings, loop, self.parts)
        self.parts.bind(self.gateway)
        self.sockets: list[socket.socket] = doors.sockets
        self.predecessor = doors.predecessor
        self.admin = Listeners(
            doors.admin, partial(AdminProtocol, self.gateway.plane), tls=None, handshake_s=settings.server.header_timeout
        )  # fmt: skip
        self.crew = Crew(self.board, lambda: self.sockets, greet=self._greet, on_frame=self._on_frame, on_left=self._on_left)
        self.manager = ServiceManager(os.environ)
        self.handover = Handover(doors.meeting, lambda: self.sockets, self.retire, lambda: self.admin.sockets)
        self._started_with = settings
        self._secret = secrets.token_bytes(32)
        self._hosting: dict[Member, Hosting] = {}
        # as it goes
        self.started = False
        self._settled = False
        self._stopping = asyncio.Event()
        self._pause: asyncio.TimerHandle | None = None
        self._told: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Parent {self.crew!r}>"

    # -- life ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """From the first worker to the last.

        Raises:
            RegistryNotStarted, TakeoverFailed: as `lbgateway.server.serve`.

        """
        gateway = self.gateway
        try:
            await self.crew.start()
            await gateway.start()
            await (gateway.settle(FIRST_ANSWER_S) if self.predecessor is None else informed(gateway))
            collect_seldom()
            self._settled = True
            self._tell_now_and_then()
            self._tell("serve")
            self.admin.open()
            if await self.crew.all_serving(SERVING_WITHIN_S):
                await self._open()
            elif not self._stopping.is_set():
                log.error("not all workers serve yet", within_seconds=SERVING_WITHIN_S)
                await self._open()
            await self._stopping.wait()
            await self.crew.gone(gateway.settings.server.drain_timeout + LATE_S)
        finally:
            await self._end()

    async def _open(self) -> None:
        """They serve: send away who did so before, and let it be known."""
        self.started = True
        secure = self.gateway.settings.server.tls is not None
        admin = {"admin": [address_of(each) for each in self.admin.sockets]} if self.admin.sockets else {}
        addresses = [address_of(each, secure=secure) for each in self.sockets]
        log.info("listening", addresses=addresses, **admin, workers=self.workers, **self.gateway.summary())
        port = self.sockets[0].getsockname()[1]
        self.handover.open()
        if self.predecessor is not None:
            await self.predecessor.retire(registration_id(self.gateway.settings, port))
        if not self._stopping.is_set():
            self.gateway.open(port)
            self.manager.ready()

    async def _end(self) -> None:
        if not self.crew.stopping:
            self.crew.stop("stop")
            await self.crew.gone(LATE_S)
        self._close_doors()
        if self._told is not None:
            self._told.cancel()
        self.admin.leave()
        cut_what_is_left(self.gateway.plane)
        gc.unfreeze()
        await self.gateway.aclose()

    def handle_exit(self, number: int) -> None:
        """Leave the registry, and stop once that is known; a second signal stops at once."""
        pause_s = self.gateway.leave() if self.started and not self.gateway.leaving else 0.0
        if pause_s:
            log.info("leaving: not ready any more, the port stays open for those who have not heard", at_most_seconds=pause_s)
            self._pause = self.loop.call_later(pause_s, self._stop, number)
            return
        self._stop(number)

    def _stop(self, number: int) -> None:
        self.manager.stopping()
        # The last worker that closes the port takes in who waits there, so nobody else may hold it open.
        self._close_doors()
        self._leave("stopping: no new connections, what runs may finish", "stop", signal=signal.Signals(number).name)

    def retire(self, successor: Successor) -> None:
        """Another process accepts connections on our sockets: finish what runs, and end."""
        if self._stopping.is_set():
            return
        self._close_doors()
        self.admin.leave()
        pass_on(self.gateway, successor)
        self.manager.succeeded_by(successor.pid)
        event = "handed over: another process serves the port now, what runs here may finish"
        self._leave(event, "retire", successor=successor.pid)

    def _leave(self, event: str, kind: str, **why: Any) -> None:
        if self._pause is not None:
            self._pause.cancel()
        self.handover.close()
        self.gateway.drain()
        log.info(event, **why, drain_timeout_seconds=self.gateway.settings.server.drain_timeout)
        self.crew.stop(kind, **why)
        self._stopping.set()

    def _close_doors(self) -> None:
        sockets, self.sockets = self.sockets, []
        for each in sockets:
            each.close()

    def greet(self, tls: ssl.SSLContext | None) -> None:  # noqa: ARG002 each worker makes its own
        """A reload has been put in force here: in the workers, too."""
        self._tell("configure", pickle.dumps(self._worker_settings()))

    # -- workers -------------------------------------------------------------------------------

    def _worker_settings(self) -> Settings:
        """Each has its part of the connections; what a reload cannot change is as it was at the start, in later workers, too."""
        settings, started = self.gateway.composer.base, self._started_with
        server = settings.server.model_copy(update={"max_connections": ceil(settings.server.max_connections / self.workers)})
        admin = settings.admin.model_copy(update={"listen": started.admin.listen})
        return settings.model_copy(update={"server": server, "admin": admin})

    def _greet(self, member: Member) -> None:
        """Tell a new worker everything."""
        link = member.link
        self._hosting[member] = Hosting(link, lambda: self.gateway.plane.application)
        listeners = [each.fileno() for each in self.sockets]
        facts = {"workers": self.workers, "board": self.board.descriptor, "listeners": listeners, "secret": self._secret.hex()}
        link.send("start", pickle.dumps(self._worker_settings()), **facts)
        for kind, payload, told in self.parts.everything():
            link.send(kind, payload, **told)
        self._tell_of_registry(link.tell)
        if self._settled:
            link.send("serve")

    def _on_frame(self, member: Member, frame: Frame) -> None:
        facts = frame.facts
        if self._hosting[member].hear(frame):
            return
        if self.parts.sharing.hear(facts):
            self.crew.tell(but=member, **facts)
            return
        match facts["kind"]:
            case "report":
                self.parts.merging.hear(member.index, facts)
                self.asking.answered(facts["number"], member.index)
            case "serving":
                self.crew.serves(member)
            case "asked_to_stop":
                self.crew.replace(member)
            case unknown:
                log.error("a worker says what nobody understands", worker=member.index, kind=unknown)

    def _on_left(self, member: Member) -> None:
        self._hosting.pop(member).end()
        self.parts.merging.forget(member.index)
        self.asking.left(member.index)

    def _ask(self, number: int) -> list[int]:
        asked = [each for each in self.crew.members.values() if each.serving]
        for member in asked:
            member.link.send("ask", number=number)
        return [each.index for each in asked]

    def _tell(self, kind: str, payload: bytes = b"", **facts: Any) -> None:
        self.crew.tell(kind, payload, **facts)

    def _tell_now_and_then(self) -> None:
        """What changes all the time, and is needed seldom."""
        self._tell_of_registry(self._tell)
        self._told = self.loop.call_later(TOLD_EVERY_S, self._tell_now_and_then)

    def _tell_of_registry(self, tell: Callable[..., None]) -> None:
        tell("registry", **registry_wire.status_facts(self.gateway.registry.status()))
        tell("gateways", count=self.gateway.gateways.count())


async def serve_together(settings: Settings, doors: Doors, reload: Callable[[], Settings] | None = None) -> None:
    """Run one gateway with ``server.workers`` workers until SIGINT, SIGTERM or a successor; SIGHUP asks `reload` for new settings.

    Raises:
        RegistryNotStarted, TakeoverFailed: as `lbgateway.server.serve`.

    """
    loop = asyncio.get_running_loop()
    settings = fit_to_open_files(settings)
    server_context(settings.server.tls)  # what is wrong with it is said once, before there are workers
    parent = Parent(settings, doors, loop)
    handlers: dict[signal.Signals, Callable[[], None]] = {number: partial(parent.handle_exit, number) for number in STOP_SIGNALS}
    if reload is not None:
        handlers[signal.SIGHUP] = partial(reload_settings, parent, reload)
    with signals(loop, handlers):
        await parent.run()
    log.info("stopped")

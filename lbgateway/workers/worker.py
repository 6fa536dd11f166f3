"""One worker: serves what the parent tells it to, until the parent says stop or is gone."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
import uvloop

from lbgateway.handover import Successor
from lbgateway.runtime import Gateway
from lbgateway.server import GatewayServer, collect_seldom, cut_what_is_left, signals, uvicorn_config
from lbgateway.telemetry import logging
from lbgateway.tls import server_context
from lbgateway.workers.asgi_relay import RelayedApplication
from lbgateway.workers.board import Board
from lbgateway.workers.doorkeeper import FairDoorkeeper, Turns
from lbgateway.workers.link import Link
from lbgateway.workers.relayed_source import RelayedSource
from lbgateway.workers.shared_endpoint import Places, SharedEndpoint
from lbgateway.workers.sharing import Sharing
from lbgateway.workers.tally import Tally
from lbgateway.workers.worker_parts import WorkerParts

if TYPE_CHECKING:
    from lbgateway.config import Settings
    from lbgateway.workers.frames import Frame

log = structlog.get_logger("lbgateway")

TICK_S = 0.25
"""As often the parent hears of numbers: so much of what a worker has counted may be lost with it."""
WHOLE_TICKS = 4
SETTLED_WITHIN_S = 1.0


def main(descriptor: int, index: int) -> None:
    """Run worker `index` of the parent at the other end of `descriptor`."""
    logging.configure()  # until the settings are there
    structlog.contextvars.bind_contextvars(worker=index)
    os.environ.pop("NOTIFY_SOCKET", None)  # it is the parent that the service manager hears
    uvloop.run(Worker(index).run(socket.socket(fileno=descriptor)))


def settings_from(payload: bytes) -> Settings:
    """As the parent has validated them. Pickled by it and nobody else: what workers write is never unpickled, here or there."""
    settings: Settings = pickle.loads(payload)  # noqa: S301 the other end of a socket pair that nobody else has
    logging.configure(settings.logging.level, settings.logging.format)
    return settings


class WorkerServer(GatewayServer):
    """Has the port together with others; who serves is the parent's to say."""

    link: Link

    async def succeed(self, port: int) -> None:
        if not self.should_exit:
            self.link.send("serving", port=port)


class Worker:
    """From the first frame on it has a gateway; from ``serve`` on, clients."""

    gateway: Gateway
    server: WorkerServer

    link: Link

    def __init__(self, index: int) -> None:
        self.index = index
        self._frames: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._hears = False
        self._may_serve = asyncio.Event()
        self._stopped = False
        self._ticks = 0

    async def run(self, pair: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self.link = Link(self._on_frame, self._on_end)
        await self.link.over(pair)
        ignored = dict.fromkeys((signal.SIGINT, signal.SIGHUP), _nothing)
        with signals(loop, {**ignored, signal.SIGTERM: partial(self.link.send, "asked_to_stop")}):
            first = await self._frames.get()
            if first is None or first.facts["kind"] != "start":
                return  # the parent has gone, or stops, before this one has begun
            self._begin(first, loop)
            try:
                await self._serve()
            finally:
                gc.unfreeze()
                await self.gateway.aclose()
                self._report()
        self.link.close()

    def _begin(self, frame: Frame, loop: asyncio.AbstractEventLoop) -> None:
        facts, settings = frame.facts, settings_from(frame.payload)
        board = Board(facts["board"], facts["workers"])
        self.places, self.relay = Places(board, self.index), RelayedApplication(self.link)
        self.parts = WorkerParts(board, self.places, bytes.fromhex(facts["secret"]), self.relay)
        self.gateway = gateway = Gateway(settings, loop, self.parts)
        self.sharing = Sharing(gateway.plane, self.link.tell)
        self.parts.bind(gateway, self.sharing)
        self.tally = Tally(gateway.plane, gateway.view.tokens_of)
        self.turns = Turns(board, self.index, gateway.plane.connections)
        sockets = [socket.socket(fileno=each) for each in facts["listeners"]]
        self.server = WorkerServer(uvicorn_config(gateway, settings), gateway, sockets)
        self.server.link = self.link
        self.server.listeners.doorkeeper = partial(FairDoorkeeper, self.turns)

    async def _serve(self) -> None:
        await self.gateway.start()
        self._hears = True
        while not self._frames.empty():
            frame = self._frames.get_nowait()
            if frame is None:
                return
            self._hear(frame)
        await self._may_serve.wait()
        await self.gateway.settle(SETTLED_WITHIN_S)
        collect_seldom()
        if not self._stopped:
            self.turns.open()
            self._tick()
            await self.server.serve(sockets=self.server.listeners.sockets)
            cut_what_is_left(self.gateway.plane)

    # -- what the parent says ------------------------------------------------------------------

    def _on_frame(self, frame: Frame) -> None:
        if self._hears:
            self._hear(frame)
        else:
            self._frames.put_nowait(frame)

    def _hear(self, frame: Frame) -> None:
        source = self.gateway.source
        assert isinstance(source, RelayedSource)
        if self.relay.hear(frame) or source.hear(frame) or self.sharing.hear(frame.facts):
            return
        facts = frame.facts
        match facts["kind"]:
            case "ask":
                self._report(facts["number"])
            case "gateways":
                self.parts.gateways = facts["count"]
            case "serve":
                self._may_serve.set()
            case "configure":
                self._configure(frame)
            case "stop":
                self._stop()
            case "retire":
                self._retire(facts["successor"])
            case unknown:
                log.error("the parent wants something that this worker does not know", kind=unknown)

    def _configure(self, frame: Frame) -> None:
        """Put new settings in force; the parent has done the same with success, so a failure is a reason to begin anew."""
        try:
            settings = settings_from(frame.payload)
            tls = server_context(settings.server.tls)
            self.gateway.reload(settings)
            self.server.greet(tls)
        except Exception:
            log.exception("the reload failed in this worker, which another one replaces")
            self.link.send("asked_to_stop")

    def _stop(self) -> None:
        self._stopped = True
        self._may_serve.set()
        self.server.handle_exit(signal.SIGTERM, None)

    def _retire(self, successor: int) -> None:
        self._stopped = True
        self._may_serve.set()
        if self.server.started:
            self.server.retire(Successor(successor, None))

    def _on_end(self) -> None:
        """Without the parent nobody would know what there is: finish what runs, and leave."""
        if not self._hears:
            self._frames.put_nowait(None)
        if hasattr(self, "server"):
            self.relay.end()
            if not self._stopped:
                log.warning("the parent of this worker is gone, what runs here may finish")
                self._stop()

    # -- what the parent hears -----------------------------------------------------------------

    def _tick(self) -> None:
        self.turns.write()
        self._ticks += 1
        if whole := self._ticks % WHOLE_TICKS == 0:
            for upstream in self.gateway.plane.upstreams.values():
                for endpoint in upstream.endpoints.endpoints.values():
                    assert isinstance(endpoint, SharedEndpoint)
                    endpoint.trim()
        if self.link.keeps_up:  # what has grown is not lost: it is told the next time
            self._report(whole=whole)
        if not self.link.ended:
            self.gateway.loop.call_later(TICK_S, self._tick)

    def _report(self, number: int | None = None, *, whole: bool = True) -> None:
        view = self.gateway.view
        asked: dict[str, Any] = {"redis": view.redis(), "authorities": view.authorities()}
        self.link.send("report", number=number, pid=os.getpid(), asked=asked, **self.tally.report(whole=whole))


def _nothing() -> None:
    """A signal that is the parent's to act upon: a terminal sends it to all processes of a group."""

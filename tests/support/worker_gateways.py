"""A parent's gateway and those of its workers in one process: the real parts of each, which hear each other at once.

What they tell goes through real frames. Processes, sockets and the port are not here: `tests.support.workers` has those.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Self

from lbgateway.controlplane.port import Command
from lbgateway.dataplane.gateway_endpoint import GatewayEndpoint
from lbgateway.runtime import Gateway
from lbgateway.workers.board import Board
from lbgateway.workers.frames import Decoder, Frame, framed
from lbgateway.workers.parent_parts import ParentParts
from lbgateway.workers.shared_endpoint import Places
from lbgateway.workers.sharing import Sharing
from lbgateway.workers.tally import Tally
from lbgateway.workers.worker_parts import WorkerParts
from tests.lbgateway.config.reading import settings_of

BASE = "auth: {default: none}\ndiscovery: {provider: static}\nlogging: {access_log: false}\n"
TWO = "services: {orders: {balancer: round_robin, instances: ['127.0.0.1:1', '127.0.0.1:2']%s}}\n"


async def until(condition: Callable[[], object], within_s: float = 30.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 what is awaited happens in another process, or tells nobody
            await asyncio.sleep(0.005)


def heard(kind: str, payload: bytes, facts: dict[str, Any]) -> Frame:
    """As it comes out at the other end."""
    (frame,) = Decoder().feed(framed({"kind": kind, **facts}, payload))
    return frame


class WorkerHalf:
    """One worker's gateway, its places on the board, and what it tells."""

    def __init__(self, together: Together, index: int) -> None:
        self.index = index
        self.places = Places(together.board, index)
        self.parts = WorkerParts(together.board, self.places, b"secret", together.nowhere)
        self.gateway = Gateway(together.settings, asyncio.get_running_loop(), self.parts)
        self.sharing = Sharing(self.gateway.plane, lambda kind, /, **facts: together.from_worker(self, kind, facts))
        self.parts.bind(self.gateway, self.sharing)
        self.tally = Tally(self.gateway.plane, self.gateway.view.tokens_of)

    def hears(self, frame: Frame) -> None:
        assert self.gateway.source.hear(frame) or self.sharing.hear(frame.facts)

    def endpoints(self, service: str = "orders") -> list[GatewayEndpoint]:
        return sorted(self.gateway.plane.upstreams[service].endpoints.endpoints.values(), key=lambda each: each.id)


class Together:
    """`async with Together(text) as gateways`: the parent has settled, and the workers have been told everything."""

    def __init__(self, more: str = "", text: str = TWO, workers: int = 2) -> None:
        self.settings = settings_of(BASE + (text % more if "%s" in text else text))
        self.board = Board.create(workers)
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.workers: list[WorkerHalf] = []

    async def __aenter__(self) -> Self:
        self.parts = ParentParts(self.board, self.from_parent, self.gathered)
        self.parent = Gateway(self.settings, asyncio.get_running_loop(), self.parts)
        self.parts.bind(self.parent)
        await self.parent.start()
        await self.parent.settle(1.0)
        for index in range(self.board.workers):
            await self.begins(index)
        return self

    async def __aexit__(self, *_: object) -> None:
        for each in self.workers:
            await each.gateway.aclose()
        await self.parent.aclose()

    async def begins(self, index: int) -> WorkerHalf:
        """A worker comes, in the place of one that is gone or as the next one."""
        worker = WorkerHalf(self, index)
        for kind, payload, facts in self.parts.everything():
            worker.hears(heard(kind, payload, facts))
        await worker.gateway.start()
        for kind, payload, facts in self.parts.everything():
            worker.hears(heard(kind, payload, facts))
        self.workers[index : index + 1] = [worker]
        return worker

    def from_parent(self, kind: str, payload: bytes = b"", **facts: Any) -> None:
        self.told.append((kind, facts))
        for each in self.workers:
            each.hears(heard(kind, payload, facts))

    def from_worker(self, worker: WorkerHalf, kind: str, facts: dict[str, Any]) -> None:
        frame = heard(kind, b"", facts)
        self.told.append((kind, frame.facts))
        assert self.parts.sharing.hear(frame.facts)
        for each in self.workers:
            if each is not worker:
                each.hears(frame)

    async def gathered(self) -> None:
        """All workers report."""
        for each in self.workers:
            asked = {"redis": each.gateway.view.redis(), "authorities": each.gateway.view.authorities()}
            report = {"number": None, "pid": each.index + 1, "asked": asked, **each.tally.report()}
            self.parts.merging.hear(each.index, heard("report", b"", report).facts)

    async def nowhere(self, *_: object) -> None:
        raise AssertionError("nobody asks for the gateway's own paths here")

    def orders(self, verb: str, instance: str, **more: Any) -> None:
        """An operator's order, given to the parent."""
        self.parent.view.act("orders", instance, Command(verb=verb, by="ops", **more))

    def everybody(self) -> list[list[GatewayEndpoint]]:
        """The endpoints of ``orders`` as the parent has them, then each worker."""
        of_parent = self.parent.plane.upstreams["orders"].endpoints.endpoints.values()
        return [sorted(of_parent, key=lambda each: each.id), *(each.endpoints() for each in self.workers)]

    def states(self, index: int = 0) -> list[str]:
        """The state of one instance as everybody has it."""
        return [each[index].state.value for each in self.everybody()]

    def refresh(self) -> None:
        for each in (self.parent, *(worker.gateway for worker in self.workers)):
            each.plane.upstreams["orders"].refresh(time.monotonic())

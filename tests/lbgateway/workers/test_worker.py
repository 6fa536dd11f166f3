"""One worker process, driven by a test in the place of its parent."""

from __future__ import annotations

import asyncio
import pickle
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from lbgateway.workers.board import NOT_SERVING, Board
from lbgateway.workers.frames import Frame
from lbgateway.workers.link import Link
from tests.lbgateway.config.reading import settings_of
from tests.support.worker_gateways import BASE


class Driven:
    """A worker, and what it says."""

    def __init__(self, listener: socket.socket) -> None:
        self.board = Board.create(1)
        self.listener = listener
        self.frames: asyncio.Queue[Frame] = asyncio.Queue()
        self.ended = asyncio.Event()
        self.link = Link(self.frames.put_nowait, self.ended.set)

    async def starts(self) -> None:
        ours, theirs = socket.socketpair()
        descriptors = [theirs.fileno(), self.board.descriptor, self.listener.fileno()]
        with theirs:
            command = [sys.executable, "-m", "lbgateway.workers", str(theirs.fileno()), "0"]
            self.process = subprocess.Popen(command, pass_fds=descriptors, stderr=subprocess.PIPE)  # noqa: ASYNC220 it does not wait for it
        await self.link.over(ours)

    def begins(self, text: str = BASE) -> None:
        facts = {"workers": 1, "board": self.board.descriptor, "listeners": [self.listener.fileno()], "secret": "00"}
        self.link.send("start", pickle.dumps(settings_of(text)), **facts)

    async def says(self, kind: str, **facts: Any) -> dict[str, Any]:
        """The next frame of that kind and with those facts; reports that nobody has asked for are passed over."""
        async with asyncio.timeout(30):
            while True:
                found = (await self.frames.get()).facts
                if found["kind"] == kind and facts.items() <= found.items():
                    return found

    async def answers(self) -> bytes:
        reader, writer = await asyncio.open_connection(*self.listener.getsockname())
        writer.write(b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer

    async def leaves(self) -> str:
        await asyncio.wait_for(self.ended.wait(), 30)
        _, told = await asyncio.to_thread(self.process.communicate)
        assert self.process.returncode == 0
        return told.decode()


@asynccontextmanager
async def driven() -> AsyncIterator[Driven]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        worker = Driven(listener)
        await worker.starts()
        yield worker
        worker.link.close()
        assert worker.process.returncode == 0  # each test waits for its end


async def test_it_serves_when_it_may_and_until_it_is_told_to_stop():
    """And answers what it is asked with its numbers."""
    async with driven() as worker:
        worker.begins()
        assert worker.board.doors.tolist() == [NOT_SERVING, 0]
        worker.link.send("serve")
        said = await worker.says("serving")
        assert said["port"] == worker.listener.getsockname()[1]
        assert (await worker.answers()).startswith(b"HTTP/1.1 404 ")
        worker.link.send("ask", number=7)
        report = await worker.says("report", number=7)
        assert (report["pid"], report["accepted"], report["counters"]["errors"]) == (worker.process.pid, 1, [["no_route", 1]])
        worker.link.send("stop")
        told = await worker.leaves()
        assert "Traceback" not in told


async def test_new_settings_are_put_in_force_or_it_asks_to_be_replaced():
    """The parent has them in force already: a worker that cannot follow must not serve on."""
    async with driven() as worker:
        worker.begins()
        worker.link.send("serve")
        await worker.says("serving")
        routed = BASE + "services: {a: {instances: ['127.0.0.1:1']}}\nroutes: [{prefix: /nowhere, service: a}]\n"
        worker.link.send("configure", pickle.dumps(settings_of(routed)))
        worker.link.send("ask", number=1)
        await worker.says("report", number=1)
        assert not (await worker.answers()).startswith(b"HTTP/1.1 404 ")
        worker.link.send("configure", b"nonsense")
        await worker.says("asked_to_stop")
        worker.link.send("stop")
        assert "another one replaces" in await worker.leaves()


@pytest.mark.parametrize("begun", [False, True])
async def test_without_its_parent_it_leaves(begun):
    """Before it has served, and afterwards."""
    async with driven() as worker:
        if begun:
            worker.begins()
            worker.link.send("serve")
            await worker.says("serving")
        worker.link.close()
        assert ("the parent of this worker is gone" in await worker.leaves()) == begun


async def test_who_is_told_to_stop_before_it_has_begun_leaves():
    """A gateway that is stopped while it starts."""
    async with driven() as worker:
        worker.link.send("stop")
        assert await worker.leaves() == ""


async def test_what_it_does_not_understand_it_says_and_serves_on():
    """A word of another version, say."""
    async with driven() as worker:
        worker.begins()
        worker.link.send("riddle")
        worker.link.send("gateways", count=2)
        worker.link.send("serve")
        await worker.says("serving")
        worker.link.send("stop")
        assert "does not know" in await worker.leaves()

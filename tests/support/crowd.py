"""Clients that cost a server more than they ask for, as a process of their own.

python -m tests.support.crowd KIND PORT COUNT     # until stdin ends; then it prints what they were told

``slow-heads`` send one byte of a head that never ends each second. ``slow-readers`` ask for much and read a kilobyte of it a second.
``holders`` make one request and stay. Whoever is answered with a close, or closed without an answer, comes back, but for the holders.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

ROOT = Path(__file__).parents[2]
LARGE_BYTES = 1_000_000
PAUSE_S = 1.0
PER_SECOND = 400
"""So many come at first."""

FIRST = {
    "slow-heads": b"GET /api/orders/slow HTTP/1.1\r\nHost: gateway.example\r\nX-Slow: ",
    "slow-readers": b"GET /api/orders/bytes/%d HTTP/1.1\r\nHost: gateway.example\r\n\r\n" % LARGE_BYTES,
    "holders": b"GET /api/orders/held HTTP/1.1\r\nHost: gateway.example\r\n\r\n",
}


class Member(asyncio.BufferedProtocol):
    """One of them; it reads a kilobyte at a time."""

    transport: asyncio.Transport

    def __init__(self, kind: str, gone: asyncio.Future[str]) -> None:
        self.kind = kind
        self.gone = gone
        self.heard = b""
        self._buffer = bytearray(1024)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # TCP transports are asyncio.Transport
        self.transport.write(FIRST[self.kind])
        if self.kind == "slow-heads":
            self._later(self._drip)

    def get_buffer(self, _: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, size: int) -> None:
        self.heard = self.heard or bytes(self._buffer[:size])
        if self.kind == "slow-readers":
            self.transport.pause_reading()
            self._later(self.transport.resume_reading)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.gone.done():
            self.gone.set_result(self.told() or ("reset" if exc is not None else "closed without an answer"))

    def told(self) -> str:
        """The status of its answer, empty if it has none."""
        return self.heard[9:12].decode()

    def _drip(self) -> None:
        self.transport.write(b"x")
        self._later(self._drip)

    def _later(self, what: object) -> None:
        def unless_closed() -> None:
            if not self.transport.is_closing():
                what()  # type: ignore[operator]  # one of the methods above

        asyncio.get_running_loop().call_later(PAUSE_S, unless_closed)


@dataclass
class Crowd:
    """All of them."""

    kind: str
    port: int
    told: Counter[str] = field(default_factory=Counter)
    here: set[Member] = field(default_factory=set)

    async def belong(self, after_s: float, arrived: asyncio.Event) -> None:
        """Come, and come back."""
        await asyncio.sleep(after_s)
        while True:
            gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            member = await self._enter(gone)
            arrived.set()
            if member is not None:
                self.told[await gone] += 1
                self.here.discard(member)
            if self.kind == "holders":
                return

    async def _enter(self, gone: asyncio.Future[str]) -> Member | None:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            try:
                await loop.sock_connect(client, ("127.0.0.1", self.port))
            except OSError as error:
                self.told[f"connecting: {error.strerror}"] += 1
                await asyncio.sleep(PAUSE_S)
                return None
            _, member = await loop.create_connection(lambda: Member(self.kind, gone), sock=client.dup())
        self.here.add(member)
        return member


async def run(kind: str, port: int, count: int) -> None:
    crowd, loop = Crowd(kind, port), asyncio.get_running_loop()
    arrived = [asyncio.Event() for _ in range(count)]
    tasks = [loop.create_task(crowd.belong(number / PER_SECOND, each)) for number, each in enumerate(arrived)]
    for each in arrived:
        await each.wait()
    print("{}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()
    staying = Counter(member.told() or "waiting" for member in crowd.here)
    print(json.dumps({"gone": crowd.told, "here": staying}), flush=True)


@dataclass(frozen=True)
class Fate:
    """What the members of a crowd were told: the status, or what came instead of one. Whoever came back counts again."""

    gone: dict[str, int] = field(default_factory=dict)
    here: dict[str, int] = field(default_factory=dict)
    """Of those who were there at the end; ``waiting`` if they had not been told anything."""


@contextlib.contextmanager
def crowd(kind: str, port: int, count: int) -> Iterator[Fate]:
    """`count` such clients are there; what became of them is in what is given once they have left, at the end of the ``with``."""
    command, fate = [sys.executable, "-m", "tests.support.crowd", kind, str(port), str(count)], Fate()
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline(), "the crowd ended at once"
        yield fate
        told = json.loads(process.communicate(timeout=20)[0])
        fate.gone.update(told["gone"])
        fate.here.update(told["here"])
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))

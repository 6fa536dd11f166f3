"""Clients that ask at a steady pace, whatever becomes of the answers: as users do.

python -m tests.support.steady_load PORT PER_SECOND METHODS CALM_S

METHODS: GET,PUT. They ask until stdin ends; then it prints what became of them. A request's time counts from the moment at which it
was due; of those in the first CALM_S seconds, before anything happens, the median is told, which the others are held against. Each asks
for something of its own, and only that is an answer. Kept connections are used again, and given up where an answer says so.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import uvloop

ROOT = Path(__file__).parents[2]
GIVE_UP_S = 20.0
LENGTH = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)
CLOSE = re.compile(rb"^connection: *close", re.IGNORECASE | re.MULTILINE)
RETRY_AFTER = re.compile(rb"^retry-after: *\d+", re.IGNORECASE | re.MULTILINE)


@dataclass
class Asked:
    """One request: what it must be answered with, and when it was due."""

    token: bytes
    method: str
    due_s: float

    def wire(self) -> bytes:
        body = self.token if self.method == "PUT" else b""
        length = b"Content-Length: %d\r\n" % len(body) if body else b""
        return b"%b /api/orders/%b HTTP/1.1\r\nHost: gateway.example\r\n%b\r\n%b" % (self.method.encode(), self.token, length, body)


@dataclass
class Load:
    """All clients together."""

    port: int
    idle: list[Client] = field(default_factory=list)
    busy: set[Client] = field(default_factory=set)
    told: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    calm: list[float] = field(default_factory=list)
    """Of those that were due before `calm_until_s`."""
    calm_until_s: float = 0.0
    open: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def ask(self, asked: Asked) -> None:
        """Over the connection that was idle for the shortest time, or a new one."""
        self.open += 1
        while self.idle:
            client = self.idle.pop()
            if not client.transport.is_closing():
                client.ask(asked)
                return
        task = asyncio.get_running_loop().create_task(self._ask_anew(asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask_anew(self, asked: Asked) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: Client(self, asked), "127.0.0.1", self.port)
        except OSError as error:
            self.tell(asked, f"connecting: {error.strerror or error}")

    def tell(self, asked: Asked, what: str) -> None:
        self.open -= 1
        self.told[what] += 1
        (self.calm if asked.due_s < self.calm_until_s else self.seconds).append(time.monotonic() - asked.due_s)

    def report(self, asked: int) -> dict[str, Any]:
        calm, later = sorted(self.calm), sorted(self.seconds) or [0.0]
        return {
            "asked": asked, "told": self.told, "p99_s": later[len(later) * 99 // 100], "calm_s": calm[len(calm) // 2] if calm else 0.0,
        }  # fmt: skip


class Client(asyncio.Protocol):
    """One connection, one request at a time."""

    transport: asyncio.Transport

    def __init__(self, load: Load, first: Asked) -> None:
        self.load = load
        self.first = first
        self.asked: Asked | None = None
        self.received = b""
        self.served = 0
        self.late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # TCP transports are asyncio.Transport
        self.ask(self.first)  # now: whoever is not let in is told so at once

    def ask(self, asked: Asked) -> None:
        self.asked = asked
        self.load.busy.add(self)
        self.late = asyncio.get_running_loop().call_later(GIVE_UP_S, self.give_up)
        self.transport.write(asked.wire())

    def give_up(self) -> None:
        self.end(f"no answer within {GIVE_UP_S:g} s")
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, ended, body = self.received.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if self.asked is None or (ended and length is None):
            self.end(f"not asked for: {self.received[:60]!r}")
            self.transport.abort()
        elif ended and length is not None and len(body) >= int(length[1]):
            self.received = b""
            self.served += 1
            self.end(verdict(head, body, self.asked.token))
            if CLOSE.search(head):
                self.transport.close()
            else:
                self.load.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.end("not accepted" if not self.served else "reset" if exc is not None else "closed without an answer")
        if self in self.load.idle:
            self.load.idle.remove(self)

    def end(self, what: str) -> None:
        asked, self.asked = self.asked, None
        self.load.busy.discard(self)
        if self.late is not None:
            self.late.cancel()
        if asked is not None:
            self.load.tell(asked, what)


def verdict(head: bytes, body: bytes, token: bytes) -> str:
    """``ok``; ``turned away`` for the gateway's own "too much to do" that says when to come back; or what else it was."""
    status = int(head[9:12])
    if status == 200:
        return "ok" if body == token else f"another's answer: {body[:40]!r}"
    slug = json.loads(body)["type"].rpartition(":")[2] if b"application/problem+json" in head else "of the service"
    return "turned away" if slug == "overloaded" and RETRY_AFTER.search(head) else f"{status} {slug}"


async def run(port: int, per_second: float, methods: list[str], calm_s: float) -> None:
    load, loop = Load(port, calm_until_s=time.monotonic() + calm_s), asyncio.get_running_loop()
    stopped = loop.run_in_executor(None, sys.stdin.read)
    print("{}", flush=True)
    asked = await pace(load, per_second, methods, stopped)
    print(json.dumps(load.report(asked)), flush=True)


async def pace(load: Load, per_second: float, methods: list[str], stopped: asyncio.Future[Any]) -> int:
    """Ask until `stopped` is done, wait for the last answers, and return how many requests there were."""
    began_s, asked = time.monotonic(), 0
    while not stopped.done():
        due_s = began_s + asked / per_second
        if (left_s := due_s - time.monotonic()) > 0:
            await asyncio.sleep(left_s)
        load.ask(Asked(b"%d" % asked, methods[asked % len(methods)], due_s))
        asked += 1
    while load.open:  # noqa: ASYNC110 each has a time limit of its own
        await asyncio.sleep(0.02)
    return asked


@dataclass(frozen=True)
class Told:
    """What became of the requests of one `SteadyLoad`."""

    asked: int
    failed: dict[str, int]
    """What the answers were that were none, and how often each."""
    turned_away: int
    """Those that got the gateway's own 503, which says when to come back."""
    not_accepted: int
    """Those on a new connection that was ended before anything was said."""
    p99_s: float
    """Of those after the calm."""
    calm_s: float = 0.0
    """The median of those in it; 0.0 if there was none."""


class SteadyLoad:
    """Such clients as a process of their own, from the start of the ``with`` to `stop`. `calm_s`: how long nothing happens at first."""

    def __init__(self, port: int, *, per_second: float, methods: str = "GET,GET,GET,PUT", calm_s: float = 0.0) -> None:
        self._arguments = ["tests.support.steady_load", str(port), str(per_second), methods, str(calm_s)]

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", *self._arguments]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return self

    def stop(self) -> Told:
        """Ask nothing more, wait for the last answers, and tell."""
        output, _ = self._process.communicate(timeout=GIVE_UP_S + 10)
        told = json.loads(output)
        outcomes = Counter(told["told"])
        turned_away = outcomes.pop("turned away", 0)
        not_accepted = outcomes.pop("not accepted", 0)
        fine = outcomes.pop("ok", 0)
        assert fine + turned_away + not_accepted + outcomes.total() == told["asked"]
        return Told(told["asked"], dict(outcomes), turned_away, not_accepted, told["p99_s"], told["calm_s"])

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


if __name__ == "__main__":
    uvloop.run(run(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3].split(","), float(sys.argv[4])))

"""Clients of every kind, who ask for a long time, as a process of their own.

python -m tests.soak.clients PORT PER_SECOND SECRET FIRST    # until stdin ends; then it prints what they were told

FIRST: so many tokens, and a tenth of forged ones, are shown before all else: the gateway remembers them, and is to have its fill.

Each request asks for something of its own, and only that is an answer. Counted is every request whose head has gone out whole:
the gateway, which nothing happens to, must have counted the same ones.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import jwt
import uvloop

from tests.soak.endings import may_be
from tests.soak.http_client import Answer, Broken, HttpClient, request

LARGE = bytes(range(256)) * 4096
"""1 MiB."""

WHOLE_WITHIN_S = 30.0
SUBJECTS = 100
RENEWED_AFTER_S = 60.0
AT_ONCE = 20
OTHER_SECRET = "another secret of thirty-two bytes or more"
CALLERS = 200
TOLD_OF = 10_000
"""So many requests that are lost are told one by one."""


@dataclass
class Clients:
    """All of them together. `asked`: whole requests, by kind; `told`: how they ended, ``read 200`` or ``large cut``.

    `lost`: of each that may not end so: when (seconds since 1970), its kind, its path where it is known, and how it ended.
    """

    port: int
    secret: str
    asked: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    lost: list[dict[str, object]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    http: HttpClient = field(init=False)
    number: int = 0
    tokens: dict[tuple[str, int], tuple[float, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.http = HttpClient(self.port)

    def token(self) -> str:
        """Of the path: something that nobody else asks for."""
        self.number += 1
        return f"{self.number}-{os.getpid()}"

    def tell(self, kind: str, ending: str, path: str = "") -> None:
        """A request has ended."""
        self.told[f"{kind} {ending}"] += 1
        if not may_be(kind, ending) and len(self.lost) < TOLD_OF:
            self.lost.append({"at": time.time(), "kind": kind, "path": path, "ending": ending})
            print(f"{time.strftime('%H:%M:%S')} lost: {kind} {path} {ending}", file=sys.stderr, flush=True)

    async def ask(self, kind: str, wire: bytes, expected: bytes | None = None) -> None:
        """One request over a kept connection."""
        self.asked[kind] += 1
        path = wire.split(b" ", 2)[1].decode()
        try:
            answer = await self.http.ask(wire)
        except Broken as broken:
            self.tell(kind, f"{broken}", path)
        else:
            self.tell(kind, verdict(answer, expected), path)

    # -- quick ones ----------------------------------------------------------------------------

    async def read(self, kind: str, service: str) -> None:
        began_s, token = time.monotonic(), self.token()
        await self.ask(kind, request("GET", f"/api/{service}/{token}"), token.encode())
        self.seconds.append(time.monotonic() - began_s)

    async def write(self, kind: str, service: str) -> None:
        token = self.token()
        await self.ask(kind, request("PUT", f"/api/{service}/{token}", body=b"x" * 200), token.encode())

    async def signed(self, kind: str, secret: str, subjects: int = SUBJECTS) -> None:
        token = self.token()
        authorization = f"Authorization: Bearer {self.bearer(secret, self.number % subjects)}"
        await self.ask(kind, request("GET", f"/private/{token}", authorization), token.encode())

    def bearer(self, secret: str, subject: int) -> str:
        """The subject's token, or a new one if that is old."""
        made_s, kept = self.tokens.get((secret, subject), (0.0, ""))
        if time.time() < made_s + RENEWED_AFTER_S:
            return kept
        claims = {"sub": f"subject-{subject}", "iat": time.time(), "exp": int(time.time() + 2 * RENEWED_AFTER_S)}
        signed = jwt.encode(claims, secret, algorithm="HS256")
        self.tokens[secret, subject] = time.time(), signed
        return signed

    async def fill(self, count: int) -> None:
        """Show so many tokens once."""
        for _ in range(0, count, AT_ONCE):
            forged = [self.signed("forged", OTHER_SECRET, count) for _ in range(AT_ONCE // 10)]
            await asyncio.gather(*forged, *(self.signed("signed", self.secret, count) for _ in range(AT_ONCE)))

    async def limited(self, kind: str) -> None:
        token = self.token()
        await self.ask(kind, request("GET", f"/limited/{token}", f"X-Caller: {self.number % CALLERS}"), token.encode())

    async def burst(self, kind: str) -> None:
        await asyncio.gather(*(self.read(kind, "letters") for _ in range(15)))

    # -- large and long ones -------------------------------------------------------------------

    async def large(self, kind: str, service: str) -> None:
        await self.ask(kind, request("POST", f"/api/{service}/mirror", body=LARGE), LARGE)

    async def chunked(self, kind: str) -> None:
        pieces = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [LARGE[:9999]] * 10)
        head = request("POST", "/api/orders/mirror", "Transfer-Encoding: chunked")
        await self.ask(kind, head + pieces + b"0\r\n\r\n", LARGE[:9999] * 10)

    async def long(self, kind: str, path: str) -> None:
        """A stream, or events."""
        await self.ask(kind, request("GET", path))

    async def pipelined(self, kind: str) -> None:
        tokens = [self.token() for _ in range(5)]
        self.asked[kind] += len(tokens)
        async with self.http.connected() as connection:
            await connection.send(b"".join(request("GET", f"/api/orders/{token}") for token in tokens))
            for token in tokens:
                self.tell(kind, verdict(await connection.answer(), token.encode()), f"/api/orders/{token}")

    async def websocket(self, kind: str) -> None:
        self.asked[kind] += 1
        fields = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        async with self.http.connected() as connection:
            await connection.send(request("GET", "/api/orders/socket", *fields))
            status = await connection.head()
            echoed = status == 101
            for number in range(10 if echoed else 0):
                await connection.send(b"\x82\x03%03d" % number)
                echoed = echoed and await connection.exactly(5) == b"\x82\x03%03d" % number
                await asyncio.sleep(0.05)
            self.tell(kind, f"{status}" if echoed or status != 101 else "another echo")

    # -- those that no server likes ------------------------------------------------------------

    async def slow_head(self, kind: str) -> None:
        token = self.token()
        wire = request("GET", f"/api/orders/{token}")
        async with self.http.connected() as connection:
            for begin in range(0, len(wire), 8):
                await connection.send(wire[begin : begin + 8])
                await asyncio.sleep(0.2)
            self.asked[kind] += 1
            self.tell(kind, verdict(await connection.answer(), token.encode()), f"/api/orders/{token}")

    async def slow_reader(self, kind: str) -> None:
        self.asked[kind] += 1
        async with self.http.connected() as connection:
            await connection.send(request("GET", f"/api/orders/bytes/{len(LARGE)}"))
            self.tell(kind, verdict(await connection.answer(pause_s=0.05), bytes(len(LARGE))))

    async def leaver(self, kind: str) -> None:
        """Asks, and is gone before there can be an answer."""
        self.asked[kind] += 1
        async with self.http.connected() as connection:
            await connection.send(request("GET", f"/api/orders/{self.token()}"))
        self.tell(kind, "gone")

    async def quitter(self, kind: str) -> None:
        """Has enough after the first piece of a stream."""
        self.asked[kind] += 1
        async with self.http.connected() as connection:
            await connection.send(request("GET", "/api/orders/pieces/40"))
            await connection.head()
            connection.abort()
        self.tell(kind, "gone")

    async def unfinished(self, kind: str) -> None:
        """Half a head: no request."""
        async with self.http.connected() as connection:
            await connection.send(b"GET /api/orders/half HTTP/1.1\r\nHost: gate")
            await asyncio.sleep(0.5)
        self.tell(kind, "gone")

    # -- all of them ---------------------------------------------------------------------------

    def menu(self) -> list[tuple[float, str, Callable[[str], Awaitable[None]]]]:
        """The part of each kind, its name, and what it does."""
        return [
            (38, "read", lambda kind: self.read(kind, "orders")),
            (14, "read over httpx", lambda kind: self.read(kind, "parcels")),
            (8, "write", lambda kind: self.write(kind, "orders")),
            (4, "write over httpx", lambda kind: self.write(kind, "parcels")),
            (10, "signed", lambda kind: self.signed(kind, self.secret)),
            (2, "forged", lambda kind: self.signed(kind, OTHER_SECRET)),
            (8, "limited", self.limited),
            (2, "unknown", lambda kind: self.read(kind, "nobody")),
            (1, "burst", self.burst),
            (1, "large", lambda kind: self.large(kind, "orders")),
            (0.5, "large over httpx", lambda kind: self.large(kind, "parcels")),
            (1, "chunked", self.chunked),
            (1, "pipelined", self.pipelined),
            (1, "stream", lambda kind: self.long(kind, "/api/orders/pieces/20")),
            (1, "stream over httpx", lambda kind: self.long(kind, "/api/parcels/pieces/20")),
            (1, "events", lambda kind: self.long(kind, "/api/orders/events/20")),
            (1, "websocket", self.websocket),
            (0.5, "slow head", self.slow_head),
            (0.5, "slow reader", self.slow_reader),
            (2, "leaver", self.leaver),
            (2, "quitter", self.quitter),
            (1, "unfinished", self.unfinished),
        ]


def verdict(answer: Answer, expected: bytes | None) -> str:
    """The status, or that a good one brought the wrong body."""
    wrong = answer.status == 200 and expected is not None and answer.body != expected
    return "another's answer" if wrong else f"{answer.status}"


async def one(clients: Clients, kind: str, act: Callable[[str], Awaitable[None]]) -> None:
    try:
        await asyncio.wait_for(act(kind), WHOLE_WITHIN_S)
    except TimeoutError:
        clients.tell(kind, f"nothing within {WHOLE_WITHIN_S:g} s")
    except (Broken, OSError) as error:
        clients.tell(kind, f"{error}")


def timetable(clients: Clients) -> list[tuple[str, Callable[[str], Awaitable[None]]]]:
    """Every kind as often as its part, in halves, spread evenly."""
    places = [((turn + 0.5) / (2 * part), kind, act) for part, kind, act in clients.menu() for turn in range(round(2 * part))]
    return [(kind, act) for _, kind, act in sorted(places, key=lambda place: place[:2])]


async def run(port: int, per_second: float, secret: str, first: int) -> None:
    clients, loop, running = Clients(port, secret), asyncio.get_running_loop(), set[asyncio.Task[None]]()
    stopped = loop.run_in_executor(None, sys.stdin.read)
    print("{}", flush=True)
    await clients.fill(first)
    turns, began_s, made = timetable(clients), time.monotonic(), 0
    while not stopped.done():
        kind, act = turns[made % len(turns)]
        made += 1
        task = loop.create_task(one(clients, kind, act))
        running.add(task)
        task.add_done_callback(running.discard)
        await asyncio.sleep(max(0.0, began_s + made / per_second - time.monotonic()))
    while running:  # noqa: ASYNC110 each has a time limit of its own
        await asyncio.sleep(0.02)
    clients.http.close()
    seconds = sorted(clients.seconds) or [0.0]
    p99_s = seconds[len(seconds) * 99 // 100]
    print(json.dumps({"asked": clients.asked, "told": clients.told, "p99_s": p99_s, "lost": clients.lost}), flush=True)


if __name__ == "__main__":
    uvloop.run(run(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], int(sys.argv[4])))

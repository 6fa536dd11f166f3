"""Load over kept connections: wrk, or a small generator of our own where there is no wrk.

As a program it is that generator: ``python benchmarks/load.py PORT CONNECTIONS SECONDS`` prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Protocol, cast

import uvloop
from proxies import OTHER_CORE, pinned

HOST, PATH = "127.0.0.1", "/api/bench/items?page=2"
HEADERS = {"Accept": "application/json", "User-Agent": "benchmark"}
UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@dataclass(frozen=True)
class Done:
    """What one shot has achieved; `failed` counts other statuses than 200 and broken connections."""

    requests: int
    failed: int
    seconds: float
    p99_ms: float


class Load(Protocol):
    name: str

    def run(self, port: int, seconds: int) -> Done: ...


def find_load(connections: int) -> Load:
    """What this machine has; the better one first."""
    return Wrk(connections) if shutil.which("wrk") else OwnLoad(connections)


@dataclass
class Wrk:
    connections: int
    name: str = "wrk"

    def run(self, port: int, seconds: int) -> Done:
        headers = [part for name, value in HEADERS.items() for part in ("-H", f"{name}: {value}")]
        command = ["wrk", "-t1", f"-c{self.connections}", f"-d{seconds}s", "--latency", *headers, f"http://{HOST}:{port}{PATH}"]
        text = subprocess.run(pinned(OTHER_CORE, command), capture_output=True, text=True, check=True).stdout
        done = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)\b", text)
        p99 = re.search(r"99%\s+([\d.]+)(us|ms|s|m)\b", text)
        assert done, text
        refused = sum(int(number) for number in re.findall(r"Non-2xx or 3xx responses: (\d+)", text))
        broken = sum(int(number) for number in re.findall(r"(?:connect|read|write|timeout) (\d+)", text))
        p99_ms = float(p99[1]) * UNITS_MS[p99[2]] if p99 else float("nan")
        return Done(int(done[1]), refused + broken, float(done[2]) * UNITS_MS[done[3]] / 1000, p99_ms)


@dataclass
class OwnLoad:
    connections: int
    name: str = "load.py (wrk is not installed)"

    def run(self, port: int, seconds: int) -> Done:
        command = [sys.executable, __file__, str(port), str(self.connections), str(seconds)]
        text = subprocess.run(pinned(OTHER_CORE, command), capture_output=True, text=True, check=True).stdout
        return Done(**json.loads(text))


class Client(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, request: bytes, tally: Tally) -> None:
        self.request = request
        self.tally = tally
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self.send()

    def send(self) -> None:
        self.sent_at_s = time.monotonic()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        if length is None:
            self.tally.failed += 1
            self.transport.abort()
        elif len(body) >= int(length[1]):
            self.buffer = b""
            self.tally.latencies_s.append(time.monotonic() - self.sent_at_s)
            self.tally.failed += not head.startswith(b"HTTP/1.1 200")
            if self.tally.going_on:
                self.send()
            else:
                self.transport.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        if self.tally.going_on:
            self.tally.failed += 1


class Tally:
    """What all connections together have seen."""

    def __init__(self) -> None:
        self.latencies_s: list[float] = []
        self.failed = 0
        self.going_on = True


async def generate(port: int, connections: int, seconds: float) -> Done:
    lines = [f"GET {PATH} HTTP/1.1", f"Host: {HOST}:{port}", *(f"{name}: {value}" for name, value in HEADERS.items())]
    request = "\r\n".join(lines).encode() + b"\r\n\r\n"
    tally = Tally()
    loop = asyncio.get_running_loop()
    start_s = time.monotonic()
    for _ in range(connections):
        await loop.create_connection(lambda: Client(request, tally), HOST, port)
    await asyncio.sleep(seconds)
    tally.going_on = False
    elapsed_s = time.monotonic() - start_s
    latencies_s = sorted(tally.latencies_s) or [float("nan")]
    return Done(len(tally.latencies_s), tally.failed, elapsed_s, latencies_s[len(latencies_s) * 99 // 100] * 1000)


if __name__ == "__main__":
    print(json.dumps(vars(uvloop.run(generate(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))))

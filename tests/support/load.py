"""Load, as processes of their own so that they and the gateway have a core each.

python -m tests.support.load serve                            # an instance; prints its port
python -m tests.support.load ask PORT CONNECTIONS REQUESTS    # prints {"ok": …, "failed": …, "seconds": …}
python -m tests.support.load hold PORT CONNECTIONS            # one request each, then idle until its stdin ends
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop

BODY = b'{"hello": "world"}' * 4
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
REQUEST = b"GET /api/orders/items HTTP/1.1\r\nHost: gateway.example\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n"
ROOT = Path(__file__).parents[2]


class Instance(asyncio.Protocol):
    """Answers every head with `answer`; bodies are none of its business."""

    transport: asyncio.Transport
    rest = b""

    def __init__(self, answer: bytes = ANSWER) -> None:
        self.answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # TCP transports are asyncio.Transport

    def data_received(self, data: bytes) -> None:
        *heads, self.rest = (self.rest + data).split(b"\r\n\r\n")
        self.transport.write(self.answer * len(heads))


class Client(asyncio.Protocol):
    """One keep-alive connection that asks until `left` is used up; anything but a whole 200 is a failure."""

    transport: asyncio.Transport

    def __init__(self, left: list[int], told: Counter[str], done: asyncio.Future[None]) -> None:
        self.left, self.told, self.done = left, told, done
        self.received = b""
        self.asking = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # as above
        self.ask()

    def ask(self) -> None:
        if self.left[0] <= 0:
            if not self.done.done():
                self.done.set_result(None)
            return
        self.left[0] -= 1
        self.asking = True
        self.transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end or len(body) < len(BODY):
            return
        fine = head.startswith(b"HTTP/1.1 200 ") and body == BODY
        self.told["ok" if fine else head[:60].decode("latin-1")] += 1
        self.received = b""
        self.asking = False
        self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.asking:
            self.told[f"lost: {exc!r}"] += 1
        if not self.done.done():
            self.done.set_result(None)


async def connect(port: int, number: int, left: list[int], told: Counter[str]) -> Client:
    loop = asyncio.get_running_loop()
    # More source addresses, for the ports of one may run out.
    source = (f"127.0.0.{2 + number % 8}", 0)
    _, client = await loop.create_connection(lambda: Client(left, told, loop.create_future()), "127.0.0.1", port, local_addr=source)
    return client


async def serve(port: int = 0, status: int = 200) -> None:
    answer = ANSWER.replace(b"200 OK", b"%d As told" % status)
    server = await asyncio.get_running_loop().create_server(lambda: Instance(answer), "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await until_stdin_ends()


async def ask(port: int, connections: int, requests: int) -> None:
    left, told, began_s = [requests], Counter[str](), time.monotonic()
    clients = [await connect(port, number, left, told) for number in range(connections)]
    await asyncio.gather(*(client.done for client in clients))
    ok = told.pop("ok", 0)
    print(json.dumps({"ok": ok, "failed": dict(told), "seconds": round(time.monotonic() - began_s, 2)}), flush=True)


async def hold(port: int, connections: int) -> None:
    told = Counter[str]()
    clients = [await connect(port, number, [1], told) for number in range(connections)]
    await asyncio.gather(*(client.done for client in clients))
    print(json.dumps({"ok": told.pop("ok", 0), "failed": dict(told)}), flush=True)
    await until_stdin_ends()


async def until_stdin_ends() -> None:
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


@contextlib.contextmanager
def running(*arguments: Any) -> Iterator[Any]:
    """Run one of the above; gives the JSON that it prints first. It ends with the block."""
    command = [sys.executable, "-m", "tests.support.load", *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()


def main(command: str, *numbers: str) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run({"serve": serve, "ask": ask, "hold": hold}[command](*map(int, numbers)))


if __name__ == "__main__":
    main(*sys.argv[1:])

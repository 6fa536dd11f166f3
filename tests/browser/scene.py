"""A gateway with something to look at: services under traffic, some of them in trouble. For the pictures of the docs."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support.gateway_process import GatewayProcess

TOKEN = "let-me-see-the-page"
BODY = b'{"ok": true}'


@dataclass
class Behaviour:
    """How one instance answers: `latency_s` on average, `failures` of all with 500."""

    latency_s: float
    failures: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    """What the registry says beside its address."""


def instance(latency_ms: float, failures: float = 0.0, **facts: Any) -> Behaviour:
    return Behaviour(latency_ms / 1000, failures, facts)


SERVICES: dict[str, tuple[float, list[Behaviour]]] = {
    "auth": (14, [instance(2, zone="a"), instance(2.4, zone="b")]),
    "cart": (9, [instance(6, zone="a"), instance(7, zone="b"), instance(6, zone="c", weight=3)]),
    "catalog": (22, [instance(4 + n % 3, zone="abc"[n % 3]) for n in range(6)]),
    "orders": (16, [instance(9, zone="abc"[n % 3], meta={"version": "42"}) for n in range(4)]),
    "payments": (8, [instance(18, 0.08, zone="a"), instance(16, 0.1, zone="b"), instance(60, 1, zone="c"), instance(45, 0.9, zone="b")]),
    "recommendations": (6, [instance(35, zone="a"), instance(30, zone="b")]),
    "reports": (0, []),
    "search": (
        12,
        [
            instance(14, zone="a"),
            instance(15, zone="b"),
            instance(12, state="critical", reason="HTTP GET /healthz: 503 Service Unavailable", zone="c"),
            instance(12, state="draining", reason="disk swap", zone="c"),
        ],
    ),
    "users": (10, [instance(3, zone="a"), instance(3, zone="b"), instance(4, zone="c")]),
}
"""Name -> requests per second, instances."""


@contextlib.contextmanager
def scene(folder: Path) -> Iterator[GatewayProcess]:
    """The gateway, its services and its clients; they run until the end of the ``with``."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="scene", daemon=True)
    thread.start()
    stop = asyncio.Event()
    servers: list[asyncio.Server] = []
    listed: dict[str, Any] = asyncio.run_coroutine_threadsafe(_serve_all(servers), loop).result(10)
    file = folder / "instances.yaml"
    file.write_text(yaml.safe_dump(listed))
    config = {
        "discovery": {"provider": "file", "file": {"path": str(file)}},
        "auth": {"default": "none", "jwt": {"algorithms": ["HS256"], "secret": "a-secret-of-the-pictures-32-bytes"}},
        "rate_limit": {"default": {"requests": 1000, "per": "1s", "burst": 2000, "key": "client"}},
        "admin": {"token": TOKEN, "allow_loopback": False},
        "logging": {"access_log": False},
        "services": {
            "payments": {"breaker": {"min_requests": 100000}, "retry": {"attempts": 1}, "balancer": "round_robin"},
            "search": {"hedge": {"after": "p95"}},
        },
        "routes": [
            {"prefix": "/api/{service}", "strip_prefix": True},
            {
                "host": "shop.example", "prefix": "/v1/orders", "methods": ["GET", "POST"], "service": "orders", "strip_prefix": True,
                "auth": "required", "scopes": ["orders:write"], "rate_limit": {"requests": 20, "per": "1s", "key": "subject"},
                "cors": {"allow_origins": ["https://app.example"]},
            },
            {"prefix": "/pay", "service": "payments", "auth": "required", "rate_limit": {"requests": 5, "per": "1m", "key": "subject"}},
            {"prefix": "/old", "redirect": {"to": "/api/catalog", "status": 308}},
        ],
    }  # fmt: skip
    try:
        with GatewayProcess(config) as gateway:
            traffic = [asyncio.run_coroutine_threadsafe(_ask(name, rate, gateway.port, stop), loop) for name, (rate, _) in SERVICES.items()]
            yield gateway
            loop.call_soon_threadsafe(stop.set)
            for each in traffic:
                each.result(10)
    finally:
        asyncio.run_coroutine_threadsafe(_end(servers), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end(servers: list[asyncio.Server]) -> None:
    """Nobody listens or asks any more; connections close with the tasks that hold them."""
    for server in servers:
        server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0.1)  # transports close a turn of the loop later


async def _serve_all(servers: list[asyncio.Server]) -> dict[str, Any]:
    listed: dict[str, Any] = {}
    for name, (_, behaviours) in SERVICES.items():
        listed[name] = []
        for number, behaviour in enumerate(behaviours, 1):
            host = f"127.0.{list(SERVICES).index(name) + 1}.{number}"
            server = await asyncio.start_server(_Instance(behaviour).serve, host, 0)
            servers.append(server)
            port = server.sockets[0].getsockname()[1]
            listed[name].append({"id": f"{name}-{number}", "address": f"{host}:{port}", **behaviour.facts})
    return listed


class _Instance:
    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(self.behaviour.latency_s * random.lognormvariate(0, 0.4))
                status = b"500 Internal Server Error" if random.random() < self.behaviour.failures else b"200 OK"
                writer.write(b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (status, len(BODY), BODY))


async def _ask(name: str, rate: float, port: int, stop: asyncio.Event) -> None:
    """Requests at `rate` per second on average, more and fewer in turn."""
    if rate == 0:
        return
    began_s, shift, tasks, idle = time.monotonic(), random.random() * 6, set(), list[_Connection]()
    while not stop.is_set():
        connection = idle.pop() if idle else _Connection(port, idle)
        swing = 1 + 0.45 * math.sin((time.monotonic() - began_s) / 19 + shift)
        task = asyncio.create_task(connection.get(f"/api/{name}/items"))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await asyncio.sleep(random.expovariate(rate * swing))
    await asyncio.gather(*tasks)
    for connection in idle:
        connection.close()


class _Connection:
    def __init__(self, port: int, idle: list[_Connection]) -> None:
        self.port = port
        self.idle = idle
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> None:
        try:
            await self._exchange(path)
            self.idle.append(self)
        except (OSError, asyncio.IncompleteReadError):
            self.close()

    async def _exchange(self, path: str) -> None:
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.streams
        writer.write(f"GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(length)

    def close(self) -> None:
        if self.streams is not None:
            self.streams[1].close()

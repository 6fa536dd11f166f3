"""What a limit adds to a request while its Redis is in trouble: the same requests, at the same time, to a route with it and to one without.

python -m tests.chaos.added [--seconds 4] [--repeat 5]    # make chaos-limits

Prints a line for each trouble as it ends, and puts it into the table of docs/reliability.md. Both routes lead to one instance through one
gateway, and clients ask them by turns: whatever else this machine has to do makes both slower, and the difference is the limit's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.chaos.limits import PLENTY, await_state
from tests.support.gateway_process import GatewayProcess
from tests.support.instance_process import InstanceProcess
from tests.support.launch import wait_until
from tests.support.redis_server import RedisServer
from tests.support.slow_link import SlowLink

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- made by make chaos-limits -->", "<!-- end of what make chaos-limits has made -->"
COLUMNS = ("the Redis of the limits", "`on_store_failure`", "requests", "failed")
COLUMNS += ("p99 ms with a limit", "p99 ms without", "added by the limit, ms")
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"
LIMITED, FREE = b"/api/orders/x", b"/free/x"
CLIENTS, PAUSE_S = 8, 0.01
SLOW_S = 0.05
SERVICE_S = 0.002
MODES = ("local", "open")


@dataclass
class Pairs:
    """What became of requests that came in pairs: their seconds on either route, and how many were not answered with 200."""

    seconds: dict[bytes, list[float]] = field(default_factory=lambda: {LIMITED: [], FREE: []})
    failed: int = 0

    @property
    def asked(self) -> int:
        return sum(map(len, self.seconds.values()))

    def p99_s(self, path: bytes) -> float:
        told = sorted(self.seconds[path])
        return told[len(told) * 99 // 100]

    def added_s(self) -> float:
        """Below zero where the route without a limit happened to be the slower one."""
        return self.p99_s(LIMITED) - self.p99_s(FREE)

    def join(self, other: Pairs) -> None:
        self.failed += other.failed
        for path, told in other.seconds.items():
            self.seconds[path] += told


class PairedLoad:
    """Clients in a thread of their own that ask both routes by turns, for as long as the ``with`` lasts."""

    def __init__(self, port: int) -> None:
        self.pairs = Pairs()
        self._port = port
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._ask()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(30)

    async def _ask(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(self._client(PAUSE_S * number / CLIENTS))

    async def _client(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        paths = [LIMITED, FREE]
        while not self._stopping.is_set():
            for path in paths:
                await self._request(path, reader, writer)
            paths.reverse()  # the first one after a pause is slower
            await asyncio.sleep(PAUSE_S)
        writer.close()

    async def _request(self, path: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun_s = time.monotonic()
        writer.write(b"GET %b HTTP/1.1\r\nHost: gateway.example\r\n\r\n" % path)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"^content-length: *(\d+)", head, re.IGNORECASE | re.MULTILINE)
        assert length is not None, head
        await reader.readexactly(int(length[1]))
        self.pairs.seconds[path].append(time.monotonic() - begun_s)
        self.pairs.failed += not head.startswith(b"HTTP/1.1 200")


class Scene:
    """A gateway whose Redis is behind a link, and that Redis."""

    def __init__(self, gateway: GatewayProcess, redis: RedisServer, link: SlowLink, seconds: float) -> None:
        self.gateway = gateway
        self.redis = redis
        self.link = link
        self.seconds = seconds

    def last(self) -> None:
        """Let time pass while clients ask."""
        time.sleep(self.seconds)


def well(scene: Scene) -> None:
    scene.last()


def killed(scene: Scene) -> None:
    scene.redis.kill()
    await_state(scene, "down")
    scene.last()


def restarted(scene: Scene) -> None:
    scene.redis.restart()
    scene.last()


def paused(scene: Scene) -> None:
    scene.redis.pause()
    scene.last()


def slowed(scene: Scene) -> None:
    scene.link.delay_s = SLOW_S
    scene.last()


TROUBLES: dict[str, Callable[[Scene], None]] = {
    "is well": well,
    "is killed, and away": killed,
    "is killed, and back at once, empty": restarted,
    "is paused (SIGSTOP)": paused,
    f"answers {SLOW_S * 1000:g} ms late": slowed,
}


class House:
    """An instance, a Redis behind a link, and a gateway for each mode."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._redis = stack.enter_context(RedisServer())
            self._link = stack.enter_context(SlowLink(self._redis.port))
            self._instance = InstanceProcess(SERVICE_S)
            stack.callback(self._instance.kill)
            self._instance.launch()
            self._instance.await_ready()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def play(self, trouble: str, mode: str, seconds: float) -> Pairs:
        """Let it happen while clients ask, for so many seconds; every Redis is well before and after."""
        with GatewayProcess(self._config(mode)) as gateway:
            scene = Scene(gateway, self._redis, self._link, seconds)
            await_state(scene, "up")
            try:
                with PairedLoad(gateway.port) as load:
                    wait_until(lambda: load.pairs.asked > 2 * CLIENTS, 10, gateway.story)
                    TROUBLES[trouble](scene)
            finally:
                self._mend()
            await_state(scene, "up")
            return load.pairs

    def _mend(self) -> None:
        self._link.delay_s = 0.0
        self._redis.restart()

    def _config(self, mode: str) -> dict[str, object]:
        store = f"redis://127.0.0.1:{self._link.port}/0"
        return {
            "auth": {"default": "none"},
            "discovery": {"provider": "static"},
            "logging": {"access_log": False},
            "services": {"orders": {"instances": [f"127.0.0.1:{self._instance.port}"]}},
            "routes": [
                {"prefix": "/api/{service}", "strip_prefix": True},
                {"prefix": "/free", "service": "orders", "rate_limit": None},
            ],
            "rate_limit": {"store": store, "on_store_failure": mode, "default": PLENTY},
        }


def row(trouble: str, mode: str, pairs: Pairs) -> str:
    seconds = (pairs.p99_s(LIMITED), pairs.p99_s(FREE), pairs.added_s())
    cells = (trouble, f"`{mode}`", f"{pairs.asked:,}", str(pairs.failed), *(f"{each * 1000:.1f}" for each in seconds))
    return f"| {' | '.join(cells)} |"


def merged(page: str, rows: list[str]) -> str:
    """`page` with these rows as its table."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + "\n".join([BEGIN, HEAD, *rows, END]) + after


def played(house: House, seconds: float, repeat: int) -> Iterator[tuple[str, str, Pairs]]:
    for trouble in TROUBLES:
        for mode in MODES:
            whole = Pairs()
            for _ in range(repeat):
                whole.join(house.play(trouble, mode, seconds))
            yield trouble, mode, whole


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos-limits")
    parser.add_argument("--repeat", type=int, default=5, help="how often each is played")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each lasts")
    asked = parser.parse_args()
    rows, failed = [], 0
    print(HEAD, flush=True)
    with House() as house:
        for trouble, mode, pairs in played(house, asked.seconds, asked.repeat):
            rows.append(row(trouble, mode, pairs))
            failed += pairs.failed
            print(rows[-1], flush=True)
    PAGE.write_text(merged(PAGE.read_text(), rows))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

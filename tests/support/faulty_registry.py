"""The development registry with a switch for what goes wrong with real ones.

with faulty_registry() as registry:
    with registry.broken(status(500, "No cluster leader")):
        ...
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

from discovery.embedded import EmbeddedRegistry
from discovery.embedded.go_json import parse_duration
from discovery.embedded.http_server import Cut, Request, Response
from tests.support.embedded_registry import RegistryThread

Handler = Callable[[Request], Awaitable[Response]]
Fault = Callable[[Handler, Request], Awaitable[Response]]


class FaultyRegistry(EmbeddedRegistry):
    """Without a fault it is what it was. `broken`, and what is seen of it, may be used from any thread.

    `limit`: so many connections at a time; and, as with Consul, a blocked query whose client has left
    still counts as one until its wait is over. `asked`: every request, the moment it came.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # for life
        self._sound = self._server.handler
        self._server.handler = self._answer
        self._server.welcome = self._welcome
        self.limit: int | None = None
        # what was seen
        self.asked: list[Request] = []
        self.refused = 0
        # while it is broken
        self._fault: Fault | None = None
        self._lingering = 0
        self._mended = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 8500) -> None:
        self._loop = asyncio.get_running_loop()
        await super().start(host, port)

    @contextlib.contextmanager
    def broken(self, fault: Fault) -> Iterator[None]:
        """Let every read go wrong that comes, or ends, within the block; writes go on."""
        self._fault = fault
        self._mended.clear()  # nobody waits for it yet
        try:
            yield
        finally:
            self._fault = None
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._mended.set)

    async def mended(self) -> None:
        """Wait until the block of `broken` is over."""
        await self._mended.wait()

    @property
    def slots(self) -> int:
        """Connections that count: open ones, and those of blocked queries that nobody waits for any more."""
        return len(self._server.connections) + self._lingering

    async def _answer(self, request: Request) -> Response:
        self.asked.append(request)
        query = dict(request.query)
        ends_at_s = asyncio.get_running_loop().time() + (parse_duration(query["wait"]) if "wait" in query else 0.0)
        try:
            if self._fault is not None and request.method == "GET":
                return await self._fault(self._sound, request)
            return await self._sound(request)
        except asyncio.CancelledError:
            self._linger(ends_at_s)
            raise

    def _welcome(self) -> bool:
        if self.limit is None or self.slots < self.limit:
            return True
        self.refused += 1
        return False

    def _linger(self, until_s: float) -> None:
        def end() -> None:
            self._lingering -= 1

        self._lingering += 1
        asyncio.get_running_loop().call_at(until_s, end)


@contextlib.contextmanager
def faulty_registry(**options: Any) -> Iterator[FaultyRegistry]:
    """One in a thread of its own, on a free port, closed at the end."""
    with RegistryThread(FaultyRegistry, **options) as thread:
        assert isinstance(thread.registry, FaultyRegistry)
        yield thread.registry


def delay(seconds: float) -> Fault:
    """Every answer comes, and late."""

    async def fault(sound: Handler, request: Request) -> Response:
        response = await sound(request)
        await asyncio.sleep(seconds)
        return response

    return fault


def status(code: int, text: str = "", **headers: str) -> Fault:
    """Nothing but this answer, with the index that Consul gives to errors. ``Retry_After="1"`` is a header."""
    answer = Response(code, text.encode(), (("X-Consul-Index", "1"), *((name.replace("_", "-"), value) for name, value in headers.items())))

    async def fault(_sound: Handler, _request: Request) -> Response:
        return answer

    return fault


def hang(registry: FaultyRegistry) -> Fault:
    """No answer before the registry is mended, as with a process that is stopped."""

    async def fault(sound: Handler, request: Request) -> Response:
        await registry.mended()
        return await sound(request)

    return fault


def index(change: Callable[[int], str | None]) -> Fault:
    """Right answers with another index; None leaves the header out."""

    async def fault(sound: Handler, request: Request) -> Response:
        response = await sound(request)
        headers = dict(response.headers)
        new = change(int(headers.pop("X-Consul-Index")))
        if new is not None:
            headers["X-Consul-Index"] = new
        return replace(response, headers=tuple(headers.items()))

    return fault


async def reset(_sound: Handler, _request: Request) -> Response:
    """No answer, and the connection is reset."""
    raise Cut


async def empty(sound: Handler, request: Request) -> Response:
    """A good answer in which there is nothing."""
    response = await sound(_plain(request))
    return replace(response, body=b"{}" if response.body.startswith(b"{") else b"[]")


async def truncated(sound: Handler, request: Request) -> Response:
    """Half of the JSON."""
    response = await sound(_plain(request))
    return replace(response, body=response.body[: len(response.body) // 2])


async def truncated_gzip(sound: Handler, request: Request) -> Response:
    """Half of the compressed JSON."""
    response = await sound(_plain(request))
    body = gzip.compress(response.body)
    return replace(response, body=body[: len(body) // 2], headers=(*response.headers, ("Content-Encoding", "gzip")))


async def without_service(sound: Handler, request: Request) -> Response:
    """A further entry of which only the node is left."""
    response = await sound(_plain(request))
    entries = json.loads(response.body)
    if isinstance(entries, list):
        entries.append({"Node": {"Node": "broken", "Address": "127.0.0.1"}, "Service": None, "Checks": None})
    return replace(response, body=json.dumps(entries).encode())


def _plain(request: Request) -> Request:
    """The same for a client that understands no gzip: its body is to be edited."""
    return replace(request, headers=tuple(field for field in request.headers if field[0] != b"accept-encoding"))

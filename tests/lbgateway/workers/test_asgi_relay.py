"""Requests for the gateway's own paths that a worker has got: both halves of the way to the parent and back, over a real socket pair."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from lbgateway.workers import asgi_relay
from lbgateway.workers.asgi_host import PIECE_BYTES, Hosting
from lbgateway.workers.asgi_relay import RelayedApplication, scope_facts, scope_of
from lbgateway.workers.frames import Frame
from lbgateway.workers.link import Link
from tests.support.worker_gateways import until

SCOPE = {
    "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http", "root_path": "",
    "path": "/admin/é", "raw_path": b"/admin/%C3%A9", "query_string": b"a=\xff", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
    "state": {"request_id": "r1"}, "headers": [(b"host", b"x"), (b"x", b"\xe9")],
}  # fmt: skip


def test_a_scope_arrives_as_it_was():
    """Bytes of any kind included."""
    assert scope_of(scope_facts(SCOPE)) == SCOPE


class Client:
    """One request, and what has come of it. With `slow` set nothing is read until it is."""

    def __init__(self, body: bytes = b"") -> None:
        self.request = {"type": "http.request", "body": body, "more_body": False}
        self.status = 0
        self.headers: Any = None
        self.body = b""
        self.reads = asyncio.Event()
        self.reads.set()

    async def receive(self) -> Any:
        return self.request

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], message["headers"]
        else:
            self.body += message["body"]


class Way:
    """A worker's application, the parent's hosting of it, and the link in between."""

    def __init__(self, application: Any) -> None:
        self.frames: list[Frame] = []
        self.parents, self.workers = Link(self.to_parent, self.parent_ends), Link(self.to_worker, self.worker_ends)
        self.hosting = Hosting(self.parents, lambda: application)
        self.relay = RelayedApplication(self.workers)

    def to_parent(self, frame: Frame) -> None:
        assert self.hosting.hear(frame)

    def to_worker(self, frame: Frame) -> None:
        self.frames.append(frame)
        assert self.relay.hear(frame)

    def parent_ends(self) -> None:
        self.hosting.end()

    def worker_ends(self) -> None:
        self.relay.end()

    async def asks(self, client: Client) -> None:
        async with asyncio.timeout(5):
            await self.relay(SCOPE, client.receive, client.send)


@asynccontextmanager
async def way_to(application: Any) -> AsyncIterator[Way]:
    way = Way(application)
    for link, pair in zip((way.parents, way.workers), socket.socketpair(), strict=True):
        await link.over(pair)
    yield way
    way.parents.close()
    way.workers.close()


async def echo(scope: Any, receive: Any, send: Any) -> None:
    request = await receive()
    await send({"type": "http.response.start", "status": 201, "headers": [(b"x-path", scope["raw_path"])]})
    await send({"type": "http.response.body", "body": request["body"]})


async def test_an_answer_comes_back_whole():
    """Status, header fields and body, for many at once, small ones and some that take many frames."""
    async with way_to(echo) as way:
        clients = [Client(bytes([number]) * size) for number, size in enumerate((0, 1, PIECE_BYTES, 5 * PIECE_BYTES + 7))]
        await asyncio.gather(*map(way.asks, clients))
        for client in clients:
            assert (client.status, client.headers) == (201, [(b"x-path", b"/admin/%C3%A9")])
            assert client.body == client.request["body"]
        assert (way.hosting._running, way.hosting._taken, way.relay._asked) == ({}, {}, {})


async def test_a_client_that_reads_slowly_fills_no_memory():
    """Of an answer of a megabyte one piece is under way, until that has been read."""
    async with way_to(echo) as way:
        client = Client(bytes(1 << 20))
        client.reads.clear()
        asking = asyncio.create_task(way.asks(client))
        await asyncio.sleep(0.05)
        assert sum(len(frame.payload) for frame in way.frames) <= PIECE_BYTES
        client.reads.set()
        await asking
        assert len(client.body) == 1 << 20


async def test_who_leaves_ends_what_the_parent_does_for_it():
    """A stream of events whose client has gone."""
    ended = asyncio.Event()

    async def endless(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            await receive()
        finally:
            ended.set()

    async with way_to(endless) as way:
        asking = asyncio.create_task(way.relay(SCOPE, (client := Client()).receive, client.send))
        await until(lambda: client.status)
        asking.cancel()
        await asyncio.wait_for(ended.wait(), 5)


async def test_without_the_parent_a_worker_says_that_it_does_not_know():
    """Whoever has asked before, and whoever asks afterwards."""

    async def silent(_scope: Any, receive: Any, _send: Any) -> None:
        await receive()
        await receive()

    async with way_to(silent) as way:
        client, late = Client(), Client()
        asking = asyncio.create_task(way.asks(client))
        await asyncio.sleep(0.01)
        way.parents.close()
        await asking
        await way.asks(late)
        assert (client.status, late.status) == (503, 503)


async def silent_after_its_head(_scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 201, "headers": []})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    await receive()


async def test_a_parent_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    """A worker says so, or cuts what has begun: a second answer behind it would be none."""

    async def silent(_scope: Any, receive: Any, _send: Any) -> None:
        await receive()
        await receive()

    monkeypatch.setattr(asgi_relay, "SILENT_S", 0.05)
    for application, status in ((silent, 503), (silent_after_its_head, 201)):
        async with way_to(application) as way:
            client = Client()
            await way.asks(client)
            assert (client.status, way.relay._asked) == (status, {})
            await until(lambda way=way: not way.hosting._running)  # type: ignore[misc]  # bound by the default


async def test_what_a_parent_has_begun_is_cut_with_its_end():
    """Its client must see that the answer is not whole."""
    async with way_to(silent_after_its_head) as way:
        client = Client()
        asking = asyncio.create_task(way.asks(client))
        await until(lambda: client.body)
        way.parents.close()
        await asking
        assert (client.status, client.body) == (201, b"begun")


async def test_who_has_left_before_it_has_asked_asks_nobody():
    """There is nothing to answer."""
    async with way_to(echo) as way:
        client = Client()
        client.request = {"type": "http.disconnect"}
        await way.asks(client)
        assert (client.status, way.frames) == (0, [])


async def test_an_application_that_fails_ends_its_answer():
    """Nobody waits for what will not come; the bug is logged."""

    async def broken(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    async with way_to(broken) as way:
        client = Client()
        with capture_logs() as logs:
            await way.asks(client)
        assert client.body == b""
        assert [each["event"] for each in logs] == ["the control plane failed"]

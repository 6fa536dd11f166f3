"""The parent of real workers, in this process: what it starts, tells and counts. All of it: tests/integration/test_e2e_workers*.py."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from lbgateway.doors import Doors
from lbgateway.handover import Successor
from lbgateway.workers import parent as parent_module
from lbgateway.workers.parent import Parent, serve_together
from tests.lbgateway.config.reading import settings_of
from tests.support.worker_gateways import BASE, heard, until
from tests.support.workers import children

TEXT = BASE + "server: {workers: 2, max_connections: 9, drain_timeout: 2s}\nservices: {orders: {instances: ['127.0.0.1:1']}}\n"
TOKEN = "an-admin-token-for-tests"
TEXT += f"admin: {{token: {TOKEN}}}\n"


class Running:
    """A parent whose workers serve."""

    def __init__(self, text: str = TEXT) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        self.address = listener.getsockname()
        self.parent = Parent(settings_of(text), Doors([listener], None, []), asyncio.get_running_loop())

    async def until_started(self) -> None:
        await until(lambda: self.parent.started)

    async def gets(self, path: str) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection(*self.address)
        lines = (f"GET {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {TOKEN}", "Connection: close", "", "")
        writer.write("\r\n".join(lines).encode())
        head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
        writer.close()
        return int(head.split()[1]), body


@asynccontextmanager
async def running(text: str = TEXT) -> AsyncIterator[Running]:
    found = Running(text)
    serving = asyncio.create_task(found.parent.run())
    await found.until_started()
    yield found
    if not found.parent.crew.stopping:
        found.parent.handle_exit(signal.SIGTERM)
    await asyncio.wait_for(serving, 20)
    assert found.parent.crew.members == {}


async def test_requests_are_served_by_workers_and_known_by_the_parent():
    """Its own paths through whichever worker, with numbers that are complete when they are told."""
    async with running() as found:
        for _ in range(6):
            assert (await found.gets("/nowhere"))[0] == 404
        told = json.loads((await found.gets("/admin/upstreams"))[1])
        assert (told["gateway"]["workers"], [each["name"] for each in told["services"]]) == (2, ["orders"])
        assert b'lbgateway_errors_total{reason="no_route"} 6.0' in (await found.gets("/metrics"))[1]
        assert found.parent.gateway.plane.metrics.errors["no_route"] == 6


async def test_what_a_reload_cannot_change_stays_as_it_was_in_later_workers_too():
    """And each has its part of the connections, rounded up."""
    async with running() as found:
        parent = found.parent
        assert parent._worker_settings().server.max_connections == 5
        other = TEXT.replace("max_connections: 9", "max_connections: 20").replace("admin: {", "admin: {listen: '127.0.0.1:1', ")
        parent.gateway.reload(settings_of(other))
        parent.greet(None)
        settings = parent._worker_settings()
        assert (settings.server.max_connections, settings.admin.listen) == (10, None)
        assert (await found.gets("/nowhere"))[0] == 404


async def test_what_nobody_understands_is_said():
    """And nothing else happens."""
    async with running() as found:
        [member, _] = found.parent.crew.members.values()
        with capture_logs() as logs:
            found.parent._on_frame(member, heard("riddle", b"", {}))
        assert [each["kind"] for each in logs] == ["riddle"]


async def test_a_successor_lets_all_workers_finish_and_leave():
    """Whatever comes next is the successor's; being told twice is once."""
    async with running() as found:
        with capture_logs() as logs:
            found.parent.retire(Successor(1, None))
            found.parent.retire(Successor(1, None))
        assert sum("handed over" in each["event"] for each in logs) == 1
        assert (found.parent.sockets, found.parent.gateway.plane.draining) == ([], True)


async def test_workers_that_do_not_serve_in_time_are_named(monkeypatch: pytest.MonkeyPatch):
    """The gateway is opened all the same: those that do serve are better than none."""
    monkeypatch.setattr(parent_module, "SERVING_WITHIN_S", 0.0)
    with capture_logs() as logs:
        async with running() as found:
            assert (await found.gets("/nowhere"))[0] == 404
    assert "not all workers serve yet" in [each["event"] for each in logs]


async def test_a_signal_stops_it():
    """As `lbgateway run` is stopped: it returns when the last worker has left."""
    with capture_logs() as logs:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        serving = asyncio.create_task(serve_together(settings_of(TEXT), Doors([listener], None, [])))
        await until(lambda: any(each["event"] == "listening" for each in logs))
        there = children(os.getpid())
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(serving, 20)
    assert len(there) >= 2
    assert logs[-1]["event"] == "stopped"

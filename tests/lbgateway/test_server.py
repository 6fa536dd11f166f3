"""Sockets, signals and reload: the parts of the server that need no server."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import Any

import pytest
from structlog.testing import capture_logs

from lbgateway.config import ConfigErrors, Settings, load_text
from lbgateway.handover import Successor
from lbgateway.listeners import accept_waiting, bind
from lbgateway.runtime import Gateway
from lbgateway.server import (
    GatewayServer,
    cut_what_is_left,
    reload_settings,
    signals,
    uvicorn_config,
)

BASE = "auth: {default: none}\ndiscovery: {provider: static}\nlogging: {access_log: false}\n"
FEW = "server: {max_connections: 10}\n"


def settings_of(text: str = "") -> Settings:
    return load_text(BASE + text, "gateway.yaml", {})


async def gateway_of(text: str = "") -> Gateway:
    return Gateway(settings_of(text), asyncio.get_running_loop())


async def server_of(text: str = "") -> GatewayServer:
    gateway = await gateway_of(text)
    return GatewayServer(uvicorn_config(gateway, gateway.settings), gateway, [])


async def test_a_good_file_is_taken_over():
    """With its warnings in the log."""
    server = await server_of()
    gateway = server.gateway
    with capture_logs() as logs:
        reload_settings(server, lambda: settings_of(FEW + "services: {orders: {instances: ['127.0.0.1:9001']}}\n"))
    assert list(gateway.plane.upstreams) == ["orders"]
    assert [event["event"] for event in logs] == ["reloaded"]
    [told] = [event for event in gateway.plane.events.since(0).events if event.kind == "reload"]
    assert told.facts == {"ok": True, "errors": [], "source": "file", "changes": ["server changed", "service orders changed: instances"]}


async def test_a_bad_file_is_refused_with_all_its_errors():
    """The old configuration stays, and so does the gateway."""
    server = await server_of("services: {orders: {}}\n")
    gateway = server.gateway
    before = gateway.settings
    with capture_logs() as logs:
        reload_settings(server, lambda: settings_of("servces: {}\nserver: {port: no}\n"))
    [event] = logs
    assert (event["event"], event["log_level"]) == ("reload refused, the old configuration stays", "error")
    assert [error.split(": ")[0] for error in event["errors"]] == ["gateway.yaml:4", "gateway.yaml:5"]
    assert gateway.settings is before
    [told] = gateway.plane.events.since(0).events
    assert (told.kind, told.facts["ok"], told.facts["source"], len(told.facts["errors"])) == ("reload", False, "file", 2)


async def test_a_bug_in_a_reload_leaves_everything_as_it_was():
    """It is logged whole, and does not fall into the event loop."""
    server = await server_of()

    def broken() -> Settings:
        raise RuntimeError("a bug")

    with capture_logs() as logs:
        reload_settings(server, broken)
    assert [(event["event"], event["log_level"]) for event in logs] == [("reload failed, the old configuration stays", "error")]


async def test_signals_are_the_loops_for_as_long_as_it_lasts():
    """Inside the handler is called, afterwards the old ways are back."""
    heard = asyncio.Event()
    with signals(asyncio.get_running_loop(), {signal.SIGUSR1: heard.set}):
        os.kill(os.getpid(), signal.SIGUSR1)
        async with asyncio.timeout(5):
            await heard.wait()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


async def test_the_first_signal_drains_and_is_told():
    """Once, however often it comes."""
    gateway = await gateway_of("server: {drain_timeout: 7s}\n")
    config = uvicorn_config(gateway, gateway.settings)
    server = GatewayServer(config, gateway, [])
    with capture_logs() as logs:
        server.handle_exit(signal.SIGTERM, None)
        server.handle_exit(signal.SIGTERM, None)
    assert (server.should_exit, gateway.plane.draining, config.timeout_graceful_shutdown) == (True, True, 7)
    [event] = logs
    assert (event["signal"], event["requests_active"], event["drain_timeout_seconds"]) == ("SIGTERM", 0, 7.0)


class Announced(Gateway):
    """A gateway that a registry knows."""

    def leave(self) -> float:
        super().leave()
        return 0.05


async def test_who_is_registered_leaves_the_registry_before_the_port_is_closed():
    """Not ready any more, but still open; a second signal waits for nothing."""
    for signals_sent in (1, 2):
        gateway = Announced(settings_of(), asyncio.get_running_loop())
        server = GatewayServer(uvicorn_config(gateway, gateway.settings), gateway, [])
        server.started = True
        server.servers = []
        with capture_logs() as logs:
            server.handle_exit(signal.SIGTERM, None)
            assert (gateway.view.draining(), gateway.plane.draining, server.should_exit) == (True, False, False)
            for _ in range(signals_sent - 1):
                server.handle_exit(signal.SIGTERM, None)
                assert server.should_exit
            await asyncio.sleep(0.1)
        assert (gateway.plane.draining, server.should_exit) == (True, True)
        assert [event["event"].split()[0] for event in logs] == ["leaving:", "stopping:"]


async def test_a_successor_ends_this_server_without_touching_who_waits_at_the_door():
    """Once; a signal to leave that came before, and one that comes after, change nothing."""
    gateway = Announced(settings_of("server: {drain_timeout: 8s}\n"), asyncio.get_running_loop())
    door = bind("127.0.0.1", 0)
    server = GatewayServer(uvicorn_config(gateway, gateway.settings), gateway, [door])
    server.started = True
    with door.dup() as theirs, socket.create_connection(door.getsockname()), capture_logs() as logs:
        server.handle_exit(signal.SIGTERM, None)
        server.retire(Successor(42, None))
        server.retire(Successor(43, None))
        server.handle_exit(signal.SIGTERM, None)
        await asyncio.sleep(0.1)
        [waiting] = accept_waiting(theirs)
        waiting.close()
    assert (server.should_exit, gateway.plane.draining, gateway.plane.farewell_s, door.fileno()) == (True, True, 4.0, -1)
    assert [event["event"].split(":")[0] for event in logs][1:] == ["handed over"]
    assert logs[1]["successor"] == 42


async def test_the_service_manager_hears_of_each_step(monkeypatch):
    """A reload that is refused ends like one that is not: the service goes on."""
    address = f"@lbgateway-server-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hearing:
        hearing.bind("\0" + address[1:])
        hearing.setblocking(False)
        server = await server_of()
        reload_settings(server, settings_of)  # during the start, which has not been told yet
        server.started = True
        reload_settings(server, settings_of)
        reload_settings(server, lambda: settings_of("servces: {}\n"))
        server.handle_exit(signal.SIGTERM, None)
        said = [hearing.recv(1000).decode().partition("\n")[0] for _ in range(5)]
        assert said == ["RELOADING=1", "READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]
        with pytest.raises(BlockingIOError):
            hearing.recv(1000)


class Before:
    """A gateway that waits for us to be ready."""

    sent_away = False

    async def retire(self, registration: str | None) -> None:
        self.sent_away = True


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_successor_that_is_stopped_during_its_start_sends_nobody_away(stopped):
    """The gateway before it serves on, and closes its connections to nobody."""
    gateway = await gateway_of()
    before: Any = Before()
    server = GatewayServer(uvicorn_config(gateway, gateway.settings), gateway, [bind("127.0.0.1", 0)], predecessor=before)
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    if stopped:
        server.handle_exit(signal.SIGTERM, None)
    await server.startup()
    await asyncio.sleep(0.01)
    assert before.sent_away is not stopped
    server.listeners.leave()


async def test_the_time_to_drain_is_the_one_of_the_last_reload():
    """To the fraction."""
    server = await server_of("server: {drain_timeout: 7s}\n")
    reload_settings(server, lambda: settings_of("server: {drain_timeout: 250ms}\n"))
    server.handle_exit(signal.SIGTERM, None)
    assert server.config.timeout_graceful_shutdown == 0.25


class Stuck:
    """A connection that is still there when the time is over."""

    aborted = False

    def abort(self) -> None:
        self.aborted = True


async def test_what_outlives_the_drain_is_cut_aloud():
    """An operator who set the time too short learns it here."""
    gateway = await gateway_of()
    stuck: Any = Stuck()
    with capture_logs() as logs:
        cut_what_is_left(gateway.plane)
        gateway.plane.connections.add(stuck)
        cut_what_is_left(gateway.plane)
    assert stuck.aborted
    assert [event["connections"] for event in logs] == [1]


async def test_nothing_of_uvicorn_is_heard_or_seen():
    """No header, no access log, no handler of its own: the gateway speaks for itself."""
    gateway = await gateway_of()
    config = uvicorn_config(gateway, gateway.settings)
    assert config.log_config is None
    assert not any((config.access_log, config.server_header, config.date_header, config.proxy_headers))


def test_errors_come_in_the_order_of_the_file():
    """What `reload_settings` logs is what `lbgateway check` would print."""
    with pytest.raises(ConfigErrors) as bad:
        settings_of("servces: {}\n")
    assert str(bad.value) == "gateway.yaml:4: servces: unknown key; did you mean `services`?"

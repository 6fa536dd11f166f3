"""Sockets, signals and reload: the parts of the server that need no server."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from lbgateway.config import ConfigErrors, Settings, load_text
from lbgateway.runtime import Gateway
from lbgateway.server import (
    GatewayServer,
    accept_waiting,
    address_of,
    bind,
    cut_what_is_left,
    fit_to_open_files,
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


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_a_listener_listens(host, family):
    """On IPv4 and IPv6, without ever blocking."""
    with bind(host, 0) as listener:
        assert listener.family is family
        assert not listener.getblocking()
        assert address_of(listener).startswith("http://[::1]:" if ":" in host else "http://127.0.0.1:")
        socket.create_connection(listener.getsockname()[:2]).close()


def test_an_address_that_cannot_be_had_is_told_to_people():
    """Which address, and why."""
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1:{port} is in use by another process") as busy:
            bind("127.0.0.1", port)
    assert busy.value.errno == errno.EADDRINUSE
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:80: "):
        bind("192.0.2.1", 80)


@pytest.fixture
def open_files() -> Iterator[int]:
    """The soft limit is lowered below the hard one, and put back afterwards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_limit_of_open_files_is_raised_to_its_bound(open_files):
    """And what fits is left as it is."""
    settings = settings_of(FEW)
    assert fit_to_open_files(settings) is settings
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == open_files


def test_more_connections_than_files_are_lowered_aloud(open_files):
    """Two files for each, one to the client and one to the upstream."""
    settings = settings_of(f"server: {{max_connections: {open_files}}}\n")
    with capture_logs() as logs:
        fitted = fit_to_open_files(settings)
    assert fitted.server.max_connections == (open_files - 128) // 2
    [event] = logs
    assert (event["wanted"], event["max_connections"], event["open_files"]) == (open_files, fitted.server.max_connections, open_files)


async def test_a_good_file_is_taken_over():
    """With its warnings in the log."""
    gateway = await gateway_of()
    with capture_logs() as logs:
        reload_settings(gateway, lambda: settings_of(FEW + "services: {orders: {instances: ['127.0.0.1:9001']}}\n"))
    assert list(gateway.plane.upstreams) == ["orders"]
    assert [event["event"] for event in logs] == ["reloaded"]


async def test_a_bad_file_is_refused_with_all_its_errors():
    """The old configuration stays, and so does the gateway."""
    gateway = await gateway_of("services: {orders: {}}\n")
    before = gateway.settings
    with capture_logs() as logs:
        reload_settings(gateway, lambda: settings_of("servces: {}\nserver: {port: no}\n"))
    [event] = logs
    assert (event["event"], event["log_level"]) == ("reload refused, the old configuration stays", "error")
    assert [error.split(": ")[0] for error in event["errors"]] == ["gateway.yaml:4", "gateway.yaml:5"]
    assert gateway.settings is before


async def test_a_bug_in_a_reload_leaves_everything_as_it_was():
    """It is logged whole, and does not fall into the event loop."""
    gateway = await gateway_of()

    def broken() -> Settings:
        raise RuntimeError("a bug")

    with capture_logs() as logs:
        reload_settings(gateway, broken)
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


def test_who_waits_at_the_door_is_let_in():
    """As many as there are, and nobody is waited for."""
    with bind("127.0.0.1", 0) as listener:
        assert accept_waiting(listener) == []
        clients = [socket.create_connection(listener.getsockname()[:2]) for _ in range(3)]
        accepted = accept_waiting(listener)
        assert {each.getpeername() for each in accepted} == {each.getsockname() for each in clients}
        for each in (*clients, *accepted):
            each.close()


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

"""Starting and stopping: signals under load, what runs is finished, and exit codes that supervisors understand."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.launch import free_ports, wait_until
from tests.support.traffic import REFUSED, Traffic
from tests.support.upstream_server import Connection, Received, UpstreamServer, UpstreamThread, answer

SLOW_S = 2.0


async def slow_or_not(request: Received, connection: Connection) -> bool:
    """Answers at once, after `SLOW_S`, or byte by byte over that time."""
    import asyncio

    if request.target == "/slow":
        await asyncio.sleep(SLOW_S)
        await connection.send(answer(b"slow"))
    elif request.target == "/stream":
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
        for _ in range(20):
            await asyncio.sleep(SLOW_S / 20)
            await connection.send(b"x")
    elif request.target == "/stuck":
        await asyncio.sleep(30)
    else:
        await connection.send(answer(b"quick"))
    return True


@pytest.fixture
def upstream() -> Iterator[UpstreamServer]:
    with UpstreamThread(slow_or_not) as server:
        yield server


def config_of(upstream: UpstreamServer, **server: Any) -> dict[str, Any]:
    return {
        "auth": {"default": "none"},
        "discovery": {"provider": "static"},
        "server": {"max_connections": 500, **server},
        "services": {"orders": {"instances": [upstream.address]}},
    }


class Asking(threading.Thread):
    """One request on a connection of its own; joined, it tells its answer."""

    def __init__(self, gateway: GatewayProcess, path: str) -> None:
        super().__init__(daemon=True)
        self.gateway, self.path = gateway, path
        self.told: tuple[int, bytes] | Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.told = self.gateway.get(self.path, seconds=20)
        except (OSError, http.client.HTTPException) as error:
            self.told = error

    def result(self) -> tuple[int, bytes] | Exception | None:
        self.join(20)
        return self.told


@pytest.mark.alone
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_cuts_nothing(upstream, number):
    """Slow answers arrive whole, quick ones too; a client may only find that nobody opens any more. Exit code 0."""
    with GatewayProcess(config_of(upstream)) as gateway:
        with Traffic(gateway.port, "/api/orders/", clients=8, pause_s=0.001, until_refused=True) as traffic:
            wait_until(lambda: len(traffic.told) > 200, 5, gateway.story)
            slow, stream = Asking(gateway, "/api/orders/slow"), Asking(gateway, "/api/orders/stream")
            wait_until(lambda: {"/slow", "/stream"} <= {request.target for request in upstream.requests}, 5, gateway.story)
            signalled_s = time.monotonic()
            gateway.signal(number)
            traffic.join()
            assert slow.result() == (200, b"slow")
            assert stream.result() == (200, b"x" * 20)
        assert gateway.wait() == 0
        assert time.monotonic() - signalled_s < SLOW_S + 1.5
        assert traffic.bad((200, REFUSED)) == []
        events = [event["event"] for event in gateway.events()]
        assert [event for event in events if event.startswith("stop")] == ["stopping: no new connections, what runs may finish", "stopped"]
        assert "Traceback" not in gateway.log()
        assert "Warning" not in gateway.log()


def test_repeated_stops_lose_no_request_that_was_made(upstream):
    """The moment of the signal falls where it falls: between two requests, in one, or while a client connects."""
    with GatewayProcess(config_of(upstream)) as gateway:
        for turn in range(3):
            if turn:
                gateway.start()
            with Traffic(gateway.port, "/api/orders/", clients=8, pause_s=0.001 * turn, until_refused=True) as traffic:
                wait_until(lambda traffic=traffic: len(traffic.told) > 100, 5, gateway.story)
                assert gateway.stop() == 0
                traffic.join()
            assert traffic.bad((200, REFUSED)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_gateway_that_leaves_is_not_ready_and_serves_until_what_runs_is_answered(upstream, workers):
    """New connections, too: probes hear 503, clients are served. Connections from before are closed with their next answer."""
    with GatewayProcess(config_of(upstream, workers=workers)) as gateway:
        first, second = (http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10) for _ in range(2))
        for connection in (first, second):
            connection.request("GET", "/health/ready")
            ready = connection.getresponse()
            assert (ready.status, ready.getheader("Connection")) == (200, None)
            ready.read()
        slow = Asking(gateway, "/api/orders/slow")
        wait_until(lambda: any(request.target == "/slow" for request in upstream.requests), 5, gateway.story)
        gateway.signal(signal.SIGTERM)
        word = "leaving" if workers == 1 else "stopping"
        wait_until(lambda: any(event["event"].startswith(word) for event in gateway.events()), 5, gateway.story)
        assert gateway.get("/health/ready") == (503, b'{"status": "draining"}\n')
        assert gateway.get("/health/live")[0] == 200
        assert gateway.get("/api/orders/") == (200, b"quick")
        first.request("GET", "/health/ready")
        draining = first.getresponse()
        assert (draining.status, draining.getheader("Connection")) == (503, "close")
        second.request("GET", "/api/orders/")
        last = second.getresponse()
        assert (last.status, last.getheader("Connection"), last.read()) == (200, "close", b"quick")
        assert slow.result() == (200, b"slow")
        with pytest.raises(ConnectionRefusedError):
            wait_until(lambda: gateway.get("/health/live") is None, 1, gateway.story)
        assert gateway.wait() == 0


@pytest.mark.alone
def test_what_is_still_running_after_the_drain_timeout_is_cut(upstream):
    """And told; the exit is an orderly one."""
    with GatewayProcess(config_of(upstream, drain_timeout="1s")) as gateway:
        stuck = Asking(gateway, "/api/orders/stuck")
        wait_until(lambda: len(upstream.requests) == 1, 5, gateway.story)
        began_s = time.monotonic()
        assert gateway.stop() == 0
        assert 0.9 < time.monotonic() - began_s < 2.5
        assert isinstance(stuck.result(), (OSError, http.client.HTTPException))
        assert [event for event in gateway.events() if event["level"] == "error"] == []
        [cut] = [event for event in gateway.events() if "drain_timeout is over" in event["event"]]
        assert (cut["requests_active"], cut["level"]) == (1, "warning")


def test_a_tunnel_and_a_stream_outlive_their_instance_and_the_signal_to_stop(upstream):
    """Taken out of the configuration, both go on; while the gateway drains, too. Only the end of its time cuts the tunnel."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = config_of(upstream, drain_timeout="3s")
        config["services"]["chat"] = {"instances": [f"127.0.0.1:{listener.getsockname()[1]}"]}
        with GatewayProcess(config) as gateway, socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
            client.sendall(b"GET /api/chat/ HTTP/1.1\r\nHost: gw\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")
            service, _ = listener.accept()
            with service:
                service.recv(10_000)
                service.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")
                assert client.recv(10_000).startswith(b"HTTP/1.1 101 ")
                stream = Asking(gateway, "/api/orders/stream")
                wait_until(lambda: len(upstream.requests) == 1, 5, gateway.story)
                gateway.reload({**config, "services": {"orders": {"instances": []}}})
                wait_until(lambda: gateway.get("/api/orders/")[0] == 503, 5, gateway.story)
                assert gateway.get("/api/chat/")[0] == 404
                assert exchanged(client, service)
                began_s = time.monotonic()
                gateway.signal(signal.SIGTERM)
                wait_until(lambda: any(event["event"].startswith("stopping") for event in gateway.events()), 5, gateway.story)
                assert exchanged(client, service)
                assert stream.result() == (200, b"x" * 20)
                assert gateway.wait() == 0
                assert time.monotonic() - began_s > 2.5
                assert not exchanged(client, service)


def exchanged(client: socket.socket, service: socket.socket) -> bool:
    """Whether bytes still pass through the tunnel, both ways."""
    try:
        client.sendall(b"ping")
        return service.recv(10) == b"ping" and service.sendall(b"pong") is None and client.recv(10) == b"pong"
    except ConnectionError:
        return False


def test_a_second_interrupt_does_not_wait(upstream):
    """For somebody at a terminal who means it."""
    with GatewayProcess(config_of(upstream)) as gateway:
        stuck = Asking(gateway, "/api/orders/stuck")
        wait_until(lambda: len(upstream.requests) == 1, 5, gateway.story)
        gateway.signal(signal.SIGINT)
        time.sleep(0.3)
        assert gateway.alive()
        gateway.signal(signal.SIGINT)
        assert gateway.wait(3) == 0
        assert isinstance(stuck.result(), (OSError, http.client.HTTPException))


@pytest.mark.alone
def test_idle_connections_do_not_hold_up_a_stop(upstream):
    """A thousand browsers may leave theirs open for ever."""
    with GatewayProcess(config_of(upstream)) as gateway:
        idle = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(100)]
        gateway.get("/api/orders/")
        began_s = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - began_s < 2.0
        for each in idle:
            each.close()


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lbgateway", "run", *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=20)


def test_a_busy_port_is_an_error_in_one_sentence(upstream):
    """Exit code 1, no trace, and what to do: nothing of it disturbs the gateway that has the port."""
    with GatewayProcess(config_of(upstream)) as gateway:
        second = run("--config", str(gateway.file), RUNTIME_DIRECTORY=gateway.meeting)
        assert "successor" not in gateway.log()
        pid = gateway.pid
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr == (
        f"lbgateway run: 127.0.0.1:{gateway.port} is in use by another process: a running gateway (process {pid}); "
        "with --takeover it hands the port over, finishes what it has, and leaves\n"
    )


def test_host_and_port_of_the_command_line_win(upstream):
    """And stay in force over a reload."""
    (port,) = free_ports(1)
    gateway = GatewayProcess(config_of(upstream), arguments=("--host", "127.0.0.2", "--port", str(port))).start(wait=False)
    try:
        wait_until(lambda: "listening" in gateway.log(), 10, gateway.story)
        connection = http.client.HTTPConnection("127.0.0.2", port, timeout=5)
        connection.request("GET", "/api/orders/")
        assert connection.getresponse().read() == b"quick"
        connection.close()
        gateway.reload()
        wait_until(lambda: '"reloaded"' in gateway.log(), 5, gateway.story)
        assert "restart" not in gateway.story()
        assert gateway.stop() == 0
    finally:
        gateway.close()


def test_a_gateway_starts_on_a_port_that_was_left_a_moment_ago(upstream):
    """Connections that linger in the kernel are no reason to wait a minute."""
    with GatewayProcess(config_of(upstream)) as gateway:
        with Traffic(gateway.port, "/api/orders/", clients=2, until_refused=True) as traffic:
            wait_until(lambda: len(traffic.told) > 10, 5, gateway.story)
            assert gateway.stop() == 0
        gateway.start()
        assert gateway.get("/api/orders/") == (200, b"quick")

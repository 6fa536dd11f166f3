"""`run --takeover`: a gateway takes the place of another one, and no client notices; one that fails on the way changes nothing."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import signal
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.certificates import Authority
from tests.support.consul_server import ConsulServer
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import free_ports, wait_until
from tests.support.socket_activation import SocketUnit
from tests.support.traffic import Traffic, config_for
from tests.support.upstream_server import Connection, Received, UpstreamServer, UpstreamThread, answer

TAKEN_OVER = "taken over: the gateway before this one finishes what it has, and leaves"
STAYS = "the successor ended before it was ready, this process serves on"


async def slow_or_not(request: Received, connection: Connection) -> bool:
    """Answers at once, or byte by byte over a second."""
    import asyncio

    if request.target == "/stream":
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
        for _ in range(20):
            await asyncio.sleep(0.05)
            await connection.send(b"x")
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
        "server": {"max_connections": 500, "drain_timeout": "4s", **server},
        "services": {"orders": {"instances": [upstream.address]}},
        "logging": {"access_log": False},
    }


def told(gateway: GatewayProcess, event: str) -> bool:
    return any(each["event"] == event for each in gateway.events())


@contextlib.contextmanager
def successor(before: GatewayProcess, config: dict[str, Any], *, serving: bool = True) -> Iterator[GatewayProcess]:
    """One that has taken over from `before`; where it is not to be `serving`, one that tries to."""
    gateway = GatewayProcess(config, before=before, tls=before.tls)
    try:
        gateway.start(wait=False)
        if serving:
            wait_until(lambda: told(gateway, TAKEN_OVER), 30, lambda: gateway.story() + before.story())
        yield gateway
    finally:
        gateway.close()


def test_five_takeovers_in_a_row_lose_nothing(upstream):
    """Kept connections, new ones and idle ones, under load: each request is answered by 200, none is refused or reset."""
    config = config_of(upstream)
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(GatewayProcess(config))
        kept = stack.enter_context(Traffic(gateway.port, "/api/orders/", clients=3, pause_s=0.008))
        closing = stack.enter_context(Traffic(gateway.port, "/api/orders/", clients=3, pause_s=0.008, headers={"Connection": "close"}))
        idle = stack.enter_context(Traffic(gateway.port, "/api/orders/", clients=2, pause_s=0.8))
        for _ in range(5):
            before, gateway = gateway, stack.enter_context(successor(gateway, config))
            assert before.wait(10) == 0
            assert before.events()[-1]["event"] == "stopped"
            assert "Traceback" not in before.log()
            assert "Warning" not in before.log()
        for traffic in (kept, closing, idle):
            traffic.stop()
            assert traffic.bad() == []
            assert traffic.outcomes()[200] > 5
        assert gateway.get("/health/ready")[0] == 200
        assert gateway.stop() == 0
        assert not list(Path(gateway.meeting).glob("*.sock"))


def test_what_runs_is_finished_by_the_one_before(upstream, tmp_path):
    """Over TLS: a stream ends where it began, kept connections say goodbye, new ones see the successor's certificate and routes."""
    authority = Authority(tmp_path)

    def serving(**more: Any) -> dict[str, Any]:
        cert, key = authority.issue("127.0.0.1")
        return {**config_of(upstream, tls={"cert": str(cert), "key": str(key)}), **more}

    with GatewayProcess(serving(), tls=authority.trusting()) as first, connected(first) as kept, connected(first) as stream:
        kept.request("GET", "/api/orders/")
        assert kept.getresponse().read() == b"quick"
        stream.request("GET", "/api/orders/stream")
        response = stream.getresponse()
        with (
            successor(first, serving(routes=[{"prefix": "/v2/{service}", "strip_prefix": True}])) as second,
            connected(second) as fresh,
        ):
            fresh.request("GET", "/v2/orders/")
            assert fresh.getresponse().read() == b"quick"
            assert serial(fresh) != serial(kept)
            kept.request("GET", "/api/orders/")
            last = kept.getresponse()
            assert (last.status, last.getheader("Connection"), last.read()) == (200, "close", b"quick")
            assert response.read() == b"x" * 20
            assert first.wait() == 0


def connected(gateway: GatewayProcess) -> contextlib.closing[http.client.HTTPSConnection]:
    return contextlib.closing(http.client.HTTPSConnection("127.0.0.1", gateway.port, timeout=10, context=gateway.tls))


def serial(connection: http.client.HTTPSConnection) -> str:
    assert isinstance(connection.sock, ssl.SSLSocket)
    return str(connection.sock.getpeercert()["serialNumber"])  # type: ignore[index]  # it has been verified


def test_a_successor_that_ends_before_it_is_ready_changes_nothing(upstream):
    """Killed while it waits for a registry that is not there: the old one serves all the while, and can be taken over afterwards."""
    (dead,) = free_ports(1)
    blind = config_for(f"http://127.0.0.1:{dead}", logging={"access_log": False})
    with GatewayProcess(config_of(upstream)) as gateway, Traffic(gateway.port, "/api/orders/", clients=2) as traffic:
        with successor(gateway, blind, serving=False) as waiting:
            wait_until(lambda: "a successor starts" in gateway.log(), 30, gateway.story)
            waiting.signal(signal.SIGSTOP)
            with successor(gateway, blind, serving=False) as second:
                assert second.wait(30) == 1
                assert f"process {waiting.pid} is about to take over already" in second.log()
            waiting.kill()
            wait_until(lambda: told(gateway, STAYS), 5, gateway.story)
        with successor(gateway, config_of(upstream)):
            assert gateway.wait() == 0
            traffic.stop()
    assert traffic.bad() == []


def test_the_entry_in_consul_goes_over_to_the_successor(consul_server: ConsulServer, tmp_path):
    """It is there all the while, passing, and the one who leaves does not take it along; nor does it write the snapshots any more."""
    config = config_for(consul_server.url, logging={"access_log": False})
    config["discovery"]["consul"] |= {"register": {"drain_pause": "5s"}, "snapshot": str(tmp_path / "registry.json")}

    def entries() -> list[str]:
        return [row["Service"]["ID"] for row in consul_server.request("GET", "/v1/health/service/lbgateway?passing")]

    with GatewayProcess(config) as first:
        wait_until(lambda: len(entries()) == 1, 20, first.story)
        before = entries()
        with successor(first, config) as second:
            assert first.wait() == 0
            assert entries() == before
            assert "deregistered" not in first.log()
            assert second.stop() == 0
            assert entries() == []


@pytest.fixture
def unit() -> Iterator[SocketUnit]:
    folder = Path(tempfile.mkdtemp(prefix="lbgateway-unit-"))  # short: it is part of addresses
    with SocketUnit(folder) as it:
        yield it
    shutil.rmtree(folder)


def test_socket_activation(unit, upstream):
    """On the passed socket, whatever the file says; restarted and taken over under load, and each step is told."""
    file = unit.folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(config_of(upstream, port=1)))
    arguments = ("run", "--config", str(file))
    with Traffic(unit.port, "/api/orders/", clients=2, pause_s=0.01) as traffic:
        gateway = unit.start(*arguments)
        wait_until(lambda: traffic.outcomes()[200] > 0, 10, unit.log.read_text)
        gateway.send_signal(signal.SIGHUP)
        wait_until(lambda: unit.heard().count("READY=1") == 2, 10, unit.log.read_text)
        gateway.terminate()
        assert gateway.wait(10) == 0
        restarted = unit.start(*arguments)
        replaced = unit.start(*arguments, "--takeover")
        assert restarted.wait(10) == 0
        replaced.terminate()
        assert replaced.wait(10) == 0
        unit.start(*arguments)
    assert traffic.bad() == []
    said = [line for line in unit.heard() if not line.startswith("MONOTONIC_USEC=")]
    assert said[:4] == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]
    assert f"MAINPID={replaced.pid}" in said
    assert said.count("STOPPING=1") == 2
    assert "server.host and server.port are not used, the sockets were passed to us" in unit.log.read_text()

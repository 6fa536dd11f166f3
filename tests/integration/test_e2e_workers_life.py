"""Workers that die, hang and leave, a parent that dies, and gateways that take over: what clients see of it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.socket_activation import SocketUnit
from tests.support.traffic import Traffic
from tests.support.upstream_server import Connection, Received, UpstreamServer, UpstreamThread, answer
from tests.support.workers import alive, children, config_of, instances, kept_connections, quick, running, samples, serves

TAKEN_OVER = "taken over: the gateway before this one finishes what it has, and leaves"


async def slow_or_not(request: Received, connection: Connection) -> bool:
    """Answers at once, or byte by byte over two seconds."""
    import asyncio

    if request.target == "/stream":
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
        for _ in range(20):
            await asyncio.sleep(0.1)
            await connection.send(b"x")
        return True
    return await quick(request, connection)


@pytest.fixture
def upstream() -> Iterator[UpstreamServer]:
    with UpstreamThread(slow_or_not) as server:
        yield server


@contextlib.contextmanager
def successor(before: GatewayProcess, config: dict) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(config, before=before)
    try:
        gateway.start(wait=False)
        wait_until(lambda: any(each["event"] == TAKEN_OVER for each in gateway.events()), 30, lambda: gateway.story() + before.story())
        yield gateway
    finally:
        gateway.close()


def test_a_killed_worker_is_replaced_and_takes_only_its_own_requests_along(upstream):
    """Five times under load: no connection is refused, who was served by another worker notices nothing, counters never go backwards."""
    clients = 4
    with running(config_of([upstream])) as gateway:
        kept = Traffic(gateway.port, "/api/orders/", clients=clients, pause_s=0.01)
        closing = Traffic(gateway.port, "/api/orders/", clients=2, pause_s=0.01, headers={"Connection": "close"})
        counted = 0.0
        with kept, closing:
            for _ in range(5):
                victim = children(gateway.pid)[0]
                os.kill(victim, signal.SIGKILL)
                wait_until(lambda gone=victim: gone not in children(gateway.pid) and serves(gateway, 2), 20, gateway.story)
                now = sum(samples(gateway, "lbgateway_requests_total").values())
                assert now >= counted
                counted = now
        assert gateway.get("/api/orders/")[0] == 200
        # A killed worker cuts each connection that it has, once.
        lost = [*kept.bad(), *closing.bad()]
        assert len(lost) <= 5 * (clients + 2), lost
        assert not [each for each in lost if each.outcome == "refused" or "connecting" in str(each.outcome)]
        assert kept.outcomes()[200] > 100
        assert sum(each["event"] == "a worker has ended, another one takes its place" for each in gateway.events()) == 5
        assert gateway.json("/health")["status"] == "ok"
        assert instances(gateway)[upstream.address]["active_requests"] == 0


def test_a_worker_that_is_asked_to_leave_finishes_what_it_has(upstream):
    """SIGTERM to one worker: a stream is served to its end, and another worker comes."""
    with running(config_of([upstream])) as gateway, kept_connections(gateway, 2) as connections:
        for connection in connections:
            connection.request("GET", "/api/orders/stream")
        before = children(gateway.pid)
        for worker in before:
            os.kill(worker, signal.SIGTERM)
        assert [connection.getresponse().read() for connection in connections] == [b"x" * 20] * 2
        wait_until(lambda: serves(gateway, 2) and not set(before) & set(children(gateway.pid)), 20, gateway.story)
        assert gateway.get("/api/orders/")[0] == 200
        assert "takes its place" not in gateway.log()


def test_a_worker_that_hangs_is_replaced(upstream):
    """A stopped process answers nobody; the other one serves on, and in the end there are two again."""
    with running(config_of([upstream])) as gateway:
        hanging = children(gateway.pid)[0]
        os.kill(hanging, signal.SIGSTOP)
        for _ in range(20):
            assert gateway.get("/api/orders/", seconds=5)[0] == 200
        assert gateway.json("/admin/upstreams")["gateway"]["workers"] == 2  # the other one is asked, and this one not waited for
        wait_until(lambda: not alive(hanging) and serves(gateway, 2), 60, gateway.story)
        assert any(each["event"] == "a worker says nothing, it is killed" for each in gateway.events())
        assert gateway.get("/api/orders/")[0] == 200


def test_without_its_parent_no_worker_stays(upstream):
    """The parent is killed: what runs is finished, then there is no process left, and the port is free."""
    with running(config_of([upstream])) as gateway, kept_connections(gateway, 2) as connections:
        for connection in connections:
            connection.request("GET", "/api/orders/stream")
        wait_until(lambda: instances(gateway)[upstream.address]["active_requests"] == 2, 10, gateway.story)
        there = children(gateway.pid)
        gateway.kill()
        assert [connection.getresponse().read() for connection in connections] == [b"x" * 20] * 2
        wait_until(lambda: not any(map(alive, there)), 10, gateway.story)
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", gateway.port)) != 0


@pytest.mark.alone
def test_a_stop_lets_all_workers_finish_what_they_have(upstream):
    """SIGTERM under load: every request that was sent is answered, all processes are gone within the drain's time, exit code 0."""
    with running(config_of([upstream])) as gateway, kept_connections(gateway, 2) as connections:
        there = children(gateway.pid)
        for connection in connections:
            connection.request("GET", "/api/orders/stream")
        with Traffic(gateway.port, "/api/orders/", clients=4, until_refused=True) as traffic:
            wait_until(lambda: len(traffic.told) > 50, 10, gateway.story)
            began_s = time.monotonic()
            gateway.signal(signal.SIGTERM)
            assert [connection.getresponse().read() for connection in connections] == [b"x" * 20] * 2
            assert gateway.wait(10) == 0
            assert time.monotonic() - began_s < 4 + 4
            traffic.join()
        assert traffic.bad((200, "refused")) == []
        assert not any(map(alive, there))
        assert gateway.events()[-1]["event"] == "stopped"


@pytest.mark.alone
def test_what_takes_too_long_is_cut_and_the_exit_is_0_all_the_same(upstream):
    """`server.drain_timeout` holds for workers, too."""
    with GatewayProcess(config_of([upstream], server={"drain_timeout": "500ms"})) as gateway, kept_connections(gateway, 1) as connections:
        wait_until(lambda: serves(gateway, 2), 20, gateway.story)
        connections[0].request("GET", "/api/orders/stream")
        wait_until(lambda: instances(gateway)[upstream.address]["active_requests"] == 1, 10, gateway.story)
        began_s = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - began_s < 5
        assert "what was left is cut" in gateway.log()


def test_a_terminal_s_interrupt_goes_to_all_processes_and_ends_them_once(upstream):
    """Ctrl-C: the parent leads, the workers wait for its word."""
    with running(config_of([upstream])) as gateway:
        os.killpg(os.getpgid(gateway.pid), signal.SIGINT)
        assert gateway.wait(10) == 0


@pytest.mark.parametrize(("first", "second"), [(2, 2), (1, 2), (2, 1)])
def test_a_takeover_with_workers_on_either_side_loses_nothing(upstream, first, second):
    """Kept and new connections under load: each request is answered by 200, none is refused or reset."""
    before_config, after_config = (config_of([upstream], server={"workers": workers}) for workers in (first, second))
    with GatewayProcess(before_config) as before:
        if first > 1:
            wait_until(lambda: serves(before, first), 20, before.story)
        kept = Traffic(before.port, "/api/orders/", clients=3, pause_s=0.008)
        closing = Traffic(before.port, "/api/orders/", clients=3, pause_s=0.008, headers={"Connection": "close"})
        with kept, closing, successor(before, after_config) as after:
            assert before.wait(10) == 0
            time.sleep(0.5)
            for traffic in (kept, closing):
                traffic.stop()
                assert traffic.bad() == []
                assert traffic.outcomes()[200] > 50
            assert len(children(after.pid)) == (second if second > 1 else 0)
            assert after.get("/health/ready")[0] == 200
            assert "Traceback" not in before.log() + after.log()
            assert after.stop() == 0


def test_a_socket_of_systemd_is_shared_by_all_workers(upstream):
    """It was open before anybody served, and who came early is answered; MAINPID is the parent."""
    config = config_of([upstream])
    with tempfile.TemporaryDirectory() as folder, SocketUnit(Path(folder)) as unit:
        file = Path(folder) / "gateway.yaml"
        import yaml

        file.write_text(yaml.safe_dump(config))
        with socket.create_connection(("127.0.0.1", unit.port), timeout=15) as early:
            early.sendall(b"GET /api/orders/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            process = unit.start("run", "--config", str(file))
            assert early.recv(15) == b"HTTP/1.1 200 OK"
        wait_until(lambda: "READY=1" in "".join(unit.heard()), 20, lambda: str(unit.heard()))
        assert len(children(process.pid)) == 2
        process.terminate()
        assert process.wait(10) == 0


def test_over_tls_a_reload_brings_all_workers_the_new_certificate(upstream, tmp_path):
    """Whoever takes a new connection."""
    authority = Authority(tmp_path)
    cert, key = authority.issue("127.0.0.1")
    config = config_of([upstream], server={"tls": {"cert": str(cert), "key": str(key)}})

    def serials(gateway: GatewayProcess) -> set[str]:
        found = set()
        for _ in range(10):
            with (
                socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as plain,
                authority.trusting().wrap_socket(plain, server_hostname="127.0.0.1") as secure,
            ):
                found.add(str((secure.getpeercert() or {})["serialNumber"]))
        return found

    with GatewayProcess(config, tls=authority.trusting()) as gateway:
        wait_until(lambda: serves(gateway, 2), 20, gateway.story)
        (first,) = serials(gateway)
        cert, key = authority.issue("127.0.0.1")
        gateway.reload(config_of([upstream], server={"tls": {"cert": str(cert), "key": str(key)}}))
        wait_until(lambda: first not in serials(gateway), 10, gateway.story)
        assert gateway.get("/api/orders/")[0] == 200


def test_a_worker_whose_parent_speaks_nonsense_leaves():
    """It could serve nobody."""
    import subprocess
    import sys

    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-m", "lbgateway.workers", str(theirs.fileno()), "0"]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, cwd=Path(__file__).parents[2])
        ours.sendall(answer(b"no frame at all" * 10))
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0
    assert b"cannot be understood" in told

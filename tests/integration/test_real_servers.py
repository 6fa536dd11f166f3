"""The real servers that the other integration tests stand on."""

from __future__ import annotations

import asyncio
import socket
import urllib.request

from tests.support.consul_server import ConsulServer
from tests.support.redis_server import RedisServer
from tests.support.upstream_server import UpstreamThread


def test_a_real_consul_registers_and_forgets(consul_url: str) -> None:
    """The shared Consul is one that has a leader."""
    with urllib.request.urlopen(f"{consul_url}/v1/status/leader", timeout=5) as answer:
        assert len(answer.read()) > 4


def test_a_dev_consul_starts_again_empty(consul_server: ConsulServer) -> None:
    """Killed and restarted on the same port, it knows nothing of before."""
    consul_server.register("orders", 9001)
    assert len(consul_server.request("GET", "/v1/health/service/orders")) == 1
    consul_server.restart(empty=True)
    assert consul_server.request("GET", "/v1/health/service/orders") == []


def test_a_persistent_consul_keeps_its_registrations(persistent_consul: ConsulServer) -> None:
    """Killed and restarted with its data, it knows what it knew."""
    persistent_consul.register("orders", 9001)
    persistent_consul.restart()
    assert [row["Service"]["Port"] for row in persistent_consul.request("GET", "/v1/health/service/orders")] == [9001]


def test_a_real_redis_answers(redis_url: str) -> None:
    """The shared Redis takes commands."""
    host, _, port = redis_url.removeprefix("redis://").removesuffix("/0").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"ECHO lbgateway\r\n")
        assert connection.recv(64) == b"$9\r\nlbgateway\r\n"


def test_a_redis_of_ones_own_keeps_its_port(redis_server: RedisServer) -> None:
    """A test may kill it and start it again where its clients look for it."""
    before = redis_server.port
    redis_server.restart()
    with socket.create_connection(("127.0.0.1", before), timeout=5) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(64) == b"+PONG\r\n"


async def test_the_upstream_double_tells_what_it_received() -> None:
    """Chunks are joined, trailers kept, the connection stays open for the next request."""
    with UpstreamThread() as upstream:
        reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
        writer.write(b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: ")
        writer.write(b"GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await reader.read()
        writer.close()
        await writer.wait_closed()
    assert [(each.method, each.target, each.body, each.trailers) for each in upstream.requests] == [
        ("POST", "/a", b"abcde", b"X-T: 1\r\n"),
        ("GET", "/b", b"", b""),
    ]
    assert len(upstream.connections) == 1

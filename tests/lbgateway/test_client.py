"""`BalancedTransport`: requests of a program over the gateway's engine, without a gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from random import Random

import httpx
import pytest

from lbgateway import BalancedTransport
from lbgateway.config import ConfigErrors, load_text
from tests.support.launch import free_ports
from tests.support.upstream_server import Connection, Received, UpstreamServer, answer, echo


def client_of(*ports: int, **defaults: object) -> httpx.AsyncClient:
    instances = [f"127.0.0.1:{port}" for port in ports]
    return httpx.AsyncClient(transport=BalancedTransport.from_static({"orders": instances}, balancer="round_robin", **defaults))


@pytest.fixture
async def upstream() -> AsyncIterator[UpstreamServer]:
    async with UpstreamServer(echo) as running:
        yield running


async def test_the_host_is_the_service(upstream: UpstreamServer) -> None:
    """The rest of the request arrives as it was written, and nothing is added but an id."""
    async with client_of(upstream.port) as client:
        response = await client.get("http://orders/items?a={b}", headers={"X-A": "1", "X-Forwarded-For": "10.1.1.1"})
        told = response.json()

    assert (response.status_code, told["target"]) == (200, "/items?a={b}")
    names = [name for name, _ in told["headers"]]
    assert names[0] == "Host"
    assert dict(told["headers"])["Host"] == "orders"
    assert dict(told["headers"])["X-A"] == "1"
    assert {"Via", "X-Forwarded-Host", "Connection"} & set(names) == set()
    assert {"via", "x-frame-options", "connection"} & set(response.headers) == set()


async def test_instances_take_turns_and_connections_are_kept(upstream: UpstreamServer) -> None:
    """As in the gateway."""
    async with UpstreamServer(echo) as other, client_of(upstream.port, other.port) as client:
        for _ in range(6):
            assert (await client.get("http://orders/")).status_code == 200

        assert (len(upstream.requests), len(other.requests)) == (3, 3)
        assert {request.connection for request in upstream.requests} == {upstream.requests[0].connection}


async def test_one_dead_instance_fails_nobody(upstream: UpstreamServer) -> None:
    """The engine tries the other one."""
    (dead,) = free_ports(1)
    async with client_of(dead, upstream.port) as client:
        assert [(await client.get("http://orders/")).status_code for _ in range(6)] == [200] * 6


async def numbers() -> AsyncIterator[bytes]:
    for number in range(3):
        yield b"%d," % number


@pytest.mark.parametrize(("content", "body"), [(b"x" * 1_000_000, "x" * 1_000_000), (None, "0,1,2,"), (b"", "")])
async def test_bodies_arrive_whole(upstream: UpstreamServer, content: bytes | None, body: str) -> None:
    """Of known length, or in pieces."""
    async with client_of(upstream.port) as client:
        response = await client.post("http://orders/", content=numbers() if content is None else content)

    assert response.json()["body"] == body


async def test_head_has_no_body(upstream: UpstreamServer) -> None:
    """Its length is that of the GET."""
    async with client_of(upstream.port) as client:
        response = await client.head("http://orders/")

    assert (response.status_code, response.content) == (200, b"")
    assert int(response.headers["content-length"]) > 0


async def test_an_answer_is_read_as_fast_as_the_program_wants() -> None:
    """What waits in between is bounded, whatever the size."""
    size, sent = 20_000_000, 0

    async def large(request: Received, connection: Connection) -> bool:
        nonlocal sent
        await connection.send(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        for _ in range(size // 100_000):
            await connection.send(b"x" * 100_000)
            sent += 100_000
        return True

    async with UpstreamServer(large) as upstream, client_of(upstream.port) as client, client.stream("GET", "http://orders/") as response:
        pieces = response.aiter_raw()
        got = len(await anext(pieces))
        await asyncio.sleep(0.2)
        assert sent < size // 2
        async for piece in pieces:
            got += len(piece)

        assert got == size


async def test_a_program_that_wants_no_more_ends_the_request(upstream: UpstreamServer) -> None:
    """And the next one goes well."""
    async with client_of(upstream.port) as client:
        async with client.stream("GET", "http://orders/") as response:
            assert response.status_code == 200
        assert (await client.get("http://orders/")).status_code == 200


async def silent(request: Received, connection: Connection) -> bool:
    await asyncio.sleep(30)
    return False


async def broken(request: Received, connection: Connection) -> bool:
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
    return False


async def gone(request: Received, connection: Connection) -> bool:
    return False


async def nonsense(request: Received, connection: Connection) -> bool:
    await connection.send(b"nonsense\r\n\r\n")
    return False


@pytest.mark.parametrize(
    ("handler", "error"),
    [(silent, httpx.ReadTimeout), (broken, httpx.RemoteProtocolError), (gone, httpx.ReadError), (nonsense, httpx.RemoteProtocolError)],
)
async def test_what_goes_wrong_is_an_error_that_programs_know(handler, error) -> None:
    """One of httpx's, with the request that it belongs to."""
    rules = {"retry": {"attempts": 0}, "timeout": {"response": "200ms"}}
    async with UpstreamServer(handler) as upstream, client_of(upstream.port, **rules) as client:
        with pytest.raises(error) as caught:
            await client.get("http://orders/")

    assert caught.value.request.url.host == "orders"


async def test_the_programs_own_patience_counts_too() -> None:
    """httpx's read timeout, if it is shorter than the service's."""
    async with UpstreamServer(silent) as upstream, client_of(upstream.port) as client:
        with pytest.raises(httpx.ReadTimeout, match="no answer in time"):
            await client.get("http://orders/", timeout=0.1)


async def test_an_unknown_service_is_a_clear_error(upstream: UpstreamServer) -> None:
    """It names what was asked for."""
    async with client_of(upstream.port) as client:
        with pytest.raises(httpx.ConnectError, match="no service has the name 'users'"):
            await client.get("http://users/")


async def test_a_service_that_nobody_serves_is_a_connect_error() -> None:
    """After all tries."""
    (dead,) = free_ports(1)
    async with client_of(dead, retry={"attempts": 1, "backoff": "1ms"}) as client:
        with pytest.raises(httpx.ConnectError, match="service 'orders'"):
            await client.get("http://orders/")


async def test_a_503_of_the_service_is_an_answer_and_no_error() -> None:
    """Only what the engine itself would say becomes an exception."""

    async def busy(request: Received, connection: Connection) -> bool:
        await connection.send(answer(b"busy", status="503 Service Unavailable"))
        return True

    async with UpstreamServer(busy) as upstream, client_of(upstream.port, retry={"attempts": 0}) as client:
        response = await client.get("http://orders/")

    assert (response.status_code, response.content) == (503, b"busy")


async def test_the_error_of_a_programs_own_body_is_its_own(upstream: UpstreamServer) -> None:
    """Not dressed as one of the network's."""

    async def fails() -> AsyncIterator[bytes]:
        yield b"abc"
        raise ValueError("mine")

    async with client_of(upstream.port) as client:
        with pytest.raises(ValueError, match="mine"):
            await client.post("http://orders/", content=fails())


async def test_with_a_configuration_of_the_gateway(upstream: UpstreamServer) -> None:
    """Its services count; its routes and tokens are for clients from outside."""
    config = {
        "discovery": {"provider": "static"},
        "services": {"orders": {"instances": [f"127.0.0.1:{upstream.port}"]}},
        "routes": [{"prefix": "/shop", "service": "orders"}],
        "auth": {"jwt": {"secret": "".join(Random(1).choices("abcdef", k=40))}},
        "logging": {"access_log": False},
    }
    transport = BalancedTransport.from_settings(load_text(json.dumps(config), "gateway.yaml", {}))
    async with httpx.AsyncClient(transport=transport) as client:
        assert (await client.get("http://orders/health/x")).json()["target"] == "/health/x"


async def test_closed_is_closed(upstream: UpstreamServer) -> None:
    """Running requests end, and no new one begins."""
    transport = BalancedTransport.from_static({"orders": [f"127.0.0.1:{upstream.port}"]})
    async with httpx.AsyncClient(transport=transport) as client:
        await client.get("http://orders/")
    with pytest.raises(RuntimeError, match="closed"):
        await transport.handle_async_request(httpx.Request("GET", "http://orders/"))


async def test_closing_ends_what_runs() -> None:
    """Nobody waits for an answer that cannot come any more."""
    arrived = asyncio.Event()

    async def waits(request: Received, connection: Connection) -> bool:
        arrived.set()
        return await silent(request, connection)

    async with UpstreamServer(waits) as upstream:
        transport = BalancedTransport.from_static({"orders": [f"127.0.0.1:{upstream.port}"]})
        running = asyncio.create_task(transport.handle_async_request(httpx.Request("GET", "http://orders/")))
        await arrived.wait()
        await transport.aclose()
        with pytest.raises(httpx.RemoteProtocolError):
            await running


def test_wrong_settings_are_told_at_once() -> None:
    """With the key, as in a file."""
    with pytest.raises(ConfigErrors, match="balancer"):
        BalancedTransport.from_static({"orders": ["127.0.0.1:1"]}, balancer="best")

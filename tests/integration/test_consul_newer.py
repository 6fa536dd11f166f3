"""What newer versions of Consul answer otherwise than 1.8.7, which is the one that the other tests run.

``tests/discovery/recorded/newer/`` has the answers as Consul's documentation, and its own tests, tell them: 429 to a client with
too many connections (1.8.7 cuts them), 429 and 503 of request limits (since 1.15), and an entry with the fields that came since.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from discovery.consul_body import Reading, decode_health
from discovery.consul_client import ConsulClient
from discovery.consul_wire import Read, failure
from discovery.errors import Busy
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.upstream_server import Connection, Received, UpstreamThread, answer, fixed

NEWER = Path(__file__).parents[1] / "discovery/recorded/newer"
REFUSALS = {
    "too-many-connections": "HTTP 429: Your IP is issuing too many concurrent connections, please rate limit your calls",
    "request-limit": "HTTP 429: rate limit exceeded, try again later or against a different server",
    "leader-limit": "HTTP 503: rate limit exceeded for operation that can only be performed by the leader, try again later",
}


@contextlib.asynccontextmanager
async def agent(said: bytes) -> AsyncIterator[str]:
    """Says `said` to whoever connects, as it stands there; its URL."""

    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("name", REFUSALS)
async def test_an_agent_that_refuses_is_busy(name: str):
    """With its own words: it is asked again later, and nobody's instances are taken away meanwhile."""
    async with agent((NEWER / f"{name}.http").read_bytes()) as url:
        client = ConsulClient(url)
        refused = failure(await client.ask("/v1/health/service/orders", Read()))
        await client.aclose()
    assert type(refused) is Busy
    assert str(refused) == REFUSALS[name]


def test_an_entry_with_newer_fields_is_understood():
    """Partitions, peers, localities: what is not known is passed over."""
    found = decode_health((NEWER / "health.json").read_bytes(), Reading("orders"))
    assert found.skipped == 0
    [instance] = found.instances
    assert (instance.id, instance.address, instance.port, instance.weight) == ("orders-1", "10.0.0.7", 9001, 3)
    assert (instance.state, instance.tags, instance.meta) == ("passing", ("lbgateway.enable=true",), {"version": "2"})


def test_a_gateway_whose_agent_refuses_keeps_what_it_knows():
    """It serves on, says why it knows nothing newer, and is fresh again when the agent is."""
    refusing = []
    with UpstreamThread(fixed(answer(b"ok"))) as upstream:
        entry = json.loads((NEWER / "health.json").read_text())[0]
        entry["Service"] |= {"Address": "127.0.0.1", "Port": upstream.port}
        catalog = {"orders": ["lbgateway.enable=true"]}

        async def consul(request: Received, connection: Connection) -> bool:
            if refusing:
                await connection.send((NEWER / "too-many-connections.http").read_bytes())
                return False
            if "index=" in request.target:
                await asyncio.sleep(0.5)
            body = json.dumps(catalog if "/catalog/" in request.target else [entry]).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Consul-Index: 20\r\nContent-Length: {len(body)}\r\n\r\n"
            await connection.send(head.encode() + body)
            return True

        with UpstreamThread(consul) as agent_:
            config = {"auth": {"default": "none"}, "discovery": {"consul": {"url": f"http://{agent_.address}"}}}
            with GatewayProcess(config) as gateway:
                wait_until(lambda: gateway.get("/api/orders/")[0] == 200, 10, gateway.story)
                refusing.append(True)
                wait_until(lambda: gateway.json("/admin/upstreams")["discovery"]["state"] == "stale", 10, gateway.story)
                assert "too many concurrent connections" in gateway.json("/admin/upstreams")["discovery"]["last_error"]
                assert gateway.get("/api/orders/")[0] == 200
                refusing.clear()
                wait_until(lambda: gateway.json("/admin/upstreams")["discovery"]["state"] == "fresh", 20, gateway.story)

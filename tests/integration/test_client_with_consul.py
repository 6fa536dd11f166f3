"""`BalancedTransport` with a real Consul: the example of the README."""

from __future__ import annotations

import asyncio
import time

import httpx

from discovery import register
from lbgateway import BalancedTransport
from tests.support.upstream_server import UpstreamServer, echo


async def test_a_program_follows_the_registry(consul_url: str) -> None:
    """Who registers is asked, who leaves is not missed, without a gateway in between."""
    async with UpstreamServer(echo) as first, UpstreamServer(echo) as second:
        name = f"client-{first.port}"
        here = {"address": "127.0.0.1", "consul_url": consul_url}
        async with (
            httpx.AsyncClient(transport=BalancedTransport.from_consul(consul_url, balancer="round_robin")) as client,
            register(name, first.port, id=f"{name}-1", **here),
        ):
            await answered(client, name)
            async with register(name, second.port, id=f"{name}-2", **here):
                end_s = time.monotonic() + 10
                while not second.requests:
                    assert time.monotonic() < end_s
                    assert (await client.get(f"http://{name}/items")).status_code == 200
            await asyncio.sleep(0.3)
            before = len(second.requests)
            assert [(await client.get(f"http://{name}/items")).status_code for _ in range(6)] == [200] * 6
            assert len(second.requests) == before


async def answered(client: httpx.AsyncClient, name: str) -> None:
    """Ask until the registry has told of the service."""
    end_s = time.monotonic() + 10
    while True:
        try:
            assert (await client.get(f"http://{name}/items")).status_code == 200
        except httpx.ConnectError:
            assert time.monotonic() < end_s
            await asyncio.sleep(0.02)
        else:
            return

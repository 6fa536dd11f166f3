"""The registry inside of the gateway: where it listens, and what happens where that is taken."""

from __future__ import annotations

import socket

import httpx
import pytest

from lbgateway.config import load_text
from lbgateway.dev_registry import RegistryNotStarted, start_registry
from tests.support.launch import free_ports


def settings(url: str, provider: str = "embedded"):
    return load_text(f"auth: {{default: none}}\ndiscovery: {{provider: {provider}, consul: {{url: '{url}'}}}}\n", "gw.yaml", {})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.3"])
async def test_it_listens_where_the_url_of_consul_points(host):
    """So that the same URL serves gateway and services."""
    [port] = free_ports(1)
    registry = await start_registry(settings(f"http://{host}:{port}"))
    assert registry is not None
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(f"http://{host}:{port}/v1/status/leader")).status_code == 200
    await registry.aclose()


async def test_no_other_provider_has_one():
    """A gateway over a real Consul opens no port of its own for it."""
    assert await start_registry(settings("http://127.0.0.1:1", "consul")) is None


async def test_a_taken_port_is_said_with_the_key_to_change():
    """And nothing is left running."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RegistryNotStarted) as caught:
            await start_registry(settings(f"http://127.0.0.1:{port}"))
    assert str(caught.value) == (
        f"the embedded registry cannot listen on 127.0.0.1:{port} (discovery.consul.url): it is in use by another process"
    )

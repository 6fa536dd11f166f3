"""The gateway's own calls to services: they share what clients' requests have taught it, and stand in nobody's way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from lbgateway import errors
from lbgateway.calls import KINDS, ServiceTransport, translated
from lbgateway.config import load_text
from lbgateway.errors import GatewayError
from lbgateway.runtime import Gateway
from tests.support.launch import free_ports
from tests.support.upstream_server import UpstreamServer, echo, hang


def settings(*ports: int):
    instances = ", ".join(f"'127.0.0.1:{port}'" for port in ports)
    text = f"discovery: {{provider: static}}\nlogging: {{access_log: false}}\nservices: {{auth: {{instances: [{instances}]}}}}\n"
    routes = "routes: [{prefix: /other, service: auth, auth: required}]\nauth: {jwt: {secret: '0123456789abcdef0123456789abcdef'}}\n"
    return load_text(text + routes, "gateway.yaml", {})


async def asked(ports: list[int], ask: Callable[[httpx.AsyncClient, Gateway], object], *, service: str | None = "auth"):
    """What `ask` makes of a client whose calls run through a gateway's plane."""
    made = settings(*ports)
    gateway = Gateway(made, asyncio.get_running_loop())
    await gateway.start()
    await gateway.settle(1.0)
    transport = ServiceTransport(gateway.plane)
    transport.lead_to(made, service, 1.0)
    try:
        async with httpx.AsyncClient(transport=transport) as client:
            return await ask(client, gateway)
    finally:
        for protocol in tuple(gateway.plane.connections):
            protocol.transport.abort()
        await gateway.aclose()
        await asyncio.sleep(0)


async def test_a_call_needs_no_route_of_a_client_and_no_token():
    """It arrives as it was written, below the upstream that clients use too, and counts in no route."""

    async def ask(client: httpx.AsyncClient, gateway: Gateway):
        answers = [await client.post("http://auth/validate?a=1", data={"token": "t"}) for _ in range(2)]
        [endpoint] = gateway.plane.upstreams["auth"].endpoints.endpoints.values()
        assert (endpoint.series.total, endpoint.active, gateway.plane.active) == (2, 0, set())
        assert gateway.plane.metrics.routes == {}
        return [(each.status_code, each.json()["target"], each.json()["body"]) for each in answers]

    async with UpstreamServer(echo) as service:
        assert await asked([service.port], ask) == [(200, "/validate?a=1", "token=t")] * 2
        assert len({request.connection for request in service.requests}) == 1


async def test_what_is_meant_for_a_gateway_does_not_go_on():
    """A field that asks a gateway to explain may hold an operator's token."""

    async def ask(client: httpx.AsyncClient, _gateway: Gateway):
        answer = await client.get("http://auth/", headers={"X-Gateway-Explain": "Bearer secret", "X-Forwarded-For": "192.0.2.9"})
        return answer.json()["headers"]

    async with UpstreamServer(echo) as service:
        fields = await asked([service.port], ask)
    assert "secret" not in str(fields)
    assert ["x-forwarded-for", "192.0.2.9"] in fields


async def test_an_instance_that_is_gone_is_not_noticed():
    """As with any other service, another one is asked."""
    (dead,) = free_ports(1)

    async def ask(client: httpx.AsyncClient, _gateway: Gateway):
        return {(await client.get("http://auth/")).status_code for _ in range(4)}

    async with UpstreamServer(echo) as service:
        assert await asked([dead, service.port], ask) == {200}


async def test_an_instance_that_hangs_is_given_up_for_another():
    """Within the bound of the whole call, where the request may be repeated."""

    async def ask(client: httpx.AsyncClient, _gateway: Gateway):
        return {(await client.get("http://auth/")).status_code for _ in range(2)}

    async with UpstreamServer(hang) as hanging, UpstreamServer(echo) as service:
        assert await asked([hanging.port, service.port], ask) == {200}


@pytest.mark.parametrize("service", ["auth", None])
async def test_other_services_are_not_to_be_reached(service):
    """Only the one that it was told of."""

    async def ask(client: httpx.AsyncClient, _gateway: Gateway):
        with pytest.raises(httpx.ConnectError, match="no service has the name 'orders'"):
            await client.get("http://orders/")

    async with UpstreamServer(echo) as running:
        await asked([running.port], ask, service=service)


@pytest.mark.parametrize(("ours", "theirs"), KINDS)
def test_errors_are_those_of_httpx(ours: type[GatewayError], theirs: type[httpx.TransportError]):
    """With the gateway's reason."""
    request = httpx.Request("GET", "http://auth/")
    made = translated(ours(cause="why"), request)
    assert type(made) is theirs
    assert "service 'auth': " in str(made)
    assert "(why)" in str(made)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.NoEndpoint(), httpx.ConnectError),
        (errors.BreakerOpen(), httpx.ConnectError),
        (errors.BadRequest(), httpx.LocalProtocolError),
    ],
)
def test_all_others_are_errors_of_connecting_or_of_the_request(error, kind):
    """By whose fault it is."""
    assert type(translated(error, httpx.Request("GET", "http://auth/"))) is kind

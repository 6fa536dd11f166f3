"""Health checks of the gateway's own, orders of operators and the stream of events: a real gateway, real sockets all the way."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.upstream_server import Connection, Received, UpstreamServer, UpstreamThread, answer, echo

WITHIN_S = 10.0
CHECK = {"path": "/healthz", "interval": "100ms", "unhealthy_after": 2, "healthy_after": 2}


class Patient:
    """An instance that answers every request, whatever its ``/healthz`` says."""

    def __init__(self) -> None:
        self.ill = False

    async def __call__(self, request: Received, connection: Connection) -> bool:
        if request.target != "/healthz":
            return await echo(request, connection)
        await connection.send(answer(b"", status="503 Ill" if self.ill else "200 Fine"))
        return True


@pytest.fixture
def patient() -> Patient:
    return Patient()


@pytest.fixture
def instances(patient: Patient) -> Iterator[tuple[UpstreamServer, UpstreamServer]]:
    with UpstreamThread(patient) as first, UpstreamThread(Patient()) as second:
        yield first, second


@pytest.fixture
def gateway(instances: tuple[UpstreamServer, UpstreamServer]) -> Iterator[GatewayProcess]:
    listed = [{"id": f"orders-{number}", "address": each.address} for number, each in enumerate(instances, 1)]
    orders = {"instances": listed, "balancer": "round_robin", "health_check": CHECK}
    config = {"auth": {"default": "none"}, "discovery": {"provider": "static"}, "services": {"orders": orders}}
    with GatewayProcess(config) as process:
        yield process


def ask(gateway: GatewayProcess, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    text = None if body is None else json.dumps(body)
    connection.request(method, path, body=text, headers={"Content-Type": "application/json"} if body is not None else {})
    answered = connection.getresponse()
    told = json.loads(answered.read())
    connection.close()
    return answered.status, told


def explained(gateway: GatewayProcess, name: str) -> Any:
    [one] = ask(gateway, "GET", f"/admin/upstreams/orders/explain?instance={name}")[1]["instances"]
    return one


def served(upstream: UpstreamServer) -> int:
    """How many requests that are no checks it has had."""
    return sum(request.target != "/healthz" for request in upstream.requests)


def test_an_instance_whose_check_fails_gets_nothing_until_it_passes_again(
    gateway: GatewayProcess, patient: Patient, instances: tuple[UpstreamServer, UpstreamServer]
) -> None:
    """It answers all the time: nobody but the check knows that it is ill. A reload changes nothing about that."""
    patient.ill = True
    wait_until(lambda: explained(gateway, "orders-1")["state"] == "unhealthy", WITHIN_S, "orders-1 to become unhealthy")
    gateway.reload()
    told = explained(gateway, "orders-1")
    assert (told["state"], told["pickable"]) == ("unhealthy", False)
    assert told["reason"] == "our health check: GET /healthz answered 503, 2 in a row"
    before = served(instances[0])
    assert {ask(gateway, "GET", "/api/orders/items")[0] for _ in range(6)} == {200}
    assert served(instances[0]) == before
    patient.ill = False
    wait_until(lambda: explained(gateway, "orders-1")["state"] == "ready", WITHIN_S, "orders-1 to become ready")
    assert [change["to"] for change in explained(gateway, "orders-1")["changes"]] == ["ready", "unhealthy"]


def test_an_order_holds_through_a_reload_and_is_told_to_whoever_watches(
    gateway: GatewayProcess, instances: tuple[UpstreamServer, UpstreamServer]
) -> None:
    """Drained, it gets nothing more; the stream says so, and ends with the gateway."""
    watcher = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    watcher.request("GET", "/admin/events?replay=0")
    stream = watcher.getresponse()
    assert stream.headers["content-type"].startswith("text/event-stream")
    status, told = ask(gateway, "POST", "/admin/upstreams/orders/orders-1/drain")
    assert (status, told["state"], told["reason"]) == (200, "draining", "drained by loopback")
    gateway.reload()
    before = served(instances[0])
    assert {ask(gateway, "GET", "/api/orders/items")[0] for _ in range(6)} == {200}
    assert served(instances[0]) == before
    assert ask(gateway, "POST", "/admin/upstreams/orders/orders-1/undrain")[1]["state"] == "ready"
    assert ask(gateway, "POST", "/admin/upstreams/orders/orders-1/weight", {"weight": 7})[1]["weight"] == 7
    assert gateway.stop() == 0
    lines = stream.read().decode().split("\n")
    watcher.close()
    events = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert [kind for kind in events if kind != "registry"] == ["instance", "operator", "reload", "instance", "operator", "operator"]
    assert [each["action"] for each in data if "action" in each] == ["drain", "undrain", "weight"]

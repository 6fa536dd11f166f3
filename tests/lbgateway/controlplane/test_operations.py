"""Actions and the stream of events over HTTP, in front of a gateway of the test's own."""

from __future__ import annotations

import httpx
import pytest
import structlog

from lbgateway.controlplane.admin_auth import AdminAccess
from lbgateway.controlplane.app import ControlPlaneSettings, build_app
from lbgateway.controlplane.operations import MOST_WATCHERS
from lbgateway.controlplane.port import VERBS, Command
from tests.support.fake_gateway import FakeGateway, instance

ADMIN = {"Authorization": "Bearer s3cret"}
INSTANCES = {"o-1": "n1:o-1", "n1:o-1": "n1:o-1", "o/2": "n2:o/2"}
BODIES = {"weight": {"weight": 5}}


def gateway() -> FakeGateway:
    return FakeGateway(
        {"orders": [instance("o-1"), instance("o/2", node="n2"), instance("twin"), instance("twin", node="n2")]}, unexposed=["hidden"]
    )


def client(port: FakeGateway) -> httpx.AsyncClient:
    app = build_app(port, ControlPlaneSettings(admin=AdminAccess(token="s3cret")), new_request_id=lambda: "r-1")
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=("192.0.2.7", 4711)), base_url="http://gateway", headers=ADMIN)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", ["o-1", "n1:o-1", "o/2"])
async def test_an_action_is_done_answered_and_logged(verb, name):
    """The answer is the instance as it is then; the log says who, what and to whom."""
    port = gateway()
    with structlog.testing.capture_logs() as logged:
        async with client(port) as http:
            answer = await http.post(f"/admin/upstreams/orders/{name}/{verb}", json=BODIES.get(verb))
    assert (answer.status_code, answer.json()["id"]) == (200, name.rpartition(":")[2])
    assert port.commands == [(f"orders/{name}", Command(verb, "admin token", **BODIES.get(verb, {})))]
    [line] = logged
    assert (line["event"], line["who"], line["action"], line["instance"]) == ("admin call", "admin token", verb, INSTANCES[name])
    assert line.get("weight") == BODIES.get(verb, {}).get("weight")


@pytest.mark.parametrize(
    ("path", "headers", "status", "says"),
    [
        ("orders/absent/drain", {}, 404, 'no instance "absent"'),
        ("absent/o-1/drain", {}, 404, 'no service "absent"'),
        ("hidden/o-1/drain", {}, 404, "not exposed"),
        ("orders/o-1/dance", {}, 404, "Nothing is served here"),
        ("orders/o-1/weight", {}, 400, "weight: a whole number"),
        ("orders/o-1/drain", {"Authorization": "Bearer wrong"}, 401, "not valid"),
        ("orders/o-1/drain", {"Sec-Fetch-Site": "cross-site"}, 403, "other sites"),
        ("orders/o-1/drain", {"Origin": "https://evil.example"}, 403, "other sites"),
    ],
)
async def test_what_is_refused_is_not_done(path, headers, status, says):
    """And says why."""
    port = gateway()
    async with client(port) as http:
        answer = await http.post(f"/admin/upstreams/{path}", headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert says in answer.json()["detail"]
    assert port.commands == []


async def test_an_id_that_two_nodes_have_is_a_question():
    """409 with the candidates, each of which would be an answer."""
    port = gateway()
    async with client(port) as http:
        answer = await http.post("/admin/upstreams/orders/twin/drain")
        assert (answer.status_code, answer.json()["candidates"]) == (409, ["n1:twin", "n2:twin"])
        assert (await http.post("/admin/upstreams/orders/n2:twin/drain")).json()["node"] == "n2"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_only_post_does_anything(method):
    """405 says so."""
    port = gateway()
    async with client(port) as http:
        answer = await http.request(method, "/admin/upstreams/orders/o-1/drain")
    assert (answer.status_code, answer.headers["allow"], port.commands) == (405, "POST", [])


async def test_events_are_streamed_to_whoever_may_see_them():
    """With the past first; the stream of a gateway that drains ends."""
    port = gateway()
    port.ring.tell("breaker", service="orders", state="open")
    port.ring.close()
    async with client(port) as http:
        refused = await http.get("/admin/events", headers={"Authorization": "Bearer wrong"})
        answer = await http.get("/admin/events")
    assert refused.status_code == 401
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert 'event: breaker\ndata: {"at":"1970-01-01T00:00:01.000Z","service":"orders","state":"open"}' in answer.text


async def test_watchers_are_bounded():
    """One more than a hundred is told to come back."""
    port = gateway()
    readers = [port.ring.read(None, replay=0) for _ in range(MOST_WATCHERS)]
    async with client(port) as http:
        answer = await http.get("/admin/events")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert len(port.ring.readers) == len(readers)

"""What the audit log tells of the operators' door: who, from where, what, and how it ended."""

import httpx
import pytest
import structlog
from starlette.responses import Response

from lbgateway.controlplane.admin_auth import AdminAccess
from lbgateway.controlplane.app import ControlPlaneSettings, build_app
from lbgateway.controlplane.audit import REFUSALS_A_SECOND, Audit
from lbgateway.errors import Forbidden, Unauthenticated
from tests.support.fake_gateway import FakeGateway

PEER = "192.0.2.7"


class Door:
    """Stands in for the application behind: lets in whom a test says, or nobody."""

    def __init__(self, status: int = 200, **state) -> None:
        self.status, self.state = status, state

    async def __call__(self, scope, receive, send):
        scope["state"].update(self.state)
        if not self.status:
            raise KeyError("a bug")
        await Response(b"", self.status)(scope, receive, send)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


async def ask(audit: Audit, method: str = "POST", path: str = "/admin/upstreams/orders/o-1/drain") -> list:
    """One request with an id; returns the events."""

    async def enveloped(scope, receive, send):
        scope["state"] = {"request_id": "r-1"}
        await audit(scope, receive, send)

    transport = httpx.ASGITransport(enveloped, client=(PEER, 4711), raise_app_exceptions=False)
    with structlog.testing.capture_logs() as events:
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            await http.request(method, path)
    return events


@pytest.mark.parametrize(("status", "told"), [(200, 200), (404, 404), (409, 409), (0, 500)])
async def test_a_call_that_changes_something_is_told_with_its_end(status, told):
    """Also one that failed, and one that ran into a bug."""
    [event] = await ask(Audit(Door(status, caller="admin token")))

    facts = {"peer": PEER, "method": "POST", "path": "/admin/upstreams/orders/o-1/drain", "status": told, "request_id": "r-1"}
    assert event == {"event": "admin call", "log_level": "info", "who": "admin token", **facts}


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_reading_is_not_told(method):
    """The page reads every few seconds."""
    assert await ask(Audit(Door(caller="admin token")), method) == []


async def test_what_is_behind_no_door_is_not_told():
    """Health and what is not there at all."""
    assert await ask(Audit(Door(405)), "POST", "/health") == []


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("refusal", "reason"),
    [(Unauthenticated("The token is not valid", cause="expired"), "expired"), (Forbidden("It is closed"), "It is closed")],
)
async def test_who_is_turned_away_is_told_with_the_reason(method, refusal, reason):
    """For reading as well: somebody tries the door."""
    [event] = await ask(Audit(Door(refusal.status, refusal=refusal)), method, "/admin/config")

    assert (event["event"], event["log_level"], event["reason"]) == ("admin access refused", "warning", reason)
    assert (event["peer"], event["method"], event["path"], event["status"]) == (PEER, method, "/admin/config", refusal.status)
    assert "who" not in event


async def test_a_crowd_is_told_of_in_part():
    """So many a second, and then how many were not."""
    clock = Clock()
    audit = Audit(Door(401, refusal=Unauthenticated()), clock)

    events = [event for _ in range(REFUSALS_A_SECOND + 7) for event in await ask(audit)]
    assert len(events) == REFUSALS_A_SECOND
    clock.now_s += 1.0
    [late] = await ask(audit)
    assert late["not_told_before"] == 7
    [later] = await ask(audit)
    assert "not_told_before" not in later


async def test_what_is_not_http_passes():
    """Lifespan events have nobody at the door."""
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    await Audit(app)({"type": "lifespan"}, None, None)

    assert seen == ["lifespan"]


async def test_the_application_tells_who_is_turned_away_and_shows_no_credential():
    """The guard's own word, through the whole application; what was shown as a token is not repeated."""
    app = build_app(FakeGateway({}), ControlPlaneSettings(admin=AdminAccess(token="s3cret")), new_request_id=lambda: "r-1")
    with structlog.testing.capture_logs() as events:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(PEER, 1)), base_url="http://gateway") as http:
            for value in ("Bearer s3cret", "Bearer s3cre", "Basic s3cre"):
                await http.get("/admin/config", headers={"Authorization": value})
            await http.get("/admin/config?token=s3cre")

    assert [(event["event"], event["status"], event["request_id"]) for event in events] == [("admin access refused", 401, "r-1")] * 3
    assert "s3cre" not in str(events)

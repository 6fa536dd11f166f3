"""The outermost layer: every answer has an id, and a bug has an answer."""

import httpx
import pytest
import structlog
from starlette.responses import Response

from lbgateway.controlplane.envelope import Envelope


def client(app) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(Envelope(app, lambda: "r-1")), base_url="http://gateway")


async def test_an_answer_gets_an_id_and_is_not_to_be_cached():
    """What the application does not say is said for it."""

    async def app(scope, receive, send):
        await Response(b"x")(scope, receive, send)

    async with client(app) as http:
        answer = await http.get("/")

    assert answer.headers["x-request-id"] == "r-1"
    assert answer.headers["via"] == "1.1 lbgateway"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_what_the_application_says_wins():
    """No field is doubled."""

    async def app(scope, receive, send):
        await Response(b"x", headers={"cache-control": "max-age=5"})(scope, receive, send)

    async with client(app) as http:
        answer = await http.get("/")

    assert answer.headers.get_list("cache-control") == ["max-age=5"]


async def test_an_id_that_the_data_plane_has_given_is_kept():
    """One request has one id, in every log."""
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["state"]["request_id"])
        await Response(b"x")(scope, receive, send)

    async def data_plane(scope, receive, send):
        scope["state"] = {"request_id": "r-9"}
        await Envelope(app, lambda: "r-1")(scope, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(data_plane), base_url="http://gateway") as http:
        answer = await http.get("/")

    assert answer.headers["x-request-id"] == "r-9"
    assert seen == ["r-9"]


async def test_a_bug_is_500_and_logged_with_the_same_id():
    """In the gateway's format, without a word about the inside."""

    async def app(scope, receive, send):
        raise KeyError("10.0.0.7")

    with structlog.testing.capture_logs() as events:
        async with client(app) as http:
            answer = await http.get("/x")

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "r-1"
    assert "10.0.0.7" not in answer.text
    assert [(event["event"], event["request_id"], event["path"]) for event in events] == [("control_plane_bug", "r-1", "/x")]


async def test_a_bug_after_the_head_cuts_the_answer():
    """A second head would be read as part of the body."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeyError("late")

    with structlog.testing.capture_logs():
        async with client(app) as http:
            with pytest.raises(KeyError):
                await http.get("/")


async def test_what_is_not_http_passes_untouched():
    """Lifespan events have no answer to dress."""
    seen = []

    async def app(scope, receive, send):
        seen.append(scope)

    await Envelope(app, lambda: "r-1")({"type": "lifespan"}, None, None)

    assert seen == [{"type": "lifespan"}]

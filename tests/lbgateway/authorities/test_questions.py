"""Services that are asked over HTTP: what they are shown, and which of their answers count."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from lbgateway.authorities.asking import Unanswered
from lbgateway.authorities.questions import Introspection, SessionService
from lbgateway.policies.testimony import Fails, Holds
from tests.lbgateway.test_own_client import Body

Answer = Callable[[httpx.Request], httpx.Response]


class Service:
    """Answers by a function; keeps what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self.answer(request)

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self)


def says(status: int, told: Any = None) -> Answer:
    return lambda _request: httpx.Response(status, stream=Body(b"" if told is None else json.dumps(told).encode()))


def refuses(*methods: str, status: int = 405) -> Answer:
    return lambda request: httpx.Response(status if request.method in methods else 200, stream=Body(b'{"sub": "ann"}'))


async def ask(made: Any, credential: bytes = b"tok") -> Any:
    """The answer, or why there is none."""
    try:
        return await made.ask(credential)
    except Unanswered as error:
        return str(error)


async def test_a_session_service_is_shown_the_cookie():
    """And nothing else of the request."""
    service = Service(says(200, {"sub": "ann"}))
    made = SessionService("http://sessions/validate?full=1", "sid", service.transport)
    assert await ask(made, b"s%3Aabc.def") == Holds({"sub": "ann"}, math.inf)
    [request] = service.asked
    assert (request.method, str(request.url), request.headers["Cookie"]) == ("GET", "http://sessions/validate?full=1", "sid=s%3Aabc.def")
    await made.asking.aclose()


async def test_a_token_is_shown_in_both_of_the_usual_ways():
    """As RFC 7662 has it, and as to any other service; each question may be asked again by itself."""
    service = Service(says(200, {"active": True, "sub": "ann"}))
    made = Introspection("http://auth/validate", service.transport)
    for token in (b"a+b/c==", b"other"):
        assert await ask(made, token) == Holds({"active": True, "sub": "ann"}, math.inf)
    first, second = service.asked
    assert (first.method, str(first.url)) == ("POST", "http://auth/validate")
    assert parse_qs(first.content.decode()) == {"token": ["a+b/c=="], "token_type_hint": ["access_token"]}
    assert first.headers["Authorization"] == "Bearer a+b/c=="
    assert first.headers["Idempotency-Key"] != second.headers["Idempotency-Key"]
    await made.asking.aclose()


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_service_that_knows_no_post_is_asked_with_get(status):
    """Found out once."""
    service = Service(refuses("POST", status=status))
    made = Introspection("http://auth/validate", service.transport)
    for _ in range(3):
        assert await ask(made) == Holds({"sub": "ann"}, math.inf)
    assert [request.method for request in service.asked] == ["POST", "GET", "GET", "GET"]
    await made.asking.aclose()


async def test_a_client_of_the_service_shows_its_name_and_its_secret():
    """As RFC 6749 has it, encoded like a form, and the token in the body only."""
    service = Service(says(200, {"active": True, "sub": "ann"}))
    made = Introspection("http://auth/validate", service.transport, ("gate:way", "a b%ü"))
    assert await ask(made) == Holds({"active": True, "sub": "ann"}, math.inf)
    [request] = service.asked
    scheme, _, shown = request.headers["Authorization"].partition(" ")
    assert (request.method, scheme, base64.b64decode(shown)) == ("POST", "Basic", b"gate%3Away:a+b%25%C3%BC")
    assert parse_qs(request.content.decode())["token"] == ["tok"]
    await made.asking.aclose()


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (says(200, {"active": False}), Fails("inactive")),
        (says(400), "the answer has the status 400"),
        (says(401), "client_id and client_secret are not accepted: the answer has the status 401"),
        (says(403), "client_id and client_secret are not accepted: the answer has the status 403"),
        (says(405), "the answer has the status 405"),
    ],
)
async def test_what_is_wrong_with_the_client_turns_no_token_away(answer, outcome):
    """Only 200 says anything about the token, and GET is not tried."""
    service = Service(answer)
    made = Introspection("http://auth/validate", service.transport, ("gateway", "secret"))
    assert await ask(made) == outcome
    assert len(service.asked) == 1
    await made.asking.aclose()


async def test_a_service_that_knows_neither_is_none():
    """A wrong path is the operator's mistake: nobody is told 401 for it."""
    service = Service(refuses("POST", "GET", status=404))
    made = Introspection("http://auth/validate", service.transport)
    for _ in range(2):
        assert await ask(made) == "the answer has the status 404"
    assert [request.method for request in service.asked] == ["POST", "GET"] * 2
    await made.asking.aclose()


@pytest.mark.parametrize(
    ("answer", "session", "token"),
    [
        (says(200), Holds({}, math.inf), Holds({}, math.inf)),
        (says(401), Fails("session"), Fails("inactive")),
        (says(200, {"active": False}), Fails("session"), Fails("inactive")),
        (says(500), "the answer has the status 500", "the answer has the status 500"),
        (says(302), "the answer has the status 302", "the answer has the status 302"),
        (says(200, "x" * 70_000), "the answer is larger than 64 KiB", "the answer is larger than 64 KiB"),
    ],
)
async def test_what_an_answer_means(answer, session, token):
    """The same for both kinds of services, but for the reason."""
    sessions = SessionService("http://sessions/validate", "sid", Service(answer).transport)
    tokens = Introspection("http://auth/validate", Service(answer).transport)
    assert (await ask(sessions), await ask(tokens)) == (session, token)
    await sessions.asking.aclose()
    await tokens.asking.aclose()


async def test_nobody_there_is_no_answer():
    """The reason is for operators; it holds no credential."""

    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    made = SessionService("http://sessions/validate", "sid", Service(away).transport)
    assert await ask(made) == "refused"
    await made.asking.aclose()

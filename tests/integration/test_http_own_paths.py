"""The gateway's own paths: an ASGI application behind the same connection, with the same rules."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.live_gateway import LiveGateway, one_upstream
from tests.support.wire import Cut, Listener, Wire, ok

Pair = tuple[LiveGateway, Listener]


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Does what the path's end says."""
    what = scope["path"].rpartition("/")[2]
    if what == "raise":
        raise RuntimeError("a bug")
    body = b""
    if what == "body":
        body = (await receive())["body"]
    if what == "forever":
        await asyncio.Event().wait()
    headers = [(b"content-length", b"%d" % len(body))] if what == "body" else []
    await send({"type": "http.response.start", "status": 204 if what == "nothing" else 200, "headers": headers})
    if what == "events":
        for number in range(3):
            await send({"type": "http.response.body", "body": b"event %d\n" % number, "more_body": True})
    if what == "break":
        await send({"type": "http.response.body", "body": b"some", "more_body": True})
        raise RuntimeError("a late bug")
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def pair() -> Iterator[Pair]:
    with one_upstream({"server": {"body_timeout": "300ms"}}) as made:
        made[0].gateway.plane.application = application
        yield made


def post(path: str, *lines: str, version: str = "1.1") -> bytes:
    return "\r\n".join((f"POST {path} HTTP/{version}", "Host: a", *lines, "", "")).encode()


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_body_without_length_is_framed_as_the_client_knows_it(pair: Pair, version: str) -> None:
    """Chunked, or to the end of the connection."""
    gateway, _ = pair
    with gateway.connect() as client:
        client.send(f"GET /admin/events HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\n\r\n".encode())
        answer = client.message()

    assert answer.body == b"event 0\nevent 1\nevent 2\n"
    assert answer.get("Transfer-Encoding") == ("chunked" if version == "1.1" else None)
    assert answer.get("Connection") == (None if version == "1.1" else "close")


@pytest.mark.parametrize(("method", "path"), [("HEAD", "/admin/events"), ("GET", "/admin/nothing"), ("HEAD", "/admin/body")])
def test_answers_without_a_body_have_none(pair: Pair, method: str, path: str) -> None:
    """And the next one follows at once."""
    gateway, _ = pair
    with gateway.connect() as client:
        for _ in range(2):
            assert client.send(f"{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()).message(bodyless=True).status in (200, 204)


def test_a_bug_is_500_and_closes(pair: Pair) -> None:
    """Said as a problem while nothing has been said, by a cut answer afterwards."""
    gateway, _ = pair
    with gateway.connect() as client:
        answer = client.get("/admin/raise").message()
        assert (answer.status, json.loads(answer.body)["type"]) == (500, "urn:lbgateway:problem:internal_error")
        assert client.ended(1)
    with gateway.connect() as client, pytest.raises(Cut):
        client.get("/admin/break").message()


def test_a_body_arrives_whole_in_whatever_pieces(pair: Pair) -> None:
    """By length or in chunks, alone or behind another request."""
    gateway, _ = pair
    with gateway.connect() as client:
        client.send(post("/admin/body", "Content-Length: 9"), b"one ", b"piece", pause_s=0.02)
        assert client.message().body == b"one piece"
        client.send(post("/admin/body", "Transfer-Encoding: chunked"), b"3\r\none\r\n", b"3\r\ntwo\r\n0\r\n\r\n", pause_s=0.02)
        assert client.message().body == b"onetwo"


def test_a_body_that_waited_behind_another_request_is_read_on(pair: Pair) -> None:
    """Reading stopped behind it, and goes on when its turn comes."""
    gateway, upstream = pair
    with gateway.connect() as client:
        client.send(b"GET /api/orders/ HTTP/1.1\r\nHost: a\r\n\r\n" + post("/admin/body", "Content-Length: 9") + b"one ")
        server = upstream.accept()
        server.message()
        client.send(b"piece")
        server.send(ok(b"first"))

        assert client.message().body == b"first"
        assert client.message().body == b"one piece"


def test_a_client_that_waits_for_a_word_gets_it(pair: Pair) -> None:
    """`Expect: 100-continue`, when the application asks for the body."""
    gateway, _ = pair
    with gateway.connect() as client:
        client.send(post("/admin/body", "Content-Length: 4", "Expect: 100-continue"))
        assert client.message().status == 100
        client.send(b"body")
        assert client.message().body == b"body"
        assert client.get("/admin/nothing").message().status == 204


EXPECTING = ("Content-Length: 4", "Expect: 100-continue")


@pytest.mark.parametrize("lines", [("Content-Length: 1000000",), ("Transfer-Encoding: chunked",), EXPECTING])
def test_a_body_that_the_application_does_not_read_closes(pair: Pair, lines: tuple[str, ...]) -> None:
    """Unless it is small and surely on its way."""
    gateway, _ = pair
    with gateway.connect() as client:
        answer = client.send(post("/admin/nothing", *lines)).message()

        assert (answer.status, answer.get("Connection")) == (204, "close")
        assert client.ended(3)


def test_a_small_body_that_the_application_does_not_read_is_skipped(pair: Pair) -> None:
    """The next request begins behind it."""
    gateway, _ = pair
    with gateway.connect() as client:
        client.send(post("/admin/nothing", "Content-Length: 4"), b"body", pause_s=0.02)
        assert client.message().status == 204
        assert client.get("/admin/nothing").message().status == 204


def test_a_body_that_is_too_large_is_413(pair: Pair) -> None:
    """No endpoint of the gateway needs more than a few lines."""
    gateway, _ = pair
    with gateway.connect() as client:
        client.send(post("/admin/body", "Content-Length: 1000000"), b"x" * 100_000)

        assert client.message().status == 413
        assert client.ended(3)


def test_a_body_that_stands_still_is_408(pair: Pair) -> None:
    """Drips may take as long as they need."""
    gateway, _ = pair
    with gateway.connect() as client:
        client.send(post("/admin/body", "Content-Length: 6"), *[b"x"] * 6, pause_s=0.1)
        assert client.message().body == b"xxxxxx"
        client.send(post("/admin/body", "Content-Length: 6"), b"xxx")

        assert client.message().status == 408
        assert client.ended(1)


@pytest.mark.parametrize("how", [Wire.close, Wire.reset])
def test_the_application_learns_that_the_client_has_left(pair: Pair, how: Any) -> None:
    """Its task is cancelled; nothing runs for nobody."""
    gateway, _ = pair
    client = gateway.connect().get("/admin/forever")
    assert client.silent(0.05)
    assert gateway.call(lambda root: len(root.plane._tasks)) == 1
    how(client)

    for _ in range(100):
        if gateway.call(lambda root: len(root.plane._tasks)) == 0:
            break
    assert gateway.call(lambda root: len(root.plane._tasks)) == 0

"""The gateway's own paths: a small application behind fake transports, run by the test's own loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from lbgateway.dataplane.asgi import CONTINUE, MAX_BODY_BYTES
from lbgateway.dataplane.plane import Limits
from lbgateway.errors import Forbidden
from lbgateway.problem import problem_dict
from tests.support.playbook import Client, HandLoop, World, request

Application = Callable[[Any, Any, Any], Awaitable[None]]
CHUNKED = "Transfer-Encoding: chunked"
CLOSE = b"\r\nConnection: close\r\n"


class OwnLoop(HandLoop):
    """Timers are the test's, tasks are real."""

    def create_task(self, coroutine: Any) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(coroutine)


def gateway(application: Application) -> World:
    world = World()
    world.plane.loop = OwnLoop()  # type: ignore[assignment]  # the part of a loop that it needs
    world.plane.application = application  # type: ignore[assignment]  # a coroutine function
    return world


async def settled(world: World) -> None:
    """Everything that needs no news has happened."""
    for _ in range(10):
        await asyncio.sleep(0)
        world.turn()


async def asked(world: World, *parts: bytes) -> Client:
    client = world.client().sends(*parts)
    await settled(world)
    return client


def answering(body: bytes = b"fine", *headers: tuple[bytes, bytes], status: int = 200) -> Application:
    """Reads the request, answers at once."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        await send({"type": "http.response.body", "body": body})

    return application


def sized(body: bytes = b"fine") -> Application:
    return answering(body, (b"content-length", b"%d" % len(body)))


class Telling:
    """Keeps what it was told and answers with 204."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []
        self.messages: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        self.messages.append(await receive())
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


# -- what the application is told ------------------------------------------------------------------


async def test_the_scope_of_a_request():
    """ASGI 3, HTTP: names in small letters, the path resolved, Host and length back in their place."""
    told = Telling()
    await asked(gateway(told), request("POST", "/admin/x%7Ey%20z%3A1?a=1&b", "X-Thing: One", "Content-Length: 2", body=b"{}"))
    [scope] = told.scopes
    request_id = scope.pop("state")["request_id"]
    assert len(request_id) == 32
    assert sorted(scope.pop("headers")) == [(b"content-length", b"2"), (b"host", b"shop.example"), (b"x-thing", b"One")]
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/admin/x~y z:1",
        "raw_path": b"/admin/x~y%20z%3A1",
        "query_string": b"a=1&b",
        "root_path": "",
        "client": ("192.0.2.7", 0),
        "server": (None, 8080),
    }


@pytest.mark.parametrize(
    ("parts", "body"),
    [
        ((request("GET", "/health"),), b""),
        ((request("POST", "/admin/x", "Content-Length: 6"), b"abc", b"def"), b"abcdef"),
        ((request("POST", "/admin/x", CHUNKED), b"3\r\nabc\r\n", b"3\r\ndef\r\n0\r\n\r\n"), b"abcdef"),
    ],
)
async def test_a_body_is_told_whole(parts: tuple[bytes, ...], body: bytes):
    """However it came: bodies here are small."""
    told = Telling()
    client = await asked(gateway(told), *parts)
    assert told.messages == [{"type": "http.request", "body": body, "more_body": False}]
    assert client.got().startswith(b"HTTP/1.1 204 ")


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked():
    """100 (Continue) comes when the application wants the body, once."""
    client = await asked(gateway(sized()), request("POST", "/admin/x", "Content-Length: 2", "Expect: 100-continue"))
    assert client.got() == CONTINUE
    client.sends(b"{}")
    await settled(client.world)
    assert client.got().startswith(b"HTTP/1.1 200 OK\r\n")
    assert not client.closed


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "status"), [(MAX_BODY_BYTES, 200), (MAX_BODY_BYTES + 1, 413)])
async def test_how_large_a_body_may_be(size: int, status: int):
    """One byte more is refused, and nothing more is read for it."""
    client = await asked(gateway(sized()), request("POST", "/admin/x", f"Content-Length: {size}"), b"x" * size)
    answer = client.got()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert (CLOSE in answer) is (status == 413)


async def test_a_body_that_stands_still_is_given_up():
    """At the second look: at the first one something had come."""
    world = gateway(sized())
    client = await asked(world, request("POST", "/admin/x", "Content-Length: 5"), b"ab")
    loop: Any = world.plane.loop
    [(delay_s, look)] = loop.timers
    assert delay_s == world.plane.body_timeout_s
    look()
    assert client.got() == b""
    loop.timers[-1].callback()
    await settled(world)
    answer = client.got()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert CLOSE in answer


# -- answers ---------------------------------------------------------------------------------------


async def test_an_answer_with_its_length_is_passed_on_as_it_is():
    """And the connection takes the next request."""
    client = await asked(gateway(sized()), request("GET", "/health"))
    head, body = client.got().split(b"\r\n\r\n")
    assert (body, b"content-length: 4" in head, b"Transfer-Encoding" in head, b"Connection" in head) == (b"fine", True, False, False)
    assert b"\r\nX-Request-Id: " in head
    client.sends(request("GET", "/health"))
    await settled(client.world)
    assert client.got().endswith(b"\r\n\r\nfine")
    assert not client.closed


async def test_an_answer_without_a_length_is_chunked():
    """Each message is a chunk; an empty one is none, or it would end the body."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        for piece in (b"abc", b"", b"0123456789"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"end"})

    client = await asked(gateway(application), request("GET", "/health"))
    head, _, body = client.got().partition(b"\r\n\r\n")
    assert b"\r\nTransfer-Encoding: chunked" in head
    assert body == b"3\r\nabc\r\na\r\n0123456789\r\n3\r\nend\r\n0\r\n\r\n"
    assert not client.closed


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_that_has_no_body_is_not_chunked(status: int):
    """RFC 9112, 6.3: its head ends it."""
    client = await asked(gateway(answering(b"", status=status)), request("GET", "/health"))
    answer = client.got()
    assert (b"chunked" in answer, answer.endswith(b"\r\n\r\n"), client.closed) == (False, True, False)


@pytest.mark.parametrize("application", [sized(), answering()])
async def test_head_gets_the_head_only(application: Application):
    """Of a known length and of an unknown one."""
    client = await asked(gateway(application), request("HEAD", "/health"))
    answer = client.got()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert (answer.index(b"\r\n\r\n"), client.closed) == (len(answer) - 4, False)


@pytest.mark.parametrize(
    ("application", "lines", "line", "closed"),
    [
        (sized(), (), CLOSE, True),
        (sized(), ("Connection: keep-alive",), b"\r\nConnection: keep-alive\r\n", False),
        (answering(), ("Connection: keep-alive",), CLOSE, True),
    ],
)
async def test_a_client_of_http_1_0_gets_no_chunks(application: Application, lines: tuple[str, ...], line: bytes, closed: bool):
    """It stays connected only if it asked for it and the length says where the answer ends."""
    client = await asked(gateway(application), request("GET", "/health", *lines, version="1.0"))
    answer = client.got()
    assert line in answer
    assert (b"chunked" in answer, answer.endswith(b"\r\n\r\nfine"), client.closed) == (False, True, closed)


async def test_a_gateway_that_goes_down_says_so():
    """No connection is kept."""
    world = gateway(sized())
    world.plane.drain()
    client = await asked(world, request("GET", "/health"))
    assert CLOSE in client.got()
    assert client.closed


async def test_a_client_that_does_not_read_makes_the_application_wait():
    """`send` returns when there is room again."""
    sent: list[int] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        for number in range(3):
            await send({"type": "http.response.body", "body": b"x", "more_body": number < 2})
            sent.append(number)

    world = gateway(application)
    client = world.client()
    client.stalls()
    client.sends(request("GET", "/health"))
    await settled(world)
    assert sent == []
    client.flows()
    await settled(world)
    assert (sent, client.got().endswith(b"0\r\n\r\n")) == ([0, 1, 2], True)


async def endless(world: World, client: Client) -> tuple[Client, list[str]]:
    """An answer without an end, to a client that takes nothing by itself; and what has become of the application."""
    ended: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        try:
            await send({"type": "http.response.start", "status": 200})
            while True:
                await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
        finally:
            ended.append("ended")

    world.plane.application = application
    world.plane.body_timeout_s = 0.1
    client.stalls()
    client.sends(request("GET", "/metrics"))
    await settled(world)
    return client, ended


async def test_a_client_that_reads_nothing_is_cut():
    """After the time that it has between two pieces of a body; the application ends with it."""
    world = gateway(sized())
    client, ended = await endless(world, world.client())
    async with asyncio.timeout(5):
        while not ended:  # noqa: ASYNC110 the world's turns are the test's
            await asyncio.sleep(0.01)
    await settled(world)
    assert (client.cut, world.plane.connections) == (True, set())


async def test_a_client_that_reads_slowly_is_not_cut():
    """Each byte that it takes gives it time again."""
    world = gateway(sized())
    client, ended = await endless(world, world.client())
    for _ in range(20):
        client.transport.takes(1)
        await asyncio.sleep(0.03)
    assert (client.cut, ended) == (False, [])
    client.resets()
    await settled(world)
    assert ended == ["ended"]


# -- what goes wrong -------------------------------------------------------------------------------


async def failing(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("secret detail")


async def silent(scope: Any, receive: Any, send: Any) -> None:
    await receive()


@pytest.mark.parametrize("application", [failing, silent])
async def test_an_application_that_fails_is_a_500(application: Application):
    """A problem that tells the client nothing of what went wrong, counted like every other; the log has it."""
    world = gateway(application)
    client = await asked(world, request("GET", "/health"))
    answer = client.got()
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b'"type":"urn:lbgateway:problem:internal_error"' in answer
    assert b"secret" not in answer
    assert (CLOSE in answer, client.closed, world.plane.metrics.errors["internal_error"]) == (True, True, 1)


async def test_trailers_without_end_end_the_connection():
    """What comes behind them is not read, so nobody may go on to ask."""

    async def reading(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass

    world = gateway(reading)
    world.plane.limits = Limits(max_head_bytes=1000)
    trailers = b"".join(b"X-Sum-%d: 1\r\n" % number for number in range(100))
    client = await asked(world, request("POST", "/admin/x", "Transfer-Encoding: chunked") + b"1\r\na\r\n0\r\n", trailers)
    answer = client.got()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert CLOSE in answer


async def test_an_application_that_fails_in_the_midst_of_its_answer():
    """No second answer, and no last chunk that would make the first one look complete."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        raise ValueError("too late")

    client = await asked(gateway(application), request("GET", "/health"))
    answer = client.got()
    assert (answer.count(b"HTTP/1.1"), answer.endswith(b"\r\n\r\n3\r\nabc\r\n"), client.closed) == (1, True, True)


@pytest.mark.parametrize(
    ("told", "pieces", "arrives", "cut"),
    [
        (4, (b"fine",), b"fine", False),
        (4, (b"fi", b"ne", b""), b"fine", False),
        (4, (b"fine, and more",), b"fine", False),
        (4, (b"fi", b"ne", b"HTTP/1.1 200 OK"), b"fine", False),
        (0, (b"fine",), b"", False),
        (9, (b"fine",), b"fine", True),
        (9, (b"fi", b"ne"), b"fine", True),
    ],
)
async def test_a_body_is_as_long_as_was_told_or_the_connection_ends(told: int, pieces: tuple[bytes, ...], arrives: bytes, cut: bool):
    """A file that grows or shrinks while it is sent: what is too much would be read as the next answer, and that as what is too little."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % told)]})
        for number, piece in enumerate(pieces, 1):
            await send({"type": "http.response.body", "body": piece, "more_body": number < len(pieces)})

    client = await asked(gateway(application), request("GET", "/health"))
    assert (client.got().partition(b"\r\n\r\n")[2], client.closed) == (arrives, cut)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 304), ("GET", 204)])
async def test_an_answer_without_a_body_is_whole_whatever_length_is_told(method: str, status: int):
    """That of the body which there would have been."""
    client = await asked(gateway(answering(b"", (b"content-length", b"9"), status=status)), request(method, "/health"))
    assert (client.got().partition(b"\r\n\r\n")[2], client.closed) == (b"", False)


async def test_a_client_that_leaves_ends_the_application():
    """Its task is cancelled, and nothing is written to nobody."""
    ended: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(scope["path"])

    world = gateway(application)
    client = await asked(world, request("GET", "/health"))
    client.resets()
    await settled(world)
    assert (ended, client.got(), world.plane._tasks) == (["/health"], b"", set())


async def test_an_application_that_listens_on_hears_of_the_end():
    """After its answer is complete `receive` says so."""
    heard: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await sized()(scope, receive, send)
        heard.append(await receive())

    client = await asked(gateway(application), request("GET", "/health"))
    assert heard == [{"type": "http.disconnect"}]
    assert client.got().count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_an_own_refusal_is_counted_and_logged(method):
    """By its slug, like one of the data plane's; an answer that only looks like one is none."""
    problem = json.dumps(problem_dict(Forbidden(), "1")).encode()
    for status, body, slug in ((403, problem, "forbidden"), (503, b'{"status": "draining"}', None), (200, problem, None)):
        world = gateway(answering(body, (b"content-length", b"%d" % len(body)), status=status))
        world.plane.access_log = records = []  # type: ignore[assignment]  # `append` is all that is called
        await asked(world, request(method, "/admin/x"))
        [record] = records
        assert record[9:11] == (status, slug)
        assert world.plane.metrics.errors == ({slug: 1} if slug else {})


async def test_an_own_answer_is_logged():
    """With the gateway itself in place of a route."""
    world = gateway(sized())
    records: list[Any] = []
    world.plane.access_log = records  # type: ignore[assignment]  # `append` is all that is called
    client = await asked(world, request("POST", "/admin/x?y", "Content-Length: 2", "User-Agent: curl/8", body=b"{}"))
    [record] = records
    assert record[2:11] == ("192.0.2.7", "POST", b"shop.example", b"/admin/x?y", "(gateway)", None, None, 200, None)
    assert record[12:] == (None, 0, 2, len(client.got()), b"curl/8", False, "192.0.2.7", None, None, None, 0)

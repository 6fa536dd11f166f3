"""Heads and bodies between an exchange and httpx: nothing lost, nothing added, nothing that two could read differently."""

from __future__ import annotations

import asyncio

import hypothesis
import pytest
from hypothesis import strategies as st

from lbgateway.dataplane.head import ResponseHead
from lbgateway.dataplane.httpx_message import HIGH_WATER_BYTES, RequestBody, may_stay, request_parts, response_head
from lbgateway.errors import UpstreamClosed, UpstreamMalformed


class Writer:
    """Who writes a body, and what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pause_writing(self) -> None:
        self.told.append("wait")

    def resume_writing(self) -> None:
        self.told.append("go on")

    def say_continue(self) -> None:
        self.told.append("continue")


def head(*lines: str) -> bytes:
    return "\r\n".join(("POST /a?b={c} HTTP/1.1", "Host: shop.example", *lines, "", "")).encode("latin-1")


def test_a_head_is_taken_apart() -> None:
    """Names keep their spelling and their order, values their bytes, the target every character."""
    parts = request_parts(head("X-A: b: c", "x-a: \xe4", "Content-Length: 3", "X-Empty: "))

    assert (parts.method, parts.target, parts.framing, parts.expects_continue) == (b"POST", b"/a?b={c}", b"Content-Length: 3\r\n", False)
    assert parts.headers == [
        (b"Host", b"shop.example"),
        (b"X-A", b"b: c"),
        (b"x-a", b"\xe4"),
        (b"Content-Length", b"3"),
        (b"X-Empty", b""),
    ]


def test_what_we_tell_our_neighbour_in_http_1_goes_no_further() -> None:
    """httpx can do none of it, and HTTP/2 forbids it."""
    parts = request_parts(head("Connection: Upgrade", "Upgrade: websocket", "TE: trailers", "Expect: 100-continue", "X-A: b"))

    assert [name for name, _ in parts.headers] == [b"Host", b"X-A"]
    assert (parts.framing, parts.expects_continue) == (b"", True)


async def all_of(body: RequestBody) -> list[bytes]:
    return [piece async for piece in body]


async def test_a_request_without_a_body_has_no_pieces() -> None:
    """And does not wait for any."""
    assert await all_of(RequestBody(request_parts(head()), Writer())) == []


@pytest.mark.parametrize(
    ("framing", "written", "pieces"),
    [
        ("Content-Length: 5", [b"hel", b"lo"], [b"hel", b"lo"]),
        ("Transfer-Encoding: chunked", [b"3\r\nhel\r\n", b"2\r\nlo\r\n0\r\n\r\n"], [b"hel", b"lo"]),
        ("Transfer-Encoding: chunked", [b"1\r\na\r\n", b"0\r\nX-Sum: 1\r\n\r\n"], [b"a"]),
        ("Content-Length: 0", [], []),
    ],
)
async def test_a_body_loses_its_framing(framing: str, written: list[bytes], pieces: list[bytes]) -> None:
    """Trailers are dropped."""
    body = RequestBody(request_parts(head(framing)), Writer())
    for data in written:
        body.feed(data)

    assert await all_of(body) == pieces


@hypothesis.given(st.lists(st.binary(min_size=1, max_size=HIGH_WATER_BYTES), max_size=8), st.integers(0, 8))
def test_no_byte_is_lost_and_nobody_waits_for_ever(pieces: list[bytes], early: int) -> None:
    """Whatever is there when httpx begins to ask: all of it arrives, and every "wait" is followed by "go on"."""
    writer = Writer()

    async def story() -> list[bytes]:
        body = RequestBody(request_parts(head("Transfer-Encoding: chunked")), writer)
        written = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces] + [b"0\r\n\r\n"]
        for data in written[:early]:
            body.feed(data)
        reading = asyncio.create_task(all_of(body))
        for data in written[early:]:
            await asyncio.sleep(0)
            body.feed(data)
        return await asyncio.wait_for(reading, 5)

    assert b"".join(asyncio.run(story())) == b"".join(pieces)
    assert writer.told == ["wait", "go on"] * (len(writer.told) // 2)


async def test_a_body_that_nobody_takes_makes_its_writer_wait_once() -> None:
    """What was written is kept; it goes on when all of that is gone."""
    writer = Writer()
    body = RequestBody(request_parts(head("Content-Length: 1000000")), writer)
    for _ in range(3):
        body.feed(b"x" * HIGH_WATER_BYTES)
    assert writer.told == ["wait"]
    pieces = aiter(body)
    for _ in range(3):
        await anext(pieces)
    waiting = asyncio.ensure_future(anext(pieces))
    await asyncio.sleep(0)
    assert writer.told == ["wait", "go on"]
    waiting.cancel()


@pytest.mark.parametrize(("early", "told"), [(b"", ["continue"]), (b"abc", [])])
async def test_a_client_that_waits_is_told_to_go_on(early: bytes, told: list[str]) -> None:
    """When its body is asked for, and only if it has not begun by itself."""
    writer = Writer()
    body = RequestBody(request_parts(head("Content-Length: 3", "Expect: 100-continue")), writer)
    body.feed(early)
    assert writer.told == []
    reading = asyncio.create_task(all_of(body))
    await asyncio.sleep(0)
    body.feed(b"abc"[len(early) :])

    assert (await reading, writer.told) == ([b"abc"], told)


async def test_a_body_is_sent_once() -> None:
    """Whoever begins again has not got what is gone."""
    body = RequestBody(request_parts(head("Content-Length: 3")), Writer())
    body.feed(b"abc")
    await all_of(body)

    with pytest.raises(UpstreamClosed):
        await all_of(body)


def heads(*fields: tuple[bytes, bytes], status: int = 200, version: bytes = b"HTTP/1.1", bodyless: bool = False) -> ResponseHead:
    return response_head(status, fields, version, bodyless=bodyless)


LENGTH, CHUNKED = (b"Content-Length", b"3"), (b"Transfer-Encoding", b"chunked")


def test_fields_of_an_answer_keep_order_and_spelling() -> None:
    """Hop-by-hop ones go, framing and Date are noted."""
    hops = ((b"Keep-Alive", b"5"), (b"Connection", b"X-B"), (b"connection", b"X-C"))
    made = heads((b"X-A", b"1"), (b"x-a", b"2"), *hops, (b"Date", b"now"), LENGTH)

    assert made.lines == [b"X-A", b": ", b"1", b"\r\n", b"x-a", b": ", b"2", b"\r\n", b"Date", b": ", b"now", b"\r\n"]
    assert (made.content_length, made.chunked, made.dated, made.connection) == (3, False, True, b"X-B,X-C")


@pytest.mark.parametrize(
    ("made", "chunked"),
    [
        (heads(), True),
        (heads(CHUNKED), True),
        (heads(LENGTH), False),
        (heads(version=b"HTTP/2"), True),
        (heads(bodyless=True), False),
        (heads(CHUNKED, bodyless=True), False),
        (heads(status=204), False),
        (heads(CHUNKED, status=304), False),
    ],
)
def test_an_answer_of_unknown_length_is_framed_in_chunks(made: ResponseHead, chunked: bool) -> None:
    """Unless it has no body at all."""
    assert made.chunked is chunked


@pytest.mark.parametrize(
    ("fields", "more"),
    [
        ([LENGTH, CHUNKED], {}),
        ([LENGTH, LENGTH], {}),
        ([(b"Content-Length", b"+3")], {}),
        ([(b"Content-Length", b"3, 3")], {}),
        ([CHUNKED], {"version": b"HTTP/1.0"}),
        ([CHUNKED], {"version": b"HTTP/2"}),
        ([], {"version": b"HTTP/2.0"}),
        ([], {"version": b"HTTP/0.9"}),
        ([], {"status": 101}),
    ],
)
def test_an_answer_that_two_could_read_differently_is_refused(fields: list[tuple[bytes, bytes]], more: dict[str, object]) -> None:
    """Also where h11 would take one reading."""
    with pytest.raises(UpstreamMalformed):
        heads(*fields, **more)  # type: ignore[arg-type]  # keywords from a table


@pytest.mark.parametrize(
    ("version", "connection", "until_eof", "stays"),
    [
        (b"HTTP/1.1", None, False, True),
        (b"HTTP/1.1", b"X-A, Close", False, False),
        (b"HTTP/1.1", None, True, False),
        (b"HTTP/1.0", b"keep-alive", False, False),
        (b"HTTP/2", None, True, True),
    ],
)
def test_which_connections_stay(version: bytes, connection: bytes | None, until_eof: bool, stays: bool) -> None:
    """In HTTP/2 an answer is not the connection's affair."""
    fields = [(b"connection", connection)] if connection else []

    assert may_stay(version, fields, until_eof=until_eof) is stays

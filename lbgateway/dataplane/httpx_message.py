"""What an exchange writes, taken apart for httpx, and what httpx brings, put together for an exchange. Pure.

An exchange speaks HTTP/1.1 to its upstream: a head, then a body in the framing that the head declares. httpx wants
fields and pieces, and frames them itself as the other side's version of HTTP asks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import httptools

from lbgateway.dataplane.head import BODYLESS, PLAIN_CONNECTION, RESPONSE_RULES, Field, ResponseHead, tokens
from lbgateway.errors import UpstreamClosed, UpstreamMalformed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

HIGH_WATER_BYTES = 64 * 1024
"""More than this of a request's body waits for httpx: the exchange is asked to wait, until all of it has been taken."""

HOPS_OWN = frozenset((b"connection", b"upgrade", b"te", b"trailer", b"expect"))
"""What the gateway says to its neighbour in HTTP/1.1; httpx can neither do it nor, in HTTP/2, say it."""

FRAMING = (b"content-length", b"transfer-encoding")


@dataclass(frozen=True, slots=True)
class RequestParts:
    """A request's head as httpx takes it."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    """With ``Host`` and the framing; names as they were written."""
    framing: bytes
    """The one line that says how the body is framed, with its CRLF; empty without a body."""
    expects_continue: bool


def request_parts(head: bytes) -> RequestParts:
    """Take apart a head that `message.forwarded_request` has put together."""
    start, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    method, target, _ = start.split(b" ")
    headers, framing, expects = [], b"", False
    for line in lines:
        name, _, value = line.partition(b": ")
        lower = name.lower()
        if lower in HOPS_OWN:
            expects = expects or lower == b"expect"
            continue
        if lower in FRAMING:
            framing = line + b"\r\n"
        headers.append((name, value))
    return RequestParts(method, target, headers, framing, expects)


class Brake(Protocol):
    """Who writes a body, and has to know when to wait."""

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def say_continue(self) -> None:
        """The client waits to be told that its body is wanted."""


class RequestBody:
    """A body on its way from an exchange to httpx: unframed, bounded, in pieces as they came."""

    def __init__(self, parts: RequestParts, brake: Brake) -> None:
        self._brake = brake
        self._pieces: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._more = asyncio.Event()
        self._paused = False
        self._complete = False
        self._asked = False
        self._expects_continue = parts.expects_continue
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(b"POST / HTTP/1.1\r\n" + parts.framing + b"\r\n")

    def feed(self, data: bytes) -> None:
        """Some more of the framed body."""
        self._parser.feed_data(data)
        if self._waiting_bytes > HIGH_WATER_BYTES and not self._paused:
            self._paused = True
            self._brake.pause_writing()

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)
        self._waiting_bytes += len(data)
        self._more.set()

    def on_message_complete(self) -> None:
        self._complete = True
        self._more.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._asked:
            # httpcore begins again by itself where a connection was lost; what has been sent is not here any more.
            raise UpstreamClosed(cause="the connection ended while the request was sent")
        self._asked = True
        if self._expects_continue and not self._pieces and not self._complete:
            self._brake.say_continue()
        while self._pieces or not self._complete:
            if not self._pieces:
                self._more.clear()
                await self._more.wait()
                continue
            piece = self._pieces.popleft()
            self._waiting_bytes -= len(piece)
            yield piece
            if self._paused and not self._pieces:
                self._paused = False
                self._brake.resume_writing()


def response_head(status: int, fields: Iterable[tuple[bytes, bytes]], version: bytes, *, bodyless: bool) -> ResponseHead:
    """The head of an answer, refused where it could be framed in two ways; h11 alone would take one of them.

    `version`: ``HTTP/1.1`` and the like. `bodyless`: the request was a HEAD.
    """
    if status < 200 or version not in (b"HTTP/2", b"HTTP/1.1", b"HTTP/1.0"):
        raise UpstreamMalformed(cause=f"a final answer with status {status} in {version.decode('latin-1')}")
    head = ResponseHead()
    head.status = status
    head.lines = []
    for name, value in fields:
        _take(head, name, value)
    if head.chunked and (head.content_length >= 0 or version != b"HTTP/1.1"):
        raise UpstreamMalformed(cause="framed in two ways")
    # Of unknown length, whatever the reason: framed anew for the client.
    head.chunked = head.content_length < 0 and not bodyless and status not in BODYLESS
    return head


def _take(head: ResponseHead, name: bytes, value: bytes) -> None:
    fate = RESPONSE_RULES[name]
    if fate in (Field.PASS, Field.DATE):
        head.dated = head.dated or fate is Field.DATE
        head.lines += (name, b": ", value, b"\r\n")
    elif fate is Field.CONTENT_LENGTH:
        if head.content_length >= 0 or not value.isdigit():
            raise UpstreamMalformed(cause="not one length")
        head.content_length = int(value)
    elif fate is Field.TRANSFER_ENCODING:
        head.chunked = True
    elif fate is Field.CONNECTION and value not in PLAIN_CONNECTION:
        head.connection = value if head.connection is None else head.connection + b"," + value


def may_stay(version: bytes, fields: Iterable[tuple[bytes, bytes]], *, until_eof: bool) -> bool:
    """Whether a connection may carry another exchange after this answer (RFC 9112, 9.3); h11 keeps none of HTTP/1.0.

    `until_eof`: the end of the connection was the answer's end.
    """
    if version == b"HTTP/2":
        return True
    options = {option for name, value in fields if name.lower() == b"connection" for option in tokens(value)}
    return version == b"HTTP/1.1" and b"close" not in options and not until_eof

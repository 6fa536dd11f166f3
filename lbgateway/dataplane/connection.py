"""One connection to one endpoint: bytes in, events of an exchange out.

It decides two things only: where a response ends, and whether the connection may carry another one.
Whatever two parties could frame differently is malformed (RFC 9112, 6.3), and bytes that arrive
after a response, or without a request, end the connection: they must never reach another client.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httptools

from lbgateway.dataplane.head import (
    BODY_CAME,
    BODYLESS,
    CONNECTION,
    CONTENT_LENGTH,
    DATE,
    MAX_RESPONSE_HEAD_BYTES,
    PASS,
    PLAIN_CONNECTION,
    RESPONSE_RULES,
    Field,
    ResponseHead,
    trailer_allowed,
)
from lbgateway.errors import UpstreamClosed, UpstreamMalformed

if TYPE_CHECKING:
    from collections.abc import Callable

    from lbgateway.dataplane.exchange_state import ResponseSink
    from lbgateway.dataplane.pool import Pool


class UpstreamConnection(asyncio.Protocol):
    """Carries one exchange at a time; between two it lies in its pool."""

    __slots__ = (
        "_bodyless",
        "_broken",
        "_complete",
        "_fed_bytes",
        "_head",
        "_head_done",
        "_pieces",
        "_seen",
        "_seen_head",
        "_trailers",
        "_upgrading",
        "exchange",
        "idle_at_s",
        "is_closing",
        "keep_alive",
        "parser",
        "pool",
        "received",
        "transport",
        "uses",
        "write",
    )

    write: Callable[[bytes], None]
    is_closing: Callable[[], bool]
    _head: ResponseHead

    def __init__(self, pool: Pool) -> None:
        # for life
        self.pool = pool
        self.parser = httptools.HttpResponseParser(self)
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # there is one as soon as it is connected
        self.uses = 0
        self.idle_at_s = 0.0
        # per exchange
        self.exchange: ResponseSink | None = None
        self.received = False
        """Whether any byte of an answer has come."""
        self.keep_alive = False
        self._upgrading = self._bodyless = False
        # per response
        self._head_done = False
        self._complete = self._broken = False
        self._fed_bytes = 0
        self._trailers: list[bytes] | None = None
        self._pieces: list[bytes] = []
        # what need not be read again
        self._seen: bytes | None = None
        """The head of the last response, if that one was ordinary and whole; `_seen_head` is what it said."""
        self._seen_head = ResponseHead()

    def __repr__(self) -> str:
        return f"<UpstreamConnection {self.pool.host}:{self.pool.port} {'busy' if self.exchange else 'idle'} uses={self.uses}>"

    # -- commands: see `exchange_state.Connection` ---------------------------------------------

    def expect(self, *, bodyless: bool, upgrade: bool) -> None:
        self._bodyless = bodyless
        self._upgrading = upgrade

    def pause_reading(self) -> None:
        if not self.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if not self.is_closing():
            self.transport.resume_reading()

    def close(self) -> None:
        self.exchange = None
        # Not `close`, which would wait until the other side has read what is still to be sent: maybe for ever.
        self.transport.abort()

    # -- asyncio.Protocol ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # TCP transports are asyncio.Transport
        self.write, self.is_closing = self.transport.write, self.transport.is_closing

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            self.transport.close()
            return
        first = not self.received
        seen = self._seen
        if seen is not None and first and data.startswith(seen) and not self._bodyless and not self._upgrading:
            head = self._seen_head
            if len(data) - len(seen) == head.content_length:
                self.keep_alive = True
                exchange.on_response(head, data[len(seen) :])
                return
        self.received = True
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as switched:
            self._switch(data[switched.args[0] :])
            return
        except httptools.HttpParserError as error:
            if not self._complete:
                self._refuse(error)
                return
            self._broken = True
        exchange = self.exchange  # it may have gone on to another attempt
        if exchange is not None and self._complete:  # all of the read is parsed: only now may the connection change hands
            trailers = self._trailers
            self.received = self._head_done = self._complete = False
            self._fed_bytes = 0
            pieces, self._pieces = self._pieces, []
            if self._bodyless or self._broken or self._upgrading or trailers:
                self._reset()
            elif first and self.keep_alive and self._head.content_length > 0 and self._head.status < 500:
                # Answers of a service are often alike: one that begins with the same bytes says the same.
                head = self._head
                end = len(data) - head.content_length
                if data[9:12] == b"%d" % head.status and data[end - 4 : end] == b"\r\n\r\n":
                    self._seen, self._seen_head = data[:end], head
            exchange.on_response_end(pieces, trailers)
        elif exchange is not None:
            self._go_on(exchange, len(data))

    def _go_on(self, exchange: ResponseSink, size: int) -> None:
        """A read of `size` bytes ended in the middle of a response."""
        if not self._head_done:
            self._fed_bytes += size
            if self._fed_bytes > MAX_RESPONSE_HEAD_BYTES:
                self._refuse(ValueError("response head too large"))
            return
        self._fed_bytes = self._fed_bytes + size if self._fed_bytes >= 0 else 0
        if self._fed_bytes > MAX_RESPONSE_HEAD_BYTES:
            self._refuse(ValueError("too much between two pieces of the body"))
            return
        pieces, self._pieces = self._pieces, []
        exchange.on_response_body(pieces)

    def connection_lost(self, exc: Exception | None) -> None:
        self.pool.forget(self)
        exchange = self.exchange
        if exchange is None:
            return
        self.keep_alive = False
        self.exchange = None
        if self._head_done and self._head.until_eof and exc is None:
            exchange.on_response_end([], None)
            return
        exchange.on_upstream_error(UpstreamClosed(cause=str(exc or "closed by the upstream")))

    def pause_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.on_upstream_paused()

    def resume_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.on_upstream_resumed()

    # -- httptools -----------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._complete:
            self._broken = True
        elif not self._head_done:
            self._head = head = ResponseHead()
            head.lines = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._complete:
            return
        if self._head_done:
            if trailer_allowed(name, self._head.connection):
                self._trailers = self._trailers or []
                self._trailers += (name, b": ", value, b"\r\n")
            return
        fate = RESPONSE_RULES[name]
        head = self._head
        if fate is PASS:
            head.lines += (name, b": ", value, b"\r\n")
        elif fate is DATE:
            head.dated = True
            head.lines += (name, b": ", value, b"\r\n")
        elif fate is CONTENT_LENGTH:
            head.content_length = int(value)
        elif fate is CONNECTION:
            if value not in PLAIN_CONNECTION:
                head.connection = value if head.connection is None else head.connection + b"," + value
        elif fate is Field.TRANSFER_ENCODING:
            # Only what llhttp frames as we re-frame it; HTTP/1.0 knows no chunks (RFC 9112, 6.1).
            if head.chunked or value.strip().lower() != b"chunked" or self.parser.get_http_version() != "1.1":
                raise UpstreamMalformed
            head.chunked = True
        elif fate is Field.UPGRADE:
            head.upgrade = value
        elif fate is Field.TRAILER:
            head.trailer = value if head.trailer is None else head.trailer + b", " + value

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        head = self._head
        status = head.status = self.parser.get_status_code()
        exchange = self.exchange
        if exchange is None:
            return
        if status < 200:
            self._informational(exchange, head)
            return
        self.keep_alive = self.parser.should_keep_alive()
        if not self.keep_alive and self.parser.get_http_version() not in ("1.1", "1.0"):
            raise UpstreamMalformed("neither HTTP/1.1 nor HTTP/1.0")
        self._head_done = True
        if self._bodyless or status in BODYLESS:
            head.chunked = False
            self._complete = True
        elif head.content_length < 0 and not head.chunked:
            head.until_eof = True
            self.keep_alive = False
        exchange.on_response_head(head)

    def on_body(self, data: bytes) -> None:
        self._fed_bytes = BODY_CAME
        if self._complete:
            self._broken = True
        else:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        if self._head_done:
            self._complete = True

    # -- ends ----------------------------------------------------------------------------------

    def _informational(self, exchange: ResponseSink, head: ResponseHead) -> None:
        if head.status == 101:
            if not self._upgrading or not self.parser.should_upgrade():
                raise UpstreamMalformed("switches protocols without being asked to")
            return
        exchange.on_informational(head)

    def _switch(self, rest: bytes) -> None:
        if self.exchange is not None:
            self.exchange.on_switched(self._head, rest)

    def _refuse(self, error: Exception) -> None:
        exchange = self.exchange
        self.close()
        if exchange is not None:
            if self._head_done:
                exchange.on_response_body(self._pieces)
            exchange.on_upstream_error(UpstreamMalformed(cause=str(error)))

    def _reset(self) -> None:
        """Behind an unusual response."""
        if self._bodyless:
            # llhttp cannot be told that HEAD has no body: it waits for one.
            self.parser = httptools.HttpResponseParser(self)
            self._bodyless = False
        if self._broken or self._upgrading:
            self.keep_alive = False
        self._trailers = None

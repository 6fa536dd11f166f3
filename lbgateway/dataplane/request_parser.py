"""The bytes of a client connection as requests: what each asks for, where it ends, whether it repeats the one before.

llhttp (through httptools) does the reading, in its strict mode; `framing` refuses what it lets through.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from enum import IntEnum
from typing import TYPE_CHECKING

import httptools

from lbgateway.dataplane.exchange_state import NEVER_S
from lbgateway.dataplane.framing import too_large
from lbgateway.dataplane.head import AMBIGUOUS, AUTHORIZATION, BODY_CAME, HOST_FIELD, NO_HEAD, PASS, Field, RequestHead, trailer_allowed
from lbgateway.dataplane.routing import KNOWN_BYTES
from lbgateway.errors import BadRequest, GatewayError

if TYPE_CHECKING:
    from lbgateway.dataplane.handlers import Handler, Queued
    from lbgateway.dataplane.head import FieldRules
    from lbgateway.dataplane.plane import DataPlane


class Mode(IntEnum):
    """What becomes of the bytes that arrive."""

    HTTP = 0
    DEAF = 1  # what is being answered is the last; more input is thrown away
    LINGER = 2  # all is answered; input is thrown away until the other side closes, or for a while
    TUNNEL = 3
    HOLD = 4  # somebody asked for an upgrade: what comes may belong to another protocol, and waits for the upstream's word


HTTP = Mode.HTTP
# An enum's member costs a lookup in its metaclass on every use: on the warm path names are bound once.

HOPES = 16
"""So many heads in a row that repeat nothing, and a connection's heads are no longer remembered."""


class RequestParser(asyncio.Protocol):
    """The reading half of a client connection; `GatewayProtocol` is the other.

    ``feeding`` gets the body of the message that is being read; None throws it away.
    """

    __slots__ = (
        "_big_read",
        "_early",
        "_fed_bytes",
        "_hopes",
        "_seen",
        "_seen_head",
        "_seen_rules",
        "_host",
        "_in_message",
        "_reading_head",
        "_ignoring",
        "deadline_s",
        "feeding",
        "head",
        "mode",
        "parser",
        "plane",
    )

    def __init__(self, plane: DataPlane) -> None:
        self.plane = plane
        self.parser = httptools.HttpRequestParser(self)
        self.mode = Mode.HTTP
        self.deadline_s = NEVER_S
        # the message that is being read
        self.head = NO_HEAD
        self.feeding: Handler | Queued | None = None
        self._reading_head = False
        self._in_message = self._ignoring = False
        self._fed_bytes, self._big_read = 0, False
        self._early: bytes | None = None
        # what need not be read again
        self._host = b""
        self._hopes = HOPES
        self._seen: bytes | None = None
        """The last head without its method and target, if the next one may be the same."""
        self._seen_head = NO_HEAD
        """It is good for this head only: any message in between is another one, however it came and went."""
        self._seen_rules: FieldRules | None = None

    @abstractmethod
    def _refuse(self, error: GatewayError) -> None:
        """What comes is no request: answer `error` when its turn comes, and nothing after it."""

    @abstractmethod
    def pause_request(self) -> None:
        """Stop reading."""

    # -- asyncio -------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        seen = self._seen
        if seen is not None and self.head is self._seen_head and data.endswith(seen) and self._begin_again(data, len(seen)):
            self._hopes = HOPES
            return
        if self.mode is not HTTP:
            self._on_bytes(data)
            return
        self._big_read = len(data) > self.plane.limits.max_head_bytes
        in_head, in_message = self._reading_head, self._in_message
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            self._read_on(self._on_upgrade_pause(data[stop.args[0] :]))
            return
        except httptools.HttpParserError as error:
            self._on_malformed(error)
            return
        if self._reading_head:
            # A read that began with something else may be full of it: its part of the head is weighed when the head is complete.
            self._fed_bytes += len(data) if in_head or not (in_message or b"\r\n\r\n" in data) else 1
            if self._fed_bytes > self.plane.limits.max_head_bytes:
                self.head.method = self.parser.get_method()
                self._refuse(too_large(self.head, self.plane.limits))
        elif self._in_message:
            self._weigh_framing(data)
        elif self._hopes:
            self._hopes -= 1
            self._remember(data)

    def _weigh_framing(self, data: bytes) -> None:
        """Bound what comes between pieces of a body: extensions of chunks, and trailers, which the parser collects."""
        if self._fed_bytes == BODY_CAME:
            self._fed_bytes = 0
            return
        self._fed_bytes += len(data)
        if self._fed_bytes > self.plane.limits.max_head_bytes:
            self._on_malformed(BadRequest("Too much between two pieces of the body"))

    def _read_on(self, rest: bytes) -> None:
        """Go on behind an upgrade that is none. A loop, not a recursion: a client may ask a thousand times in one read."""
        while rest and self.mode is HTTP:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as stop:
                rest = self._on_upgrade_pause(rest[stop.args[0] :])
            except httptools.HttpParserError as error:
                self._on_malformed(error)
                return
            else:
                return

    @abstractmethod
    def _begin_again(self, data: bytes, length: int) -> bool:
        """The last `length` bytes of `data` are those of the head before: what is in front may be another method and target."""

    def _remember(self, data: bytes) -> None:
        """Keep a head that the next one may repeat: it came alone and whole, concerns no framing, has room for any line that is known."""
        head = self.head
        ordinary = head.keep_alive and not head.has_body and head.upgrade is None and head.version == "1.1" and self.mode is HTTP
        line = b"%b %b" % (head.method, head.target)
        fits = len(data) + 2 * KNOWN_BYTES <= self.plane.limits.max_head_bytes
        if ordinary and fits and data.startswith(line) and data.find(b"\r\n\r\n") == len(data) - 4 and not head.expect_continue:
            self._seen, self._seen_head, self._seen_rules = data[len(line) :], head, self.plane.request_rules
        else:
            self._seen = None

    def _on_bytes(self, data: bytes) -> None:
        """Bytes that are no HTTP any more; a tunnel passes them on, everybody else throws them away."""

    # -- httptools -----------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._ignoring:
            return
        self.head = RequestHead()
        self._reading_head = self._in_message = True
        self.deadline_s = NEVER_S

    def on_url(self, url: bytes) -> None:
        if not self._ignoring:
            self.head.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        head = self.head
        if not self._reading_head:
            if not self._ignoring:
                self._on_trailer(head, name, value)
            return
        fate = self.plane.request_rules[name]
        if fate is PASS:
            head.lines += (name, b": ", value, b"\r\n")
        elif fate is HOST_FIELD:
            # A second Host makes the request ambiguous (RFC 9112, 3.2): no valid host has a space.
            head.hosts = value.strip() if head.hosts is None else b" "
        elif fate is AUTHORIZATION:
            head.authorization = value if head.authorization is None else AMBIGUOUS
            head.lines += (name, b": ", value, b"\r\n")
        else:
            self._on_special(head, fate, name, value)

    def _on_trailer(self, head: RequestHead, name: bytes, value: bytes) -> None:
        head.special_bytes += len(name) + len(value)
        if head.special_bytes > self.plane.limits.max_head_bytes:
            raise BadRequest("Too many trailer fields", close=True)
        if trailer_allowed(name, head.connection) and self.plane.request_rules[name] is PASS:
            if head.trailers is None:
                head.trailers = []
            head.trailers += (name, b": ", value, b"\r\n")

    def _on_special(self, head: RequestHead, fate: Field, name: bytes, value: bytes) -> None:
        if fate is Field.ORIGIN:
            head.origin = value if head.origin is None else AMBIGUOUS
            head.lines += (name, b": ", value, b"\r\n")
            return
        head.specials += 1
        head.special_bytes += len(name) + len(value)
        if fate is Field.CONTENT_LENGTH:
            head.content_length = int(value)
            head.has_body = head.content_length > 0
        elif fate is Field.TRANSFER_ENCODING:  # only the one coding that we frame anew; HTTP/1.0 knows no chunks (RFC 9112, 6.1)
            if value.strip().lower() != b"chunked" or head.chunked or self.parser.get_http_version() != "1.1":
                raise BadRequest("Transfer-Encoding other than one `chunked` in HTTP/1.1")
            head.chunked = head.has_body = True
        elif fate is Field.CONNECTION:
            head.connection = value if head.connection is None else head.connection + b"," + value
        elif fate is Field.UPGRADE:
            head.upgrade = value if head.upgrade is None else head.upgrade + b"," + value
        elif fate is Field.EXPECT:
            head.expect_continue = value.strip().lower() == b"100-continue"
        elif fate is Field.TE:
            head.te = value
        elif fate is Field.TRAILER:
            head.trailer = value if head.trailer is None else head.trailer + b", " + value
        elif fate is Field.FORWARDED:
            head.forwarded = [*(head.forwarded or ()), (name.lower(), value.strip())]

    @abstractmethod
    def on_headers_complete(self) -> None:
        """A head is complete."""

    def on_body(self, data: bytes) -> None:
        self._fed_bytes = BODY_CAME
        if self.feeding is not None:
            self.feeding.on_request_body(data)

    def on_message_complete(self) -> None:
        head = self.head
        if head.specials and self.parser.should_upgrade():
            # llhttp ends the message here, body or not; `_on_upgrade_pause` knows better.
            return
        self._in_message = False
        self._fed_bytes = 0
        feeding, self.feeding = self.feeding, None
        if feeding is not None and head.has_body:
            feeding.on_request_end(head.trailers)

    # -- what is wrong with a request ----------------------------------------------------------

    def _on_malformed(self, error: Exception) -> None:
        if self.mode is not HTTP:
            return  # the answer to what came before was the last already
        raised = error.__context__  # by a callback; there is none if the parser itself did not understand
        if raised is not None and not isinstance(raised, GatewayError):
            self.plane.on_bug("a request was too much for the gateway's own code", raised)
            raised = GatewayError(close=True)
        if self._in_message and not self._reading_head:
            self.mode = Mode.DEAF
            self._on_malformed_body(raised or BadRequest("Malformed body", close=True))
        elif self._in_message or self.head is NO_HEAD or self.head.keep_alive:
            self._refuse(raised or BadRequest(f"Malformed HTTP: {error}"))
        else:
            self.mode = Mode.DEAF  # more input behind a request with `Connection: close`: none of it counts

    @abstractmethod
    def _on_malformed_body(self, error: GatewayError) -> None:
        """The message that is being read cannot be completed."""

    # -- upgrades ------------------------------------------------------------------------------

    def _on_upgrade_pause(self, rest: bytes) -> bytes:
        """The parser stops behind a head that asks for an upgrade, whether or not a body follows. Returns what is to be read on."""
        head, self.parser = self.head, httptools.HttpRequestParser(self)
        if head.upgrade is None and head.has_body:
            # The upgrade is not for us (h2c, or with a body): the body is read like any other, by a parser that knows its framing.
            framing = b"Transfer-Encoding: chunked" if head.chunked else b"Content-Length: %d" % head.content_length
            self._ignoring = True
            self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)
            self._ignoring = self.mode is not HTTP
            return rest
        self.on_message_complete()
        if head.upgrade is None or not self._busy():
            return rest
        self.mode, self._early = Mode.HOLD, rest
        return b""

    @abstractmethod
    def _busy(self) -> bool:
        """Whether a request is being answered, or waits for it."""

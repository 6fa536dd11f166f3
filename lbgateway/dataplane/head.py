"""Heads as bytes: which header fields pass, which are ours, and how a head is put together. Pure.

A field's *name* decides its fate, so the fate of a name is worked out once and remembered: on the
warm path a field costs one dict lookup and one append. Rules: RFC 9110, 7.6.1 (hop-by-hop fields),
RFC 9112, 6 (framing), and the contract's section 7.
"""

from __future__ import annotations

import http
import re
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lbgateway.dataplane.route import Route
    from lbgateway.dataplane.target import Target

HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")
"""What a Host field may hold (RFC 3986, 3.2); matched in full."""

BODYLESS = frozenset((204, 304))
"""Answers that have no body, whatever their head says."""

MAX_RESPONSE_HEAD_BYTES = 256 * 1024
"""Above what any server sends on purpose; bounds the memory that one answer can take before it is refused."""

BODY_CAME = -1
"""Instead of a number of bytes: the last read brought some of the body."""

AMBIGUOUS = b"\x00"
"""Stands for two fields of a name that may occur once (Authorization, Origin): no value can look like it."""


class Field(IntEnum):
    """The fate of a header field, by its name."""

    PASS = 0
    DROP = 1
    HOST = 2
    CONTENT_LENGTH = 3
    TRANSFER_ENCODING = 4
    CONNECTION = 5
    UPGRADE = 6
    EXPECT = 7
    AUTHORIZATION = 8
    FORWARDED = 9
    TE = 10
    DATE = 11
    ORIGIN = 12
    TRAILER = 13


PLAIN_CONNECTION = frozenset((b"keep-alive", b"Keep-Alive", b"close", b"Close"))
"""Values of ``Connection`` that name no field; nearly all do not."""

PASS, HOST_FIELD, AUTHORIZATION, DATE = Field.PASS, Field.HOST, Field.AUTHORIZATION, Field.DATE
CONTENT_LENGTH, CONNECTION = Field.CONTENT_LENGTH, Field.CONNECTION
"""An enum's member costs a lookup in its metaclass on every use: on the warm path names are bound once."""

HOP_BY_HOP = (b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"http2-settings", b"trailers")
"""Meant for the next hop only; ``Connection``, ``TE``, ``Transfer-Encoding``, ``Upgrade`` and ``Trailer`` have fates of their own."""

EXPLAIN = b"x-gateway-explain"
"""Between an operator and this gateway only, in either direction."""

_REQUEST_FATES = {
    **dict.fromkeys(HOP_BY_HOP, Field.DROP),
    b"host": Field.HOST,
    b"content-length": Field.CONTENT_LENGTH,
    b"transfer-encoding": Field.TRANSFER_ENCODING,
    b"connection": Field.CONNECTION,
    b"upgrade": Field.UPGRADE,
    b"expect": Field.EXPECT,
    b"authorization": Field.AUTHORIZATION,
    b"origin": Field.ORIGIN,
    b"te": Field.TE,
    b"trailer": Field.TRAILER,
    # Symfony, IIS and others serve the path in the last two, not the one that routes and public paths were matched with.
    **dict.fromkeys((b"forwarded", b"x-real-ip", b"x-request-id", EXPLAIN, b"x-original-url", b"x-rewrite-url"), Field.FORWARDED),
}

_RESPONSE_FATES = {
    **dict.fromkeys((*HOP_BY_HOP, b"x-request-id", b"te", EXPLAIN), Field.DROP),
    b"content-length": Field.CONTENT_LENGTH,
    b"transfer-encoding": Field.TRANSFER_ENCODING,
    b"connection": Field.CONNECTION,
    b"upgrade": Field.UPGRADE,
    b"date": Field.DATE,
    b"trailer": Field.TRAILER,
}

AS_VARIABLE = bytes(ord(chr(code).lower()) if chr(code).isalnum() and code < 128 else ord("-") for code in range(256))
"""What CGI and its heirs make of a name: case, and every character but letters and digits, is the same to them (RFC 3875, 4.1.18)."""
_REMEMBERED_NAMES, _REMEMBERED_NAME_BYTES = 4096, 64
"""Clients choose header names, so the memory of them is bounded: in their number, and in the length of each."""


class FieldRules(dict[bytes, Field]):
    """Name as it was spelt -> fate; filled on first sight.

    `reserved`: names that only the gateway may set (forwarded claims). Names are compared as an upstream
    that puts them into variables may read them: to it ``X_User-Id``, ``x-user.id`` and ``X-User-Id`` are one.
    """

    def __init__(self, fates: dict[bytes, Field], reserved: Iterable[bytes] = (), *, forwarded: bool = False) -> None:
        super().__init__()
        self._fates = fates
        self._reserved = frozenset(name.translate(AS_VARIABLE) for name in reserved)
        self._forwarded = forwarded

    def __missing__(self, name: bytes) -> Field:
        fate = self._fate(name.lower())
        if len(self) < _REMEMBERED_NAMES and len(name) <= _REMEMBERED_NAME_BYTES:
            self[name] = fate
        return fate

    def _fate(self, lower: bytes) -> Field:
        fate = self._fates.get(lower)
        if fate is not None:
            return fate
        confusable = lower.translate(AS_VARIABLE)
        if confusable in self._reserved:
            return Field.DROP
        if self._forwarded:
            if lower.startswith(b"x-forwarded-"):
                return Field.FORWARDED
            if confusable.startswith(b"x-forwarded-") or confusable in self._fates:
                return Field.DROP
        return Field.PASS


def request_rules(reserved: Iterable[bytes] = (), proxied: Iterable[bytes] = ()) -> FieldRules:
    """The fates of request fields; `reserved` names are accepted from nobody, `proxied` ones from trusted proxies only."""
    return FieldRules({**_REQUEST_FATES, **dict.fromkeys(proxied, Field.FORWARDED)}, reserved, forwarded=True)


RESPONSE_RULES = FieldRules(_RESPONSE_FATES)


class RequestHead:
    """What the parser found out about one request, ready to be routed and forwarded."""

    __slots__ = (
        "authorization",
        "chunked",
        "connection",
        "content_length",
        "digest",
        "expect_continue",
        "forwarded",
        "has_body",
        "hosts",
        "keep_alive",
        "lines",
        "method",
        "origin",
        "rendered",
        "resolved",
        "special_bytes",
        "specials",
        "target",
        "te",
        "trailer",
        "trailers",
        "upgrade",
        "version",
    )

    resolved: Target
    """Set as soon as it is known that the target can be read in one way only."""

    def __init__(self) -> None:
        # the request line
        self.method = b""
        self.target = b""
        self.version = "1.1"
        # fields that pass
        self.lines = [b""]
        """(name, b": ", value, CRLF) flattened, behind one empty slot for the request line."""
        self.specials = self.special_bytes = 0
        """How many fields are not in `lines`, and how large they and the trailers are."""
        # framing
        self.content_length = -1
        self.chunked = False
        self.has_body = False
        self.keep_alive = True
        self.expect_continue = False
        self.connection: bytes | None = None
        self.upgrade: bytes | None = None
        self.te: bytes | None = None
        self.trailer: bytes | None = None
        self.trailers: list[bytes] | None = None
        # what others need to know
        self.hosts: bytes | None = None
        """A single space if there were several."""
        self.authorization: bytes | None = None
        self.digest: bytes | None = None  # of the bearer token, once a policy has needed it
        self.origin: bytes | None = None
        self.forwarded: list[tuple[bytes, bytes]] | None = None
        """What only a trusted proxy may say, as (lower-case name, value)."""
        self.rendered: tuple[Route, bytes, bytes] | None = None
        """What `message.forwarded_request` made of the fields, for which route and which lines of policies."""


NO_HEAD = RequestHead()


class ResponseHead:
    """A response head as it came: ``lines`` flattened like those of `RequestHead`, with no slot for the status line.

    Most of it never differs from the defaults, which live in the class: measured cheaper than setting them.
    """

    lines: list[bytes]
    status = 0
    content_length = -1
    chunked = until_eof = dated = False
    connection: bytes | None = None
    upgrade: bytes | None = None
    trailer: bytes | None = None
    rendered: tuple[Route, bool, bytes] | None = None
    """What `message.response_head` made of it, for which route, and whether for a client that speaks TLS."""


def tokens(value: bytes) -> list[bytes]:
    """The lower-case members of a comma-separated list field."""
    return [token for token in (part.strip().lower() for part in value.split(b",")) if token]


def without(lines: list[bytes], names: Iterable[bytes], *, start: int = 0) -> list[bytes]:
    """Drop fields by lower-case name from flattened `lines`; the first `start` slots are kept as they are."""
    dropped = frozenset(names)
    kept = lines[:start]
    for index in range(start, len(lines), 4):
        if lines[index].lower() not in dropped:
            kept += lines[index : index + 4]
    return kept


def upgrade_wanted(head: RequestHead) -> bytes | None:
    """The protocols to switch to, lower-case, if the client asks for a switch that may be tunnelled.

    ``h2c`` is not: whoever tunnels it lets a client speak to the upstream behind the gateway's back.
    """
    if head.upgrade is None or head.connection is None or head.version != "1.1":
        return None
    wanted = tokens(head.upgrade)
    if b"upgrade" not in tokens(head.connection) or not wanted or any(protocol.startswith(b"h2c") for protocol in wanted):
        return None
    return b", ".join(wanted)


def named_by_connection(head_connection: bytes | None) -> list[bytes]:
    """Names that ``Connection`` declares hop-by-hop, apart from its own options; what frames and routes is written anew anyway."""
    return [name for name in tokens(head_connection or b"") if name not in (b"keep-alive", b"close", b"upgrade", b"te")]


# -- putting heads together ----------------------------------------------------------------------


def _status_line(status: int) -> bytes:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


STATUS_LINES = {status: _status_line(status) for status in range(100, 1000)}

LAST_CHUNK = b"0\r\n\r\n"


def chunk(pieces: list[bytes]) -> bytes:
    """One chunk of all `pieces`, which must not be empty altogether: that would be the last chunk."""
    data = b"".join(pieces)
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: list[bytes]) -> bytes:
    """The end of a chunked body with its trailer fields (flattened lines)."""
    return b"".join((b"0\r\n", *trailers, b"\r\n"))


def trailer_allowed(name: bytes, connection: bytes | None) -> bool:
    """Whether a field behind a body may pass, beside the message's `connection`: nothing of RFC 9110, 6.5.1, and nothing hop-by-hop."""
    lower = name.translate(AS_VARIABLE)
    forbidden = lower in _REQUEST_FATES or lower in _FORBIDDEN_TRAILERS or lower.startswith(b"x-forwarded-")
    return not forbidden and name.lower() not in named_by_connection(connection)


_FORBIDDEN_TRAILERS = frozenset((
    b"cookie", b"set-cookie", b"content-type", b"content-encoding", b"content-range", b"cache-control",
    b"www-authenticate", b"age", b"expires", b"date", b"location", b"retry-after", b"vary", b"warning", b"via", b"proxy-status",
    b"max-forwards", b"range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range",
))  # fmt: skip

"""An error of the gateway's tree as an answer: ready bytes for the data plane, parts for the control plane.

The format is RFC 9457 (problem details); `Proxy-Status` (RFC 9209) tells the gateway's own answers from
those of a service. A problem is never to be cached: RFC 9110, section 15.1, would allow it for 404, 405 and 414.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, TypedDict

if TYPE_CHECKING:
    from lbgateway.errors import GatewayError

CONTENT_TYPE = "application/problem+json"
VIA = "1.1 lbgateway"
TYPE_PREFIX = "urn:lbgateway:problem:"

_TYPE = re.compile(rb"""\{"type": ?"%b(\w+)\"""" % TYPE_PREFIX.encode())
_RETRY_LATER = frozenset((429, 503))
_RETRY_AFTER = b"Retry-After: 1\r\n"


class Manner(TypedDict, total=False):
    """How an answer goes to a client; see `render`."""

    date: bytes
    extra: bytes
    head_only: bool
    close: bool
    http10: bool


class Problem(TypedDict):
    type: str
    title: str
    status: int
    detail: str
    request_id: str


class _Prepared(NamedTuple):
    """What all answers for one class of errors have in common."""

    head: bytes
    body: bytes
    plain_body: bytes
    """`body` with the detail of an error that gives none."""


_prepared: dict[type[GatewayError], _Prepared] = {}


def render(
    error: GatewayError,
    request_id: bytes,
    *,
    date: bytes = b"",
    extra: bytes = b"",
    head_only: bool = False,
    close: bool = False,
    http10: bool = False,
) -> bytes:
    """A complete HTTP/1.1 response.

    `date` and `extra` are whole header lines with their CRLF, or empty. `head_only` (the request was HEAD) leaves out the body but
    not its length. `close` or ``error.close`` announces the end of the connection; without it a client of
    HTTP/1.0 (`http10`) is told that the connection stays open, which it would not assume.
    """
    prepared = _prepared.get(type(error)) or _prepare(type(error))
    if error.instead is not None:
        body = error.instead[1]
    else:
        opening = prepared.plain_body if error.detail == error.title else prepared.body + json.dumps(error.detail).encode()
        body = opening + b',"request_id":' + _json_string(request_id) + b"}"
    lines = [prepared.head, date, extra, b"X-Request-Id: ", request_id, b"\r\n", error.headers]
    if error.status in _RETRY_LATER and b"retry-after:" not in error.headers.lower():
        lines.append(_RETRY_AFTER)
    if close or error.close:
        lines.append(b"Connection: close\r\n")
    elif http10:
        lines.append(b"Connection: keep-alive\r\n")
    lines.append(b"Content-Length: %d\r\n\r\n" % len(body))
    if not head_only:
        lines.append(body)
    return b"".join(lines)


def _prepare(error: type[GatewayError]) -> _Prepared:
    fields = "".join(f"{name}: {value}\r\n" for name, value in _fixed_fields(error))
    head = f"HTTP/1.1 {error.status} {reason_phrase(error.status)}\r\n{fields}".encode()
    known = {"type": TYPE_PREFIX + error.slug, "title": error.title, "status": error.status}
    body = json.dumps(known, separators=(",", ":"))[:-1].encode() + b',"detail":'
    prepared = _prepared[error] = _Prepared(head, body, body + json.dumps(error.title).encode())
    return prepared


def _fixed_fields(error: type[GatewayError]) -> list[tuple[str, str]]:
    return [
        ("Content-Type", CONTENT_TYPE if error.instead is None else error.instead[0]),
        ("Cache-Control", "no-store"),
        ("Proxy-Status", f"lbgateway; error={error.proxy_status}"),
        ("Via", VIA),
    ]


def _json_string(text: bytes) -> bytes:
    # An id that a trusted proxy has sent may hold a quote; one of ours never does.
    return b'"%b"' % text if text.isalnum() else json.dumps(text.decode("latin-1")).encode()


def slug_of(body: bytes) -> str | None:
    """Which error a body of ours tells of, however the JSON was written; None if it is no problem."""
    found = _TYPE.match(body)
    return None if found is None else found[1].decode()


def reason_phrase(status: int) -> str:
    """The phrase for a status line; never empty."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def problem_dict(error: GatewayError, request_id: str) -> Problem:
    """The body, for those who have a framework to send it."""
    return {
        "type": TYPE_PREFIX + error.slug,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "request_id": request_id,
    }


def problem_headers(error: GatewayError, request_id: str) -> list[tuple[str, str]]:
    """All header fields that belong to the error itself: not length, date and connection."""
    fields = [*_fixed_fields(type(error)), ("X-Request-Id", request_id)]
    for line in error.headers.decode("latin-1").splitlines():
        name, _, value = line.partition(":")
        fields.append((name, value.strip()))
    if error.status in _RETRY_LATER and all(name.lower() != "retry-after" for name, _ in fields):
        fields.append(("Retry-After", "1"))
    return fields

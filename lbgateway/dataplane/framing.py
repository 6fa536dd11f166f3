"""What is wrong with a request's head that the parser lets through. Pure.

Two parties that read one message differently are how requests are smuggled: what could be read in two ways is
refused (RFC 9112, 3.2, 6.1 and 11.2), and so is what is larger than the limits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbgateway.dataplane.head import HOST
from lbgateway.errors import BadRequest, HeadersTooLarge, UriTooLong

if TYPE_CHECKING:
    from lbgateway.dataplane.head import RequestHead
    from lbgateway.dataplane.plane import Limits
    from lbgateway.errors import GatewayError


LINE_BYTES, FIELD_BYTES, END_BYTES = len(b"  HTTP/1.1\r\n"), len(b": \r\n"), len(b"\r\n")
"""What a head has besides method, target, names and values: per line, per field, in the end."""


def framing_error(head: RequestHead, limits: Limits) -> GatewayError | None:
    """Why a complete head is refused, or None. A head with the same Host as the one before it, read whole, need not be asked about."""
    if head_bytes(head) > limits.max_head_bytes:
        error = too_large(head, limits)
        error.close = True
        return error
    if len(head.lines) // 4 + head.specials + (head.hosts is not None) > limits.max_headers:
        return HeadersTooLarge("Too many header fields", close=True)
    if head.version not in ("1.1", "1.0"):
        return BadRequest("Only HTTP/1.1 and HTTP/1.0 are spoken here", close=True)
    if head.hosts is None and head.version == "1.1":
        return BadRequest("No Host", close=True)
    if head.hosts is not None and not HOST.fullmatch(head.hosts):
        return BadRequest("Not one valid Host", close=True)
    return None


def head_bytes(head: RequestHead) -> int:
    """The size of a complete head, from its first byte to the empty line; more blanks around values than usual are not counted."""
    size = len(head.method) + len(head.target) + LINE_BYTES + sum(map(len, head.lines)) + END_BYTES
    size += head.special_bytes + FIELD_BYTES * head.specials
    return size if head.hosts is None else size + len(b"Host") + len(head.hosts) + FIELD_BYTES


def line_bytes(head: RequestHead) -> int:
    """The size of a request line, with its end."""
    return len(head.method) + len(head.target) + LINE_BYTES


def too_large(head: RequestHead, limits: Limits) -> GatewayError:
    """Why a head is refused that is longer than allowed, complete or not: its request line alone is, or all together."""
    return UriTooLong() if line_bytes(head) > limits.max_head_bytes else HeadersTooLarge()

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


def framing_error(head: RequestHead, limits: Limits) -> GatewayError | None:
    """Why a complete head is refused, or None. A head with the same Host as the one before it, read whole, need not be asked about."""
    size = sum(map(len, head.lines)) + len(head.target) + head.special_bytes + len(head.hosts or b"")
    if size > limits.max_head_bytes:
        return UriTooLong(close=True) if len(head.target) > limits.max_head_bytes else HeadersTooLarge(close=True)
    if len(head.lines) // 4 + head.specials >= limits.max_headers:
        return HeadersTooLarge("Too many header fields", close=True)
    if head.version not in ("1.1", "1.0"):
        return BadRequest("Only HTTP/1.1 and HTTP/1.0 are spoken here", close=True)
    if head.hosts is None and head.version == "1.1":
        return BadRequest("No Host", close=True)
    if head.hosts is not None and not HOST.fullmatch(head.hosts):
        return BadRequest("Not one valid Host", close=True)
    return None


def too_large(head: RequestHead, limits: Limits) -> GatewayError:
    """Why a head is refused that is not complete, and longer than allowed already."""
    no_field = len(head.lines) == 1 and not head.specials and head.hosts is None
    # A first field may be on its way as well: the longer of the two decides.
    in_request_line = no_field and len(head.target) > limits.max_head_bytes // 2
    return UriTooLong() if in_request_line else HeadersTooLarge()

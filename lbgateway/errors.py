"""Every way in which the gateway itself says no: one tree, one slug each.

The slug serves the problem's ``type``, the metric label and the log alike. The control plane raises
these; the data plane returns them. An exception that is not in this tree is a bug, and a bug is 500.
"""

from __future__ import annotations

import enum
from functools import lru_cache
from typing import ClassVar


class Origin(enum.Enum):
    """Whose fault it is."""

    CLIENT = "client"
    GATEWAY = "gateway"
    UPSTREAM = "upstream"


class GatewayError(Exception):
    """A ready-made answer of the gateway.

    `detail` is for the client and tells nothing about addresses inside; `cause` is for logs and
    operators. `headers` are complete extra header lines, each ending in CRLF.
    """

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"
    origin: ClassVar[Origin] = Origin.GATEWAY
    proxy_status: ClassVar[str] = "proxy_internal_error"
    """The error type of RFC 9209, section 2.3."""
    retry_safe: ClassVar[bool] = False
    """True if the upstream cannot have seen any of the request."""
    instead: ClassVar[tuple[str, bytes] | None] = None
    """Content type and body of an answer that an operator has put in the place of the problem."""

    def __init__(self, detail: str = "", *, cause: str = "", headers: bytes = b"", close: bool = False) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.cause = cause
        self.headers = headers
        self.close = close
        """The client's connection cannot be used any further."""


class BadRequest(GatewayError):
    status, slug, title = 400, "bad_request", "Malformed or ambiguous request"
    origin, proxy_status = Origin.CLIENT, "http_request_error"


class Unauthenticated(GatewayError):
    status, slug, title = 401, "unauthenticated", "Authentication required"
    origin, proxy_status = Origin.CLIENT, "http_request_denied"


INVALID_TOKEN = b'WWW-Authenticate: Bearer error="invalid_token"\r\n'
"""The challenge of 401, for a missing token as well, on all doors: one answer, whatever is wrong (the contract, section 7)."""


class Forbidden(GatewayError):
    status, slug, title = 403, "forbidden", "Not allowed"
    origin, proxy_status = Origin.CLIENT, "http_request_denied"


class NoRoute(GatewayError):
    status, slug, title = 404, "no_route", "Nothing is served here"
    origin, proxy_status = Origin.CLIENT, "destination_not_found"


class MethodNotAllowed(GatewayError):
    status, slug, title = 405, "method_not_allowed", "Method not allowed"
    origin, proxy_status = Origin.CLIENT, "http_request_denied"


class Ambiguous(GatewayError):
    """Of the admin API: one name for several things."""

    status, slug, title = 409, "ambiguous", "More than one thing is called so"
    origin, proxy_status = Origin.CLIENT, "http_request_error"


class RequestTimeout(GatewayError):
    status, slug, title = 408, "request_timeout", "The request took too long to arrive"
    origin, proxy_status = Origin.CLIENT, "http_request_error"


class PreconditionFailed(GatewayError):
    """Of the single-page application: the file is another one than the client knows."""

    status, slug, title = 412, "precondition_failed", "It is not what it was"
    origin, proxy_status = Origin.CLIENT, "http_request_error"


class RangeNotSatisfiable(GatewayError):
    """Of the single-page application: the file is shorter."""

    status, slug, title = 416, "range_not_satisfiable", "There is no such part of it"
    origin, proxy_status = Origin.CLIENT, "http_request_error"


class PayloadTooLarge(GatewayError):
    status, slug, title = 413, "payload_too_large", "The request body is too large"
    origin, proxy_status = Origin.CLIENT, "http_request_error"


class UriTooLong(GatewayError):
    status, slug, title = 414, "uri_too_long", "The request line is too long"
    origin, proxy_status = Origin.CLIENT, "http_request_error"


class HeadersTooLarge(GatewayError):
    status, slug, title = 431, "headers_too_large", "The request header section is too large"
    origin, proxy_status = Origin.CLIENT, "http_request_error"


class RateLimited(GatewayError):
    status, slug, title = 429, "rate_limited", "Too many requests"
    origin, proxy_status = Origin.CLIENT, "http_request_denied"


class ClientGone(GatewayError):
    """For the log and the metrics only: nobody is left to read an answer."""

    status, slug, title = 499, "client_gone", "The client closed the connection"
    origin, proxy_status = Origin.CLIENT, "http_request_error"


class ConnectFailed(GatewayError):
    status, slug, title = 502, "connect_failed", "The service could not be reached"
    origin, proxy_status, retry_safe = Origin.UPSTREAM, "connection_refused", True


class UpstreamClosed(GatewayError):
    status, slug, title = 502, "upstream_closed", "The service closed the connection without an answer"
    origin, proxy_status = Origin.UPSTREAM, "connection_terminated"


class UpstreamMalformed(GatewayError):
    status, slug, title = 502, "upstream_malformed", "The service's answer was not valid HTTP"
    origin, proxy_status = Origin.UPSTREAM, "http_protocol_error"


class NoEndpoint(GatewayError):
    status, slug, title = 503, "no_endpoint", "No instance of the service is available"
    origin, proxy_status = Origin.UPSTREAM, "destination_unavailable"


class BreakerOpen(GatewayError):
    status, slug, title = 503, "breaker_open", "The service is failing and gets a pause"
    origin, proxy_status = Origin.UPSTREAM, "destination_unavailable"


class Overloaded(GatewayError):
    status, slug, title = 503, "overloaded", "Too much to do"
    proxy_status, retry_safe = "connection_limit_reached", True


class AuthUnavailable(GatewayError):
    """A credential that may be good: whoever could tell does not answer. Never 401, which would make a client throw it away."""

    status, slug, title = 503, "auth_unavailable", "Credentials cannot be checked at the moment"


class Draining(GatewayError):
    status, slug, title = 503, "draining", "The gateway is going down"
    proxy_status = "destination_unavailable"


class ConnectTimeout(GatewayError):
    status, slug, title = 504, "connect_timeout", "The service did not accept a connection in time"
    origin, proxy_status, retry_safe = Origin.UPSTREAM, "connection_timeout", True


class ResponseTimeout(GatewayError):
    status, slug, title = 504, "response_timeout", "The service did not answer in time"
    origin, proxy_status = Origin.UPSTREAM, "http_response_timeout"


class Redirected(GatewayError):
    """A route that leads elsewhere, by its ``Location``; the subclass for each status is in `REDIRECTS`."""

    status, slug, title = 308, "redirected", "It is somewhere else"
    origin, proxy_status = Origin.GATEWAY, "proxy_internal_response"


REDIRECTS: dict[int, type[Redirected]] = {
    status: type(f"Redirected{status}", (Redirected,), {"status": status}) for status in (301, 302, 303, 307, 308)
}


@lru_cache(maxsize=256)
def substitute(status: int, content_type: str, body: str) -> type[BreakerOpen]:
    """`BreakerOpen` with an answer that the configuration gives; the same class for the same answer."""
    return type("Substitute", (BreakerOpen,), {"status": status, "instead": (content_type, body.encode())})

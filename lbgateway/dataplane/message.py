"""The messages that an exchange sends: the request as the upstream gets it, the response as the client gets it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbgateway.dataplane.head import STATUS_LINES, named_by_connection, tokens, without

NOTHING: frozenset[bytes] = frozenset()

if TYPE_CHECKING:
    from lbgateway.dataplane.exchange import Exchange
    from lbgateway.dataplane.head import RequestHead, ResponseHead
    from lbgateway.dataplane.routing import Route


def forwarded_request(exchange: Exchange, route: Route, path: bytes) -> bytes:
    """The complete request head for the upstream, which gets `path`: what all attempts have in common."""
    head, (_, query, authority, _) = exchange.head, exchange.target
    known = head.rendered
    if known is not None and known[0] is route and known[1] is exchange.extra_lines and not authority:
        fields = known[2]
    else:
        lines = head.lines
        if head.connection is not None:
            lines = without(lines, named_by_connection(head.connection), start=1)
        if exchange.trace is not None:
            lines = without(lines, exchange.trace.replaced, start=1)
        claims = exchange.extra_lines
        if route.request_edits is not None:
            lines = route.request_edits.apply(lines, start=1)
            claims = route.request_edits.dropping_from(claims)
        host = authority or head.hosts or exchange.upstream.name.encode()
        framing = _request_framing(head) if head.specials else b""
        client = exchange.downstream
        forwarded = client.forwarded_before.get(host) if head.forwarded is None and head.version == "1.1" else None
        if forwarded is None:
            forwarded = client.forwarded(head, host)
        parts = (b" HTTP/1.1\r\nHost: ", host, b"\r\n", *lines, framing, forwarded, claims, b"X-Request-Id: ")
        fields = b"".join(parts)
        if not authority:
            head.rendered = (route, exchange.extra_lines, fields)
    return b"".join((head.method, b" ", path, query, fields, exchange.request_id, b"\r\n\r\n"))


def _request_framing(head: RequestHead) -> bytes:
    """Framing and connection fields, written anew: none of the client's own passes (RFC 9112, 6; RFC 9110, 7.6.1)."""
    upgrade = head.upgrade
    fields = b""
    if head.chunked:
        fields = b"Transfer-Encoding: chunked\r\n" + _trailer(head)
    elif head.content_length >= 0:
        fields = b"Content-Length: %d\r\n" % head.content_length
    if head.expect_continue and head.has_body:
        fields += b"Expect: 100-continue\r\n"
    if upgrade is not None:
        return fields + b"Connection: Upgrade\r\nUpgrade: %b\r\n" % upgrade
    if head.te is not None and b"trailers" in tokens(head.te) and head.connection is not None and b"te" in tokens(head.connection):
        fields += b"TE: trailers\r\nConnection: TE\r\n"
    return fields


def _trailer(head: RequestHead | ResponseHead) -> bytes:
    """Which trailer fields a body in chunks announces; without chunks there can be none (RFC 9110, 6.6.2)."""
    return b"" if head.trailer is None else b"Trailer: %b\r\n" % head.trailer


def response_head(exchange: Exchange, head: ResponseHead) -> list[bytes]:
    """The complete response head for the client, in pieces: they are joined once, with the body behind them."""
    ordinary = exchange.keep_alive and exchange.head.version == "1.1" and head.dated
    known = head.rendered
    if ordinary and known is not None and known[0] is exchange.route and known[1] is exchange.secure:
        fields = known[2]
    else:
        fields = _response_fields(exchange, head)
        if ordinary:
            head.rendered = (exchange.route, exchange.secure, fields)
    return [fields, exchange.request_id, b"\r\n", exchange.answer_lines, b"\r\n"]


def _response_fields(exchange: Exchange, head: ResponseHead) -> bytes:
    lines = head.lines
    if head.connection is not None:
        named = named_by_connection(head.connection)
        if named:
            lines = without(lines, named)
    edits = exchange.route.response_edits
    if edits is not None:
        lines = edits.apply(lines)
    security = exchange.plane.security
    careful = b""
    if security is not None:
        careful = security.missing(lines[::4], NOTHING if edits is None else edits.names, secure=exchange.secure)
    framing = date = connection = b""
    if head.content_length >= 0 and head.status != 204:
        framing = b"Content-Length: %d\r\n" % head.content_length
    elif exchange.chunked_out:
        framing = b"Transfer-Encoding: chunked\r\n" + _trailer(head)
    if not head.dated:
        date = exchange.plane.date_line
    if not exchange.keep_alive:
        connection = b"Connection: close\r\n"
    elif exchange.head.version != "1.1":
        connection = b"Connection: keep-alive\r\n"
    return b"".join((STATUS_LINES[head.status], *lines, framing, date, connection, careful, b"Via: 1.1 lbgateway\r\nX-Request-Id: "))


def request_trailers(exchange: Exchange, trailers: list[bytes]) -> list[bytes]:
    """The fields behind a request's body that go on; what its head may not say, they may not: some servers merge the two."""
    edits = exchange.route.request_edits
    if exchange.trace is not None:
        trailers = without(trailers, exchange.trace.replaced)
    return trailers if edits is None else edits.dropping(trailers)


def response_trailers(exchange: Exchange, trailers: list[bytes]) -> list[bytes]:
    """The fields behind a response's body that go on."""
    edits = exchange.route.response_edits
    return trailers if edits is None else edits.dropping(trailers)


def informational_response(exchange: Exchange, head: ResponseHead) -> bytes:
    """An interim response, as it came but for what the route takes away."""
    edits = exchange.route.response_edits
    lines = _end_to_end(head)
    return b"".join((STATUS_LINES[head.status], *(lines if edits is None else edits.dropping(lines)), b"\r\n"))


def switching_response(exchange: Exchange, head: ResponseHead) -> bytes:
    """101: the one response whose ``Connection`` and ``Upgrade`` pass."""
    edits = exchange.route.response_edits
    lines = _end_to_end(head)
    return b"".join(
        (
            STATUS_LINES[101],
            *(lines if edits is None else edits.apply(lines)),
            b"Connection: Upgrade\r\nUpgrade: ",
            head.upgrade or b"",
            b"\r\nVia: 1.1 lbgateway\r\nX-Request-Id: ",
            exchange.request_id,
            b"\r\n\r\n",
        )
    )


def _end_to_end(head: ResponseHead) -> list[bytes]:
    """Its fields without those that ``Connection`` names."""
    return head.lines if head.connection is None else without(head.lines, named_by_connection(head.connection))

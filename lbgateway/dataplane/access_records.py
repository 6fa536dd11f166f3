"""What the access log is told: of an exchange, of an answer of the gateway's own application, of what was no request.

Only tuples are made here, since that is what the request path can afford; `telemetry.access_line` makes lines of them.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from lbgateway.telemetry.metrics import METHOD_LABELS

if TYPE_CHECKING:
    from lbgateway.dataplane.asgi import AsgiExchange
    from lbgateway.dataplane.exchange import Exchange
    from lbgateway.dataplane.exchange_state import Downstream
    from lbgateway.dataplane.head import RequestHead
    from lbgateway.dataplane.route import Route
    from lbgateway.dataplane.upstream import GatewayEndpoint, Upstream
    from lbgateway.errors import GatewayError

UNTRACED = (None, 0)


def log_exchange(exchange: Exchange, now_s: float) -> None:
    """One finished exchange, of a plane that has an access log."""
    head, error, client, identity = exchange.head, exchange.error, exchange.downstream, exchange.identity
    endpoint: GatewayEndpoint | None = exchange.endpoint
    route: Route | None = exchange.route
    upstream: Upstream | None = exchange.upstream
    exchange.plane.access_log.append((  # type: ignore[union-attr]  # whoever calls has looked
        now_s, exchange.request_id, client.peer if head.forwarded is None or not client.trusted else client_of(client, head),
        head.method.decode(), head.hosts or b"", head.target,
        None if route is None else route.label, upstream.name if upstream is not None else (route and exchange.service_meant()) or None,
        None if endpoint is None else endpoint.id, exchange.status, None if error is None else error.slug,
        now_s - exchange.started_s, None if endpoint is None else exchange.upstream_s, exchange.attempts,
        exchange.bytes_in, exchange.bytes_out, user_agent(head), exchange.hedged,
        client.peer, None if identity is None else identity.claims.get("sub"), client.certificate,
        *(UNTRACED if exchange.trace is None else (exchange.trace.trace_id, exchange.trace.flags)),
    ))  # fmt: skip


def log_refusal(error: GatewayError, request_id: bytes, client: Downstream, head: RequestHead, bytes_out: int) -> None:
    """Count a message that was no request, and log it if there is a log."""
    plane = client.plane
    plane.metrics.errors[error.slug] += 1
    plane.unrouted.requests[METHOD_LABELS.get(head.method, "other"), error.status] += 1
    if plane.access_log is not None:
        plane.access_log.append((
            monotonic(), request_id, client_of(client, head), head.method.decode(), head.hosts or b"", head.target, None, None, None,
            error.status, error.slug, 0.0, None, 0, 0, bytes_out, user_agent(head), False, client.peer, None, client.certificate, *UNTRACED,
        ))  # fmt: skip


def log_own_answer(exchange: AsgiExchange, now_s: float) -> None:
    """Count what the gateway's own application has refused, and log its answer if there is a log."""
    log, head, client = exchange.plane.access_log, exchange.head, exchange.protocol
    if exchange.refusal is not None:
        exchange.plane.metrics.errors[exchange.refusal] += 1
    if log is not None:
        log.append((
            now_s, exchange.request_id, client_of(client, head), head.method.decode(), head.hosts or b"", head.target, exchange.label,
            None, None, exchange.status, exchange.refusal, now_s - exchange.started_s, None, 0, len(exchange.body), exchange.bytes_out,
            user_agent(head), False, client.peer, None, client.certificate, *UNTRACED,
        ))  # fmt: skip


def client_of(client: Downstream, head: RequestHead) -> str:
    """The address of whoever asks: the peer's, or the one that trusted proxies vouch for."""
    if head.forwarded is None or not client.trusted:
        return client.peer
    return client.plane.clients.address_of(client.peer, head.forwarded)


def user_agent(head: RequestHead) -> bytes:
    """The client's ``User-Agent``, empty if there is none."""
    lines = head.lines
    for index in range(1, len(lines) - 3, 4):
        name = lines[index]
        if len(name) == 10 and name.lower() == b"user-agent":
            return lines[index + 2]
    return b""

"""Between two attempts of an exchange: the facts of a failure, and an answer that is let go."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from balancers.endpoint import Outcome
from lbgateway.dataplane.exchange_state import CONNECTING, RESPONDING
from lbgateway.errors import Origin, UpstreamMalformed
from lbgateway.policies.retry import IDEMPOTENT, SAFE, Facts

if TYPE_CHECKING:
    from lbgateway.dataplane.exchange import Exchange
    from lbgateway.dataplane.exchange_state import Connection
    from lbgateway.dataplane.head import RequestHead, ResponseHead
    from lbgateway.dataplane.upstream import GatewayEndpoint
    from lbgateway.errors import GatewayError

RETRY_AFTER_MOST_S = 30.0
"""No ``Retry-After`` makes an endpoint look busy for longer: the next one may say otherwise."""

PATIENCE_S = 3.0
"""So long a client is kept waiting for the only instance, when that has said when to come back."""


EXCUSED = frozenset((501, 503, 505))
"""Statuses that eject nobody: "not this", "not now", "not so" is what a working instance says."""


class Accused(NamedTuple):
    """Who has given a 5xx (None: several have, so it is the request's fault), which one, and when the request had been sent to it."""

    endpoint: GatewayEndpoint | None
    status: int
    sent_at_s: float


def may_be_lost(exchange: Exchange) -> bool:
    """Whether the first attempt may fail without anybody noticing: there will be another one, of the whole request."""
    head, retry = exchange.head, exchange.route.retry
    if exchange.attempts or not retry.attempts or head.method not in IDEMPOTENT or head.upgrade is not None:
        return False
    if head.has_body and (head.chunked or head.content_length > retry.replay_body_up_to):
        return False
    upstream = exchange.upstream
    return upstream.retry_budget(retry.budget, retry.min_per_second).available(upstream.requests_total, exchange.started_s)


def facts_of(exchange: Exchange, reason: str, now_s: float, *, nothing_sent: bool = False, stale: bool = False) -> Facts:
    """What `may_retry` wants to know of the attempt that has just failed for `reason` (a word of ``retry.on``)."""
    head, retry, upstream = exchange.head, exchange.route.retry, exchange.upstream
    budget = upstream.retry_budget(retry.budget, retry.min_per_second)
    return Facts(
        reason,
        retry.on,
        retry.attempts + 1 - exchange.attempts,
        nothing_sent=nothing_sent,
        response_started=exchange.phase is RESPONDING,
        safe=head.method in SAFE,
        repeatable=head.method in IDEMPOTENT or has_field(head, b"idempotency-key"),
        body_replayable=exchange.replayable or exchange.phase is CONNECTING,
        stale_connection=stale,
        time_left=now_s < exchange.until_s,
        budget_left=budget.available(upstream.requests_total, now_s) or (nothing_sent and budget.exists),
    )


def outcome_of(error: GatewayError) -> Outcome:
    """Whose failure it was: nobody's if it is our own, for want of files or ports."""
    if error.origin is Origin.GATEWAY:
        return Outcome.ABANDONED
    return Outcome.FAILED_REMOTE if isinstance(error, UpstreamMalformed) else Outcome.FAILED_LOCAL


def has_field(head: RequestHead, name: bytes) -> bool:
    """Whether a request has a field; `name` in lower case."""
    return any(field.lower() == name for field in head.lines[1::4])


def retry_after_s(head: ResponseHead) -> float:
    """How long an upstream wants to be left alone, in seconds; 0.0 if it does not say, or gives a date."""
    lines = head.lines
    for index in range(0, len(lines), 4):
        if lines[index].lower() == b"retry-after":
            value = lines[index + 2]
            return min(float(value), RETRY_AFTER_MOST_S) if value.isdigit() else 0.0
    return 0.0


class LetGo:
    """Takes the place of an exchange that has gone on to another attempt: what is still to come of the answer is nobody's.

    If all of it has come already, the connection is kept; to wait for the rest would cost more than a new one.
    """

    __slots__ = ("_connection", "_keep", "_now_s")

    def __init__(self, connection: Connection, now_s: float, *, keep: bool) -> None:
        """`keep`: the upstream has all of the request, so the connection could be used again."""
        self._connection: Connection | None = connection
        self._now_s = now_s
        self._keep = keep
        connection.exchange = self

    def on_informational(self, head: ResponseHead) -> None:
        """Cannot come behind a final head."""

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """Cannot come behind a final head."""

    def on_response_head(self, head: ResponseHead) -> None:
        """Has come before."""

    def on_response_body(self, pieces: list[bytes]) -> None:  # noqa: ARG002 nobody wants them
        """The answer has not ended with the read that brought its head."""
        self._release(reusable=False)

    def on_response_end(self, pieces: list[bytes], trailers: list[bytes] | None) -> None:  # noqa: ARG002 as above
        """All of it has come."""
        self._release(reusable=self._keep)

    def on_switched(self, head: ResponseHead, rest: bytes) -> None:  # noqa: ARG002 as above
        self._release(reusable=False)

    def on_upstream_error(self, error: GatewayError) -> None:  # noqa: ARG002 it has been judged by its status
        self._release(reusable=False)

    def on_upstream_paused(self) -> None:
        """What it does not read is not needed."""

    def on_upstream_resumed(self) -> None:
        """As above."""

    def _release(self, *, reusable: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.pool.release(connection, self._now_s, reusable=reusable)

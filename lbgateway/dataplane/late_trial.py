"""The trial of an ejected endpoint that goes on after its client has been answered by somebody else.

A trial may be hedged like any other request: its client shall not wait for an endpoint that may hang still. But if the second
attempt wins, the trial must not end without a verdict, or an endpoint that hangs would be tried again and again, and come back in
the end without having answered anybody. So it goes on for as long as an attempt may take; whatever comes then decides, and is thrown away.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from balancers.endpoint import Outcome
from lbgateway.dataplane.attempts import EXCUSED, LetGo, outcome_of
from lbgateway.dataplane.exchange import Exchange
from lbgateway.dataplane.exchange_state import CONNECTING, WAITING
from lbgateway.errors import ResponseTimeout, UpstreamClosed

if TYPE_CHECKING:
    from lbgateway.dataplane.exchange_state import Connection
    from lbgateway.dataplane.head import ResponseHead
    from lbgateway.dataplane.race import Runner
    from lbgateway.errors import GatewayError

SUPERSEDED = "its client has been answered by another instance"


class LateTrial(Exchange):
    """The rest of one attempt: takes it over from `answered`, and ends it as all attempts end. No client is left, and nothing to settle."""

    __slots__ = ("_answered", "_let_go_of", "_timer")

    def __init__(self, answered: Exchange, now_s: float) -> None:
        super().__init__()
        self._answered = answered
        self._let_go_of: LetGo | None = None
        self.plane, self.upstream, self.route, self.head = answered.plane, answered.upstream, answered.route, answered.head
        self.endpoint, self.phase, self.sent_at_s = answered.endpoint, answered.phase, answered.sent_at_s
        self.request_bytes, self.body, self.attempts = answered.request_bytes, answered.body, answered.attempts
        self.until_s = self.sent_at_s + self.route.timeout.response
        self._timer = self.plane.loop.call_later(max(0.0, self.until_s - now_s), self._on_late)
        if answered.trace is not None and answered.attempt is not None:
            answered.trace.end_attempt(answered.attempt, Outcome.ABANDONED, None, now_s)
        if answered.connecting is not None:
            # That connection would be told to whom it was promised.
            answered.connecting.cancel()
            self.connecting = self.endpoint.pool.connect(self, self.route.timeout.connect)
        connection = self.connection = answered.connection
        if connection is not None:
            connection.exchange = self
            if answered.downstream_paused:
                connection.resume_reading()

    # -- from a pool ---------------------------------------------------------------------------

    def on_connected(self, connection: Connection) -> None:
        self.connecting = None
        self.connection = connection
        self.phase = WAITING
        connection.exchange = self
        if self.head.method == b"HEAD":
            connection.expect(bodyless=True, upgrade=False)
        connection.write(self.first_bytes())
        if self.body:
            connection.write(b"".join(self.body))

    def on_connect_failed(self, error: GatewayError) -> None:
        self.connecting = None
        self._end(outcome_of(error), error)

    # -- from its connection -------------------------------------------------------------------

    def on_informational(self, head: ResponseHead) -> None:
        """Nobody wants to know."""

    def on_response_head(self, head: ResponseHead) -> None:
        """The verdict; what follows is not waited for."""
        now_s = monotonic()
        connection, self.connection = self.connection, None
        assert connection is not None
        self._let_go_of = LetGo(connection, now_s, keep=True)
        blamed = head.status >= 500 and head.status not in EXCUSED and head.status != self._answered.status  # or it is the request's fault
        self._end(Outcome.OK if head.status < 500 else Outcome.FAILED_REMOTE)
        if blamed:
            self.upstream.outliers.failed(self.endpoint, Outcome.FAILED_REMOTE, self.sent_at_s, now_s)

    def on_response_body(self, pieces: list[bytes]) -> None:
        """Of the same read as the head."""
        if self._let_go_of is not None:
            self._let_go_of.on_response_body(pieces)

    def on_response_end(self, pieces: list[bytes], trailers: list[bytes] | None) -> None:
        """As above."""
        if self._let_go_of is not None:
            self._let_go_of.on_response_end(pieces, trailers)

    def on_upstream_error(self, error: GatewayError) -> None:
        connection = self.connection
        stale = isinstance(error, UpstreamClosed) and connection is not None and connection.uses > 0 and not connection.received
        self._end(Outcome.ABANDONED if stale else outcome_of(error), error)

    def on_upstream_paused(self) -> None:
        """All of the request is written."""

    def on_upstream_resumed(self) -> None:
        """As above."""

    # -- its end -------------------------------------------------------------------------------

    def _on_late(self) -> None:
        late = ResponseTimeout(cause=f"no answer within {self.route.timeout.response:g} s, {SUPERSEDED}")
        self._end(Outcome.FAILED_LOCAL, late)

    def _end(self, outcome: Outcome, error: GatewayError | None = None) -> None:
        self._timer.cancel()
        assert self.phase in (CONNECTING, WAITING)
        self.end_attempt(outcome, monotonic(), reusable=False, error=error)
        self._answered = self  # lets go of the client's


def is_trial(attempt: Runner) -> bool:
    """Whether an attempt is to decide about an ejected endpoint."""
    endpoint = attempt.endpoint
    return endpoint.ejection is not None and 0.0 < endpoint.trials_since_s <= attempt.sent_at_s

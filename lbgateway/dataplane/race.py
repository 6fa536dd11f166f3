"""Two attempts of one exchange at the same time: the second one beside a first one that is slow (`hedge`).

An exchange knows one attempt at a time, so the race keeps the other one's part (a `Runner`), and the runners hear
both connections in the exchange's stead:

* Whatever a runner's connection tells makes that runner *lead*: its part becomes the exchange's, which then handles it as ever.
* While both run, the first one leads: its deadline is the one that the sweep looks at.
* A response head that is passed on wins; the other attempt is abandoned, or, if it is to decide about an ejected endpoint, goes on
  (`late_trial`). A head that another instance might better (a retryable 5xx), or an error, ends its own attempt only, and the other
  one goes on alone.

So each attempt ends exactly once, where all attempts end: in `Exchange.end_attempt`.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from balancers.endpoint import Outcome
from balancers.load import give_up_on
from lbgateway.dataplane.exchange_state import CONNECTING
from lbgateway.dataplane.late_trial import LateTrial, is_trial
from lbgateway.policies.retry import SAFE

if TYPE_CHECKING:
    from lbgateway.dataplane.exchange import Exchange
    from lbgateway.dataplane.exchange_state import Connection
    from lbgateway.dataplane.head import ResponseHead
    from lbgateway.dataplane.hedge import Hedging
    from lbgateway.dataplane.upstream import GatewayEndpoint
    from lbgateway.errors import GatewayError


class Runner:
    """One of two attempts: what an exchange knows of an attempt, while it knows another one. Hears its connection."""

    __slots__ = ("attempt", "connecting", "connection", "deadline_s", "endpoint", "phase", "race", "request_bytes", "sent_at_s")

    def __init__(self, race: Race) -> None:
        self.race = race
        self.park()

    def park(self) -> None:
        """Keep what the exchange knows of its attempt."""
        exchange = self.race.exchange
        self.phase = exchange.phase
        self.request_bytes = exchange.request_bytes
        self.attempt = exchange.attempt
        self.endpoint = exchange.endpoint
        self.connection = exchange.connection
        self.connecting = exchange.connecting
        self.sent_at_s = exchange.sent_at_s
        self.deadline_s = exchange.deadline_s

    def unpark(self) -> None:
        """Give it back."""
        exchange = self.race.exchange
        exchange.phase = self.phase
        exchange.request_bytes = self.request_bytes
        exchange.attempt = self.attempt
        exchange.endpoint = self.endpoint
        exchange.connection = self.connection
        exchange.connecting = self.connecting
        exchange.sent_at_s = self.sent_at_s
        exchange.deadline_s = self.deadline_s

    # -- from a pool: the second one only ------------------------------------------------------

    def first_bytes(self) -> bytes:
        return self.race.exchange.timed(self.request_bytes)

    def on_connected(self, connection: Connection) -> None:
        self.race.lead(self)
        self.race.exchange.on_connected(connection)
        self.race.lead(self.race.first)

    def on_connect_failed(self, error: GatewayError) -> None:
        self.race.lead(self)
        self.race.exchange.on_connect_failed(error)

    # -- from its connection -------------------------------------------------------------------

    def on_informational(self, head: ResponseHead) -> None:
        """The client hears those of the first one."""
        if self is self.race.leader:
            self.race.exchange.on_informational(head)

    def on_response_head(self, head: ResponseHead) -> None:
        self.race.lead(self)
        if head.status < 429:
            self.race.decide(monotonic())
        self.race.exchange.on_response_head(head)

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        self.on_response_head(head)
        self.race.exchange.on_response_end([body], None)

    def on_response_body(self, pieces: list[bytes]) -> None:
        """Whose head has won is no runner any more, but the read that brought it may bring this, too."""
        self.race.exchange.on_response_body(pieces)

    def on_response_end(self, pieces: list[bytes], trailers: list[bytes] | None) -> None:
        """As above."""
        self.race.exchange.on_response_end(pieces, trailers)

    def on_switched(self, head: ResponseHead, rest: bytes) -> None:
        """Cannot come: nothing was asked for."""

    def on_upstream_error(self, error: GatewayError) -> None:
        self.race.lead(self)
        self.race.exchange.on_upstream_error(error)

    def on_upstream_paused(self) -> None:
        """All of the request is written, nothing more needs to be held back."""

    def on_upstream_resumed(self) -> None:
        self.race.exchange.on_upstream_resumed()


class Race:
    """Two attempts of one exchange, until one of them has won or failed."""

    __slots__ = ("exchange", "first", "hedging", "leader", "second")

    second: Runner

    def __init__(self, exchange: Exchange, hedging: Hedging) -> None:
        self.exchange = exchange
        self.hedging = hedging
        hedging.racing += 1
        self.first = self.leader = Runner(self)
        exchange.race = self
        exchange.hedged = True
        if exchange.connection is not None:
            exchange.connection.exchange = self.first

    def __repr__(self) -> str:
        return f"<Race {self.first.endpoint.id} {self.second.endpoint.id} led by {self.leader.endpoint.id}>"

    def start(self, endpoint: GatewayEndpoint, now_s: float) -> None:
        """Send the request to `endpoint`, too."""
        exchange = self.exchange
        exchange.attempts += 1
        endpoint.active += 1
        if not endpoint.oldest_at_s:
            endpoint.oldest_at_s = now_s
        exchange.endpoint, exchange.connection, exchange.connecting = endpoint, None, None
        exchange.phase, exchange.sent_at_s, exchange.deadline_s = CONNECTING, now_s, exchange.until_s
        if exchange.trace is not None:
            exchange.trace.picked(exchange)
        self.second = self.leader = Runner(self)
        connection = endpoint.pool.lease(now_s)
        if connection is not None:
            exchange.on_connected(connection)
        else:
            exchange.connecting = endpoint.pool.connect(self.second, exchange.route.timeout.connect)
        self.lead(self.first)

    def lead(self, runner: Runner) -> None:
        """Let the exchange's part be that of `runner`."""
        if runner is not self.leader and self.exchange.race is self:
            self.leader.park()
            self.leader = runner
            runner.unpark()

    def hear(self, connection: Connection) -> None:
        """The leader has its connection."""
        connection.exchange = self.leader

    @property
    def other(self) -> Runner:
        return self.second if self.leader is self.first else self.first

    # -- its end -------------------------------------------------------------------------------

    def may_be_bettered(self, reason: str) -> bool:
        """Whether the other one may bring a better answer than one that is `reason` (a word of ``retry.on``) for another try."""
        exchange = self.exchange
        return reason in exchange.route.retry.on and (reason != "500" or exchange.head.method in SAFE)

    def decide(self, now_s: float) -> None:
        """The leader has brought an answer that is passed on: it has won."""
        self.hedging.patience.learn(now_s - self.first.sent_at_s)
        if is_trial(self.other):
            self.call_off(now_s, undecided=True)
            return
        loser = self.other.endpoint
        silent_since_s = loser.oldest_at_s
        self.call_off(now_s)
        # Being overtaken is no answer: who keeps silent altogether must not look better for it.
        loser.oldest_at_s = silent_since_s
        give_up_on(loser, now_s, self.exchange.upstream.endpoints.ready)

    def call_off(self, now_s: float, *, undecided: bool = False) -> None:
        """The leader is alone from now on; the other one is abandoned, and blamed for nothing, or goes on if it is `undecided`."""
        exchange, leader, loser = self.exchange, self.leader, self.other
        self.lead(loser)
        self._end()
        if undecided:
            LateTrial(exchange, now_s)
        else:
            exchange.end_attempt(Outcome.ABANDONED, now_s, reusable=False)
        leader.unpark()
        exchange.upstream_s = now_s - exchange.sent_at_s
        self._alone()

    def go_on(self) -> None:
        """The leader's attempt has ended without an answer to pass on: the other one is alone from now on."""
        exchange = self.exchange
        self._end()
        exchange.excluded = (*exchange.excluded, exchange.endpoint)
        self.other.unpark()
        self._alone()

    def _end(self) -> None:
        self.exchange.race = None
        self.hedging.racing -= 1

    def _alone(self) -> None:
        exchange = self.exchange
        if exchange.upstream_paused:
            # It was the other one's, maybe; and there is nothing to hold back.
            exchange.on_upstream_resumed()
        connection = exchange.connection
        if connection is not None:
            connection.exchange = exchange
            if exchange.downstream_paused:
                connection.pause_reading()
            else:
                connection.resume_reading()

"""Which requests of one service get a second attempt beside a slow first one, and when.

The rule is `policies.hedge`'s, what becomes of the two attempts is told in `race`. Here is who waits since when, in
their order, with one timer for all of them: a request costs an entry, and the next sweep forgets who was answered.
"""

from __future__ import annotations

from collections import deque
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from balancers.endpoint import EndpointState
from lbgateway.dataplane.exchange_state import CONNECTING, RESPONDING, WAITING
from lbgateway.dataplane.race import Race
from lbgateway.policies.hedge import HedgeFacts, HedgeShare, Patience, may_hedge

if TYPE_CHECKING:
    import asyncio

    from lbgateway.dataplane.exchange import Exchange
    from lbgateway.dataplane.upstream import GatewayEndpoint, Upstream
    from lbgateway.policies.hedge import HedgeRules

    Sent = tuple[float, Exchange, int]
    """When an attempt was sent, of which exchange, and which number it has there."""

REFRESH_S = 1.0

LOOK_AT = 100
"""So many of those that could not be helped in time are asked for again, each time: a sweep must not take long."""


def hedging_by(rules: HedgeRules | None, upstream: Upstream, loop: asyncio.AbstractEventLoop) -> Hedging | None:
    """How `upstream` is hedged from now on: as before if the rules are the same, with all that is known."""
    before = upstream.hedging
    if before is not None and before.rules != rules:
        before.stop()
        before = None
    return before or (None if rules is None else Hedging(rules, upstream, loop))


class Hedging:
    """Who of one upstream waits for a response head, and what becomes of those that wait for too long."""

    __slots__ = ("_due_at_s", "_late", "_loop", "_refresh_at_s", "_sent", "_timer", "patience", "racing", "rules", "share", "upstream")

    def __init__(self, rules: HedgeRules, upstream: Upstream, loop: asyncio.AbstractEventLoop) -> None:
        self.rules = rules
        self.upstream = upstream
        self._loop = loop
        self.patience = Patience(rules)
        self.racing = 0
        """How many races there are now."""
        self.share = HedgeShare(rules.at_most, self._requests())
        self._sent: deque[Sent] = deque()
        self._late: list[Sent] = []
        """Those that were not answered in time and could not be helped yet, the oldest first."""
        self._timer: asyncio.TimerHandle | None = None
        self._due_at_s = 0.0
        self._refresh_at_s = 0.0

    def __repr__(self) -> str:
        return f"<Hedging {self.upstream.name} {self.patience!r} {self.share!r} waiting={len(self._sent)}>"

    def watch(self, exchange: Exchange, now_s: float) -> None:
        """An attempt of `exchange` has begun, and all of its request has come. On the warm path: no timer of its own."""
        self._sent.append((now_s, exchange, exchange.attempts))
        if self._timer is None:
            self._arm(now_s)

    def sweep(self, now_s: float) -> None:
        """Forget who has been answered, learn from it; help whoever waits longest. To be called several times a second."""
        self._sent = deque(sent for sent in self._sent if not self._is_over(sent))
        self._late = [sent for sent in self._late if not self._is_over(sent)]
        for _, exchange, _ in self._late[:LOOK_AT]:
            if not self.share.available(self._requests()):
                break
            self._hedge(exchange, now_s)
        if now_s >= self._refresh_at_s:
            self._refresh_at_s = now_s + REFRESH_S
            self.patience.refresh()
        if self._timer is None:
            self._arm(now_s)

    def stop(self) -> None:
        """Nobody gets a second attempt any more; races go on."""
        self._sent.clear()
        self._late.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, now_s: float) -> None:
        if self._sent and self.patience.after_s < inf:
            self._due_at_s = self._sent[0][0] + self.patience.after_s
            self._timer = self._loop.call_later(max(0.0, self._due_at_s - now_s), self._on_due)

    def _on_due(self) -> None:
        self._timer = None
        # A loop may call a hair too early.
        now_s = max(monotonic(), self._due_at_s)
        while self._sent and self._sent[0][0] + self.patience.after_s <= now_s:
            sent = self._sent.popleft()
            if not self._is_over(sent):
                self._late.append(sent)
                self._hedge(sent[1], now_s)
        self._arm(now_s)

    def _is_over(self, sent: Sent) -> bool:
        """Whether an attempt need not be watched any more: it was answered, has failed, or is in a race."""
        _, exchange, number = sent
        if exchange.attempts != number:
            return True
        if exchange.phase in (CONNECTING, WAITING):
            return False
        if exchange.phase >= RESPONDING and exchange.status < 500 and exchange.error is None:
            self.patience.learn(exchange.upstream_s)
        return True

    # -- the decision --------------------------------------------------------------------------

    def _hedge(self, exchange: Exchange, now_s: float) -> None:
        if not may_hedge(self._facts(exchange, now_s)):
            return
        endpoint = self._another(exchange, now_s)
        if endpoint is None:
            return
        retry = exchange.route.retry
        self.share.withdraw()
        self.upstream.retry_budget(retry.budget, retry.min_per_second).withdraw()
        exchange.plane.metrics.hedges[self.upstream.name] += 1
        Race(exchange, self).start(endpoint, now_s)

    def _facts(self, exchange: Exchange, now_s: float) -> HedgeFacts:
        upstream, retry, head = self.upstream, exchange.route.retry, exchange.head
        return HedgeFacts(
            head.method,
            retry.attempts + 1 - exchange.attempts,
            first=not exchange.hedged,
            complete=exchange.request_done and exchange.replayable,
            plain=head.upgrade is None,
            client_reads=not exchange.downstream_paused,
            time_left=now_s < exchange.until_s,
            calm=not upstream.endpoints.panic and upstream.tripped is None and not upstream.line,
            share_left=self.share.available(self._requests()),
            budget_left=upstream.retry_budget(retry.budget, retry.min_per_second).available(upstream.requests_total, now_s),
        )

    def _requests(self) -> int:
        """So many the service has had, those under way included: a race is one of them."""
        return self.upstream.requests_total + sum(endpoint.active for endpoint in self.upstream.endpoints.ready) - self.racing

    def _another(self, exchange: Exchange, now_s: float) -> GatewayEndpoint | None:
        """An instance that this exchange has not asked, with room, and no mere suspect."""
        upstream = self.upstream
        tried = upstream.full().union(exchange.excluded, (exchange.endpoint,))
        endpoint = upstream.endpoints.pick(now_s, None, tried)
        return None if endpoint is None or endpoint.state is EndpointState.SUSPECT else endpoint

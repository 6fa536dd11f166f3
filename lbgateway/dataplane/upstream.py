"""An upstream: the group of endpoints that a route forwards to, and everything that is kept per group."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from balancers import make_balancer
from balancers.endpoint import EndpointState
from balancers.endpoint_set import EndpointSet
from balancers.load import typical_latency
from balancers.outlier import Outliers
from lbgateway.dataplane.adapting import Adapting
from lbgateway.dataplane.gateway_endpoint import EndpointMaker, GatewayEndpoint, endpoint_key
from lbgateway.dataplane.hedge import Hedging, hedging_by
from lbgateway.dataplane.httpx_pool import HttpxPool
from lbgateway.dataplane.members import Verdict, member_of
from lbgateway.dataplane.news import News
from lbgateway.dataplane.orders import NO_ORDER, Orders, end_due, give, ordered
from lbgateway.dataplane.pool import Pool
from lbgateway.dataplane.reach import HttpxReach
from lbgateway.dataplane.recorder import PickRecorder
from lbgateway.dataplane.rules import UpstreamRules
from lbgateway.dataplane.waiting_line import WaitingLine
from lbgateway.errors import Origin
from lbgateway.policies.circuit_breaker import BreakerState, CircuitBreaker
from lbgateway.policies.retry_budget import RetryBudget
from lbgateway.telemetry.events import Events
from lbgateway.telemetry.metrics import Histogram

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable
    from random import Random

    from balancers.endpoint_set import Member, SyncReport
    from discovery.instance import Instance, Snapshot
    from lbgateway.controlplane.port import Command
    from lbgateway.dataplane.exchange import Exchange
    from lbgateway.dataplane.reach import Reach
    from lbgateway.errors import Overloaded

__all__ = ["CALLABLE", "EndpointMaker", "GatewayEndpoint", "Upstream", "endpoint_key"]

CALLABLE = frozenset((EndpointState.READY, EndpointState.WARMING, EndpointState.SUSPECT, EndpointState.EJECTED))
"""States in which an endpoint may get a request: an ejected one does for its trial, or in panic."""


class Upstream:
    """One service: its endpoints, their balancer and its numbers. Survives reloads and registry changes."""

    def __init__(
        self,
        name: str,
        balancer: str,
        *,
        pool_idle_s: float,
        loop: asyncio.AbstractEventLoop,
        random: Random,
        events: Events | None = None,
        orders: Orders | None = None,
        make_endpoint: EndpointMaker = GatewayEndpoint,
    ) -> None:
        # for life
        self.name = name
        self._loop = loop
        self._random = random
        self._make_endpoint = make_endpoint
        self.news = News(name, Events() if events is None else events)
        self._instances: dict[Hashable, Instance] = {}
        self.endpoints: EndpointSet[GatewayEndpoint] = EndpointSet(make_balancer(balancer, random), self._make, self.news.on_change)
        self.outliers: Outliers[GatewayEndpoint] = Outliers(
            self.endpoints, random, attempts_of=_attempts_of,
            on_eject=self.news.on_eject, on_return=self.news.on_return, on_kept=self.news.on_kept,
        )  # fmt: skip
        self.recorder = PickRecorder(self.endpoints)
        self.breaker = CircuitBreaker(self._on_breaker)
        self.line = WaitingLine()
        self.orders: Orders = {} if orders is None else orders
        # as configured
        self.balancer_name = balancer
        self.rules = UpstreamRules()
        self.hedging: Hedging | None = None
        self.adapting: Adapting | None = None
        self._pool_idle_s = pool_idle_s
        self.processes = 1  # that share what a retry budget gives in any case
        self.reach: Reach | None = None
        self.hides: Callable[[str], bool] | None = None  # whether it is out of reach by name; None: it never is
        # as the registry says
        self.snapshot: Snapshot | None = None
        # as our own checks say
        self.verdicts: dict[Hashable, Verdict] = {}
        # as traffic says
        self.duration = Histogram()
        self.tripped: CircuitBreaker | None = None
        """The breaker, while it is not closed."""
        self.requests_total = self.failures_total = 0
        """Exchanges that reached an instance; those of them that ended with a 5xx or an error of the gateway's, after all retries."""
        self.requests_per_second = self._began_s = 0.0
        self._untried_total = self._rated = 0
        self._budgets: dict[tuple[float, float], RetryBudget] = {}

    def __repr__(self) -> str:
        return f"<Upstream {self.name} {self.endpoints!r}>"

    def configure(self, balancer: str, pool_idle_s: float) -> None:
        """Take over new settings; endpoints keep all they know."""
        self._pool_idle_s = pool_idle_s
        for endpoint in self.endpoints.endpoints.values():
            endpoint.pool.idle_timeout_s = pool_idle_s
        if balancer != self.balancer_name:
            self.balancer_name = balancer
            self.endpoints.replace_balancer(make_balancer(balancer, self._random))

    def guard(self, rules: UpstreamRules, now_s: float) -> None:
        """Take over how the service is guarded; who is out stays out, unless nobody may be any more."""
        self.rules = rules
        self.outliers.configure(rules.outlier, now_s)
        self.breaker.configure(rules.breaker, now_s)
        self.endpoints.panic_below(rules.panic_threshold)
        self.endpoints.slow_start_s = rules.slow_start_s
        # What was learnt stays learnt, unless it is not wanted any more.
        self.adapting = (self.adapting or Adapting(self._most_active, self._random)) if rules.adaptive else None
        for endpoint in (*self.endpoints.endpoints.values(), *self.endpoints.leaving.values()):
            self._limit(endpoint)
        self.hedging = hedging_by(rules.hedge, self, self._loop)

    def reach_by(self, reach: Reach | None) -> None:
        """Have httpx reach the instances as `reach` says, or our own connections if it is None. A change closes what is idle."""
        if reach != self.reach:
            self.reach = reach
            for endpoint in (*self.endpoints.endpoints.values(), *self.endpoints.leaving.values()):
                endpoint.replace_pool(self._new_pool(endpoint.instance))

    def take(self, snapshot: Snapshot, now_s: float) -> None:
        """Make the endpoints what the registry says. Who is not in it any more drains: no new requests, no idle connections."""
        if self.snapshot is None:
            self._began_s = now_s
        before, self.snapshot = self.snapshot, snapshot
        self._instances = {endpoint_key(instance): instance for instance in snapshot.instances}
        self.news.on_snapshot(before, snapshot, self.refresh(now_s))

    def refresh(self, now_s: float) -> SyncReport[GatewayEndpoint]:
        """Make the endpoints what the registry, our own checks and the operators say by now."""
        orders, verdicts = self.orders, self.verdicts
        report = self.endpoints.sync(
            [member_of(key, each, orders.get(each.key, NO_ORDER), verdicts.get(key)) for key, each in self._instances.items()], now_s
        )
        for key, endpoint in self.endpoints.endpoints.items():
            endpoint.instance = self._instances[key]
            if endpoint.state in CALLABLE:
                endpoint.pool.revive()
            else:
                endpoint.pool.retire()
        for endpoint in self.endpoints.leaving.values():
            endpoint.pool.retire()
        return report

    def obey(self, endpoint: GatewayEndpoint, command: Command, now_s: float) -> None:
        """Do at once what an operator wants of one instance."""
        key = endpoint.instance.key
        give(self.orders, key, ordered(self.orders.get(key, NO_ORDER), command, now_s))
        self.refresh(now_s)
        if command.verb == "uneject":
            self.outliers.release(endpoint, now_s)

    def _make(self, member: Member) -> GatewayEndpoint:
        instance = self._instances[member.key]
        endpoint = self._make_endpoint(instance, member, self._new_pool(instance))
        self._limit(endpoint)
        return endpoint

    def _limit(self, endpoint: GatewayEndpoint) -> None:
        # A connection carries one request at a time, so the fewer of the two bounds both.
        endpoint.pool.max_connections = self.rules.max_connections or inf
        endpoint.most_active = self._most_active() if self.adapting is None else self.adapting.bound(endpoint)

    def _most_active(self) -> float:
        return min(self.rules.max_active or inf, self.rules.max_connections or inf)

    def _new_pool(self, instance: Instance) -> Pool:
        place, reach = (instance.address, instance.port, self._pool_idle_s, self._loop), self.reach
        return HttpxPool(*place, reach) if isinstance(reach, HttpxReach) else Pool(*place, reach)

    def retry_budget(self, ratio: float, min_per_second: float) -> RetryBudget:
        """What is left for retries. A route that sets its own numbers has a bucket of its own, shared by those with the same."""
        budget = self._budgets.get((ratio, min_per_second))
        if budget is None:
            # As if it had been there from the beginning: the requests before the first failure have paid, too.
            budget = self._budgets[ratio, min_per_second] = RetryBudget(ratio, min_per_second / self.processes, now_s=self._began_s)
        return budget

    def sweep(self, now_s: float) -> None:
        """Close what has been idle for too long, forget who has left, count what has been answered."""
        if self.orders and end_due(self.orders, now_s):
            self.refresh(now_s)
        self.outliers.sweep(now_s)
        self.endpoints.warm(now_s)
        self.breaker.sweep(self.tried_total, self.failures_total, now_s)
        if self.hedging is not None:
            self.hedging.sweep(now_s)
        if self.adapting is not None:
            self.adapting.sweep(self.endpoints.endpoints.values(), now_s, ready=len(self.endpoints.ready))
        if self.line:
            self.advance_line(now_s)
        self.recorder.tick()
        self.duration.settle()
        for endpoint in self.endpoints.endpoints.values():
            endpoint.pool.sweep(now_s)
            if endpoint.series.answered:
                endpoint.series.settle()
        for endpoint in self.endpoints.sweep(now_s):
            endpoint.pool.retire()

    def close(self, now_s: float) -> None:
        """The service is gone: its endpoints finish what runs, and get nothing new."""
        self.hedging = hedging_by(None, self, self._loop)
        self.endpoints.sync((), now_s)
        for endpoint in self.endpoints.leaving.values():
            endpoint.pool.retire()

    def rate(self, elapsed_s: float) -> None:
        """Update ``requests_per_second``; called about once a second."""
        rate = (self.requests_total - self._rated) / elapsed_s
        self._rated = self.requests_total
        self.requests_per_second += 0.3 * (rate - self.requests_per_second)

    def rotate(self) -> None:
        """Let latencies older than a minute be forgotten; called every 30 s."""
        for endpoint in self.endpoints.endpoints.values():
            endpoint.series.rotate()

    # -- limits --------------------------------------------------------------------------------

    def full(self) -> set[GatewayEndpoint]:
        """The endpoints that have as many requests as they may."""
        return {endpoint for endpoint in self.endpoints.ready if endpoint.active >= endpoint.most_active}

    def wait_for_room(self, exchange: Exchange, now_s: float) -> Overloaded | None:
        """Let `exchange` wait until an instance has room, or say why it cannot."""
        ready = self.endpoints.ready
        served_s = typical_latency(ready)
        per_second = sum(endpoint.active for endpoint in ready) / served_s if served_s else 0.0
        return self.line.join(exchange, now_s, places=self.rules.max_pending * len(ready), per_second=per_second)

    def may_wait(self) -> bool:
        """Whether there is a place in the line."""
        return len(self.line) < self.rules.max_pending * len(self.endpoints.ready)

    def advance_line(self, now_s: float) -> None:
        """There may be room again."""
        self.line.advance(self._with_room, now_s)

    def _with_room(self) -> list[GatewayEndpoint]:
        return [endpoint for endpoint in self.endpoints.ready if endpoint.active < endpoint.most_active]

    # -- breaker -------------------------------------------------------------------------------

    def on_outcome(self, exchange: Exchange, now_s: float) -> None:
        """An exchange has ended that the breaker wants to know of: it failed, or the breaker is not closed."""
        if not exchange.attempts or (exchange.error is not None and exchange.error.origin is Origin.GATEWAY):
            self._untried_total += 1
            return
        failed = exchange.status >= 500
        if failed:
            self.failures_total += 1
        if self.tripped is not None:
            self.tripped.record(failed=failed, abandoned=exchange.status == 499, sent_at_s=exchange.sent_at_s, now_s=now_s)
        elif failed:
            self.breaker.check(self.tried_total, self.failures_total, now_s)

    @property
    def tried_total(self) -> int:
        """Exchanges that reached an instance: those that were turned away tell nothing about it."""
        return self.requests_total - self._untried_total

    def add(self, requests: int, tried: int, failures: int) -> None:
        """Count exchanges of other processes, too."""
        self.requests_total += requests
        self._untried_total += requests - tried
        self.failures_total += failures

    def _on_breaker(self, state: BreakerState) -> None:
        self.tripped = None if state is BreakerState.CLOSED else self.breaker
        self.news.on_breaker(state, self.breaker.why)


def _attempts_of(endpoint: GatewayEndpoint) -> int:
    return endpoint.series.total

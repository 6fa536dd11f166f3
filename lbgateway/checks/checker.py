"""Who is checked, and when: every instance of a service with a ``health_check``, and of all others while the registry is not fresh.

The registry's bad news comes through the registry; while that is away a dead instance would stay for as long. So then a TCP
connection is tried (where no check is configured), and what it says is forgotten when the registry is back.

Checks of one service are spread over its interval. No more than `MOST_AT_ONCE` run, and `MOST_A_TICK` begin, services taking
turns: with very many instances checks come later than wanted, and requests do not notice.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from balancers.endpoint import EndpointState
from discovery.instance import SnapshotState
from lbgateway.checks.probe import Place, probe
from lbgateway.checks.record import WHILE_STALE, Record
from lbgateway.dataplane.members import Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Mapping
    from random import Random

    from discovery.instance import Snapshot
    from lbgateway.dataplane.rules import CheckRules
    from lbgateway.dataplane.upstream import GatewayEndpoint, Upstream

    Probe = Callable[[Place, CheckRules], Awaitable[str | None]]

log = structlog.get_logger("lbgateway")

TICK_S = 0.1
MOST_AT_ONCE = 64
MOST_A_TICK = 20
JITTER = 0.1
"""Of the interval, to either side: many gateways must not ask in step."""


class Watch:
    """The checks of one service: the record of each instance, and whose turn comes when."""

    def __init__(self, upstream: Upstream, rules: CheckRules) -> None:
        self.upstream = upstream
        self.rules = rules
        self.records: dict[Hashable, Record] = {}
        self.snapshot: Snapshot | None = None
        self.turns: list[tuple[float, int, Hashable]] = []
        """A heap; the number keeps those of the same moment in order."""
        self._count = 0

    def follow(self, now_s: float, random: Random) -> None:
        """Take up who is new, and forget who has left."""
        if self.snapshot is self.upstream.snapshot:
            return
        self.snapshot = self.upstream.snapshot
        known = self.upstream.endpoints.endpoints
        for memory in (self.records, self.upstream.verdicts):
            for key in memory.keys() - known.keys():
                del memory[key]
        for key in known:
            if key not in self.records:
                self.records[key] = Record()
                self.put(key, now_s + self.rules.interval_s * random.random())

    def put(self, key: Hashable, at_s: float) -> None:
        self._count += 1
        heapq.heappush(self.turns, (at_s, self._count, key))

    def turn(self, now_s: float) -> GatewayEndpoint | None:
        """The next one whose time has come; not again until it is `put` back."""
        while self.turns and self.turns[0][0] <= now_s:
            endpoint = self.upstream.endpoints.endpoints.get(heapq.heappop(self.turns)[2])
            if endpoint is not None and endpoint.key in self.records:
                return endpoint
        return None


class Checker:
    """Checks the instances of `upstreams`, a live mapping of the data plane's. The clock and `ask` are arguments for tests."""

    def __init__(
        self, upstreams: Mapping[str, Upstream], random: Random, *, ask: Probe = probe, clock: Callable[[], float] = monotonic
    ) -> None:
        self._upstreams = upstreams
        self._random = random
        self._ask = ask
        self._clock = clock
        self.on_news: Callable[[Upstream, GatewayEndpoint | None], None] = lambda _upstream, _endpoint: None
        """Hears of every verdict that is another than before; None: all those of the service are forgotten."""
        self._watches: dict[Upstream, Watch] = {}
        self._changed: set[Upstream] = set()
        self._asking: set[asyncio.Task[None]] = set()
        self._ticking: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin; needs a running loop."""
        self._ticking = asyncio.get_running_loop().call_later(TICK_S, self.start)
        self.tick()

    async def aclose(self) -> None:
        """End it, and what it has begun."""
        if self._ticking is not None:
            self._ticking.cancel()
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    def tick(self) -> None:
        """Apply what was heard since the last one, and ask whoever's turn it is."""
        now_s = self._clock()
        upstreams = set(self._upstreams.values())
        for upstream in self._changed & upstreams:
            upstream.refresh(now_s)
        self._changed.clear()
        for gone in self._watches.keys() - upstreams:
            del self._watches[gone]
        watches = [watch for upstream in upstreams if (watch := self._watch(upstream)) is not None]
        for watch in watches:
            watch.follow(now_s, self._random)
        self._begin(watches, now_s)

    def _watch(self, upstream: Upstream) -> Watch | None:
        """The checks of a service as they should be now; other rules begin anew, with the verdicts that there are."""
        rules, watch = rules_now(upstream), self._watches.get(upstream)
        if rules is None:
            if watch is not None:
                del self._watches[upstream]
            if upstream.verdicts:
                upstream.verdicts.clear()
                upstream.refresh(self._clock())
                self.on_news(upstream, None)
            return None
        if watch is None or watch.rules.path != rules.path:
            watch = self._watches[upstream] = Watch(upstream, rules)
        watch.rules = rules
        return watch

    def _begin(self, watches: list[Watch], now_s: float) -> None:
        """One of each service, and again, as long as there is room; whoever is first today must not be first for ever."""
        self._random.shuffle(watches)
        waiting, room = deque(watches), min(MOST_A_TICK, MOST_AT_ONCE - len(self._asking))
        while waiting and room > 0:
            watch = waiting.popleft()
            endpoint = watch.turn(now_s)
            if endpoint is not None:
                room -= 1
                waiting.append(watch)
                task = asyncio.get_running_loop().create_task(self._check(watch, endpoint))
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)

    async def _check(self, watch: Watch, endpoint: GatewayEndpoint) -> None:
        rules, instance = watch.rules, endpoint.instance
        place = Place(instance.address, instance.port, watch.upstream.reach)
        try:
            # A connection past a proxy says nothing.
            failure = None if rules is WHILE_STALE and place.proxy is not None else await self._ask(place, rules)
        finally:
            watch.put(endpoint.key, self._clock() + rules.interval_s * self._random.uniform(1.0 - JITTER, 1.0 + JITTER))
        record = watch.records.get(endpoint.key)
        if record is not None and self._watches.get(watch.upstream) is watch:
            self._take(watch.upstream, endpoint, record, failure, rules)

    def _take(self, upstream: Upstream, endpoint: GatewayEndpoint, record: Record, failure: str | None, rules: CheckRules) -> None:
        fell = record.healthy is False
        if failure is None and endpoint.state is EndpointState.SUSPECT:
            upstream.endpoints.confirm(endpoint, self._clock())
        if not record.hear(failure, rules):
            return
        upstream.verdicts[endpoint.key] = Verdict(healthy=record.healthy is True, why=record.why)
        self.on_news(upstream, endpoint)
        if record.healthy is False:
            self._changed.add(upstream)
            log.warning("instance unhealthy", service=upstream.name, instance=endpoint.id, reason=record.why)
        elif fell:
            self._changed.add(upstream)
            log.info("instance healthy again", service=upstream.name, instance=endpoint.id)
            if endpoint.ejection is not None:
                # What its requests died of is over; whether that is all is for a request to say.
                upstream.outliers.hurry(endpoint, self._clock())
        elif endpoint.state is EndpointState.SUSPECT:
            self._changed.add(upstream)


def rules_now(upstream: Upstream) -> CheckRules | None:
    """How a service is checked now; None if it is not."""
    snapshot = upstream.snapshot
    if snapshot is None:
        return None
    return upstream.rules.check or (WHILE_STALE if snapshot.state is not SnapshotState.FRESH else None)

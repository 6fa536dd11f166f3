"""A deterministic world for balancers: queues with workers, a virtual clock, seeded arrivals and demands.

Every balancer meets the same requests at the same moments: arrivals are open loop, and what a request
asks for is drawn before anybody picks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from balancers import Endpoint, Outcome, make_balancer
from balancers.balancer import Balancer

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True)
class Host:
    """`workers` requests are served at once, each for `service_s` seconds in the mean; the rest queue.

    From `ill_at_s` until `healed_at_s` it takes ten times as long.
    """

    workers: int
    service_s: float
    weight: float = 1.0
    healed_at_s: float = 0.0
    ill_at_s: float = 0.0

    def service_at(self, now_s: float) -> float:
        return self.service_s * (10.0 if self.ill_at_s <= now_s < self.healed_at_s else 1.0)


@dataclass(frozen=True)
class Scenario:
    """Hosts, and `rate` requests per second for `duration_s` seconds.

    `steady`: they come at an even pace, and each takes a host's mean service time; otherwise both are exponential.
    """

    hosts: tuple[Host, ...]
    rate: float
    duration_s: float
    steady: bool = False


class Request(NamedTuple):
    """One request: when it came, and its share of a host's mean service time."""

    at_s: float
    demand: float


@dataclass
class Result:
    """What clients and hosts saw: a latency for each request, and when which host was picked."""

    latencies_s: list[float] = field(default_factory=list)
    picks: list[tuple[float, int]] = field(default_factory=list)

    def percentile_ms(self, share: float) -> float:
        """Latency that `share` of the requests did not exceed."""
        ranked = sorted(self.latencies_s)
        return ranked[int(share * (len(ranked) - 1))] * 1000

    def share(self, host: int, since_s: float = 0.0) -> float:
        """Part of the requests that came since then that `host` got."""
        picked = [index for at_s, index in self.picks if at_s >= since_s]
        return picked.count(host) / len(picked)


class _Queue:
    """One host at work: which requests wait, and how many workers are free."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.free = host.workers
        self.waiting: deque[Request] = deque()


def requests_of(scenario: Scenario, seed: int) -> list[Request]:
    """Draw all arrivals and demands of a run."""
    random = Random(seed)
    at_s, requests = 0.0, []
    while at_s < scenario.duration_s:
        at_s += 1.0 / scenario.rate if scenario.steady else random.expovariate(scenario.rate)
        requests.append(Request(at_s, 1.0 if scenario.steady else random.expovariate(1.0)))
    return requests


ALL_KNOWING = "all_knowing"


class AllKnowing(Balancer[Endpoint]):
    """Knows of each host how many workers it has and how fast they are at this moment: what no balancer can beat.

    The rule of ``benchmarks/all_knowing.py``.
    """

    def __init__(self, hosts: tuple[Host, ...]) -> None:
        super().__init__(Random())
        self.hosts = hosts

    def pick(self, now_s: float, key: bytes | None = None, exclude: Collection[Endpoint] = ()) -> Endpoint | None:
        return min(self.ready, key=lambda each: (self.cost(each, now_s), each.active / self.hosts[each.key].workers))

    def cost(self, endpoint: Endpoint, now_s: float) -> float:
        host = self.hosts[endpoint.key]
        return host.service_at(now_s) * max(1.0, (endpoint.active + 1) / host.workers)

    def observe(self, endpoint: Endpoint, latency_s: float, outcome: Outcome, now_s: float) -> None:
        """Knows it already."""


class Simulation:
    """One balancer in one scenario; `run` plays the requests to their ends."""

    def __init__(self, scenario: Scenario, balancer: str, seed: int) -> None:
        self.queues = [_Queue(host) for host in scenario.hosts]
        self.endpoints = tuple(Endpoint(i, f"host-{i}", host.weight) for i, host in enumerate(scenario.hosts))
        self.balancer: Balancer[Endpoint] = (
            AllKnowing(scenario.hosts) if balancer == ALL_KNOWING else make_balancer(balancer, Random(seed + 1))
        )
        self.balancer.rebuild(self.endpoints)
        self.pending = requests_of(scenario, seed)
        self.ends: list[tuple[float, int, int, Request]] = []
        self.result = Result()
        self.started = 0

    def run(self) -> Result:
        for request in self.pending:
            self._finish_until(request.at_s)
            self._arrive(request)
        self._finish_until(float("inf"))
        return self.result

    def _arrive(self, request: Request) -> None:
        endpoint = self.balancer.pick(request.at_s)
        assert endpoint is not None
        if not endpoint.oldest_at_s:
            endpoint.oldest_at_s = request.at_s
        endpoint.active += 1
        self.result.picks.append((request.at_s, endpoint.key))
        queue = self.queues[endpoint.key]
        if queue.free:
            queue.free -= 1
            self._serve(endpoint.key, request, request.at_s)
        else:
            queue.waiting.append(request)

    def _serve(self, index: int, request: Request, now_s: float) -> None:
        self.started += 1
        ends_at_s = now_s + request.demand * self.queues[index].host.service_at(now_s)
        heappush(self.ends, (ends_at_s, self.started, index, request))

    def _finish_until(self, now_s: float) -> None:
        while self.ends and self.ends[0][0] <= now_s:
            ended_at_s, _, index, request = heappop(self.ends)
            endpoint, queue = self.endpoints[index], self.queues[index]
            endpoint.active -= 1
            self.balancer.observe(endpoint, ended_at_s - request.at_s, Outcome.OK, ended_at_s)
            self.result.latencies_s.append(ended_at_s - request.at_s)
            if queue.waiting:
                self._serve(index, queue.waiting.popleft(), ended_at_s)
            else:
                queue.free += 1


def simulate(scenario: Scenario, balancer: str, seed: int = 1) -> Result:
    """Play `scenario` with the balancer of that name, or with `ALL_KNOWING`."""
    return Simulation(scenario, balancer, seed).run()

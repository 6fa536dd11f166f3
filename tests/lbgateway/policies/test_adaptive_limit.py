"""How many requests at once are right for an instance, learnt in a world where that is known."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.policies.adaptive_limit import FIRST, LEAST, MEASURE_AT, AdaptiveLimit

SERVICE_S = 0.02


@dataclass
class Host:
    """`workers` work for 20 ms in the mean on each request, the others queue; who comes while the limit is reached is turned away.

    `load`: arrivals as a multiple of what the workers can do; from `slower_at_s` on each request takes three times as long.
    """

    workers: int
    load: float
    steady: bool = False
    slower_at_s: float = 1e9
    measured: bool = True
    random: Random = field(default_factory=lambda: Random(1))
    latencies: list[tuple[float, float]] = field(default_factory=list)
    turned_away: int = 0

    def __post_init__(self) -> None:
        self.limit = AdaptiveLimit(512, 0.0, self.random.random)
        self.now_s, self.active, self.free = 0.0, 0, self.workers
        self.queue: deque[float] = deque()
        self.answered, self.seconds = 0, 0.0
        self.events: list[tuple[float, int, str, float]] = []
        self.numbers = count()

    def later(self, after_s: float, what: str, began_s: float = 0.0) -> None:
        heappush(self.events, (self.now_s + after_s, next(self.numbers), what, began_s))

    def run(self, seconds: float) -> Host:
        self.later(0.0, "arrive")
        self.later(0.1, "sweep")
        while self.events[0][0] < seconds:
            self.now_s, _, what, began_s = heappop(self.events)
            if what == "arrive":
                self.arrive()
            elif what == "end":
                self.end(began_s)
            else:
                self.sweep()
        return self

    def arrive(self) -> None:
        self.later(self.random.expovariate(self.load * self.workers / SERVICE_S), "arrive")
        if self.active >= self.limit.now:
            self.turned_away += 1
            return
        self.active += 1
        self.queue.append(self.now_s)
        self.work()

    def work(self) -> None:
        while self.free and self.queue:
            self.free -= 1
            mean_s = SERVICE_S * (3 if self.now_s >= self.slower_at_s else 1)
            self.later(mean_s * (1.0 if self.steady else self.random.expovariate(1.0)), "end", self.queue.popleft())

    def end(self, began_s: float) -> None:
        self.free += 1
        self.active -= 1
        self.answered += 1
        self.seconds += self.now_s - began_s
        self.latencies.append((self.now_s, self.now_s - began_s))
        self.work()

    def sweep(self) -> None:
        self.later(0.1, "sweep")
        self.limit.sample(self.answered, self.seconds, 0, self.active, self.now_s)
        self.answered, self.seconds = 0, 0.0
        if self.measured and self.limit.due(self.now_s):
            self.limit.measure(self.now_s)

    def p99_s(self) -> float:
        """Of the second half."""
        late = sorted(latency_s for at_s, latency_s in self.latencies if at_s > self.now_s / 2)
        return late[len(late) * 99 // 100]

    def throughput(self) -> float:
        """As a part of what the workers can do."""
        return len(self.latencies) / self.now_s / (self.workers / SERVICE_S)


@pytest.mark.parametrize("steady", [True, False])
@pytest.mark.parametrize("workers", [2, 4, 8, 32])
def test_an_overload_keeps_all_workers_busy_and_the_queue_short(workers, steady):
    """Four times what it can do: nothing of its capacity is lost, and who gets in is answered soon."""
    host = Host(workers, 4.0, steady).run(60)
    assert workers < host.limit.limit < 4 * workers
    assert host.throughput() > 0.95
    assert host.p99_s() < (4 if steady else 8) * SERVICE_S


@pytest.mark.parametrize("workers", [2, 8, 32])
def test_who_has_enough_workers_turns_hardly_anybody_away(workers):
    """At half of what it can do."""
    host = Host(workers, 0.5).run(60)
    assert host.turned_away < 0.03 * len(host.latencies)


def test_a_service_that_becomes_slower_is_measured_again():
    """At first that looks like a queue; a minute later it is known to be its pace, and all workers are used."""
    host = Host(4, 1.5, slower_at_s=30.0).run(150)
    assert host.limit.baseline_s == pytest.approx(3 * SERVICE_S, rel=0.4)
    assert host.limit.limit > 4


def test_a_limit_that_is_not_used_does_not_grow():
    """Else the first burst would meet no limit at all."""
    assert Host(64, 0.02).run(60).limit.limit <= FIRST


def test_what_runs_out_of_time_takes_a_tenth_off():
    """Also where latencies say nothing."""
    limit = AdaptiveLimit(512, 0.0, lambda: 0.5)
    limit.sample(30, 0.6, 0, 15, 0.1)
    before = limit.limit
    limit.sample(30, 0.6, 1, 15, 0.2)
    assert limit.limit == before * 0.9


def test_streams_are_no_load():
    """They hold their places for hours, and are waited for by nobody: others get room beside them."""
    limit = AdaptiveLimit(512, 0.0, lambda: 0.5)
    for _ in range(100):
        limit.ease()
    assert limit.limit > 100
    limit.measure(10.0)
    before = limit.limit
    limit.ease()
    assert (limit.now, limit.limit) == (MEASURE_AT, before)
    for tick in range(11):
        limit.sample(0, 0.0, 0, 100, 10.0 + tick / 10)
    assert (limit.measuring, limit.now) == (False, int(before))
    assert not limit.due(60.0)
    assert limit.due(80.0)


def test_a_measurement_counts_only_what_came_after_it_began():
    """Those before had waited in a longer queue."""
    limit = AdaptiveLimit(512, 0.0, lambda: 0.5)
    limit.measure(10.0)
    limit.sample(40, 8.0, 0, 5, 10.1)
    limit.sample(40, 8.0, 0, 2, 10.2)
    for tick in range(5):
        assert limit.measuring
        limit.sample(10, 0.2, 0, 2, 10.3 + tick / 10)
    assert (limit.measuring, limit.baseline_s) == (False, pytest.approx(0.02))


def test_a_measurement_with_too_few_answers_changes_nothing():
    """It ends all the same."""
    limit = AdaptiveLimit(512, 0.0, lambda: 0.5)
    limit.measure(10.0)
    for tick in range(70):
        limit.sample(0, 0.0, 0, 1, 10.0 + tick / 10)
    assert (limit.measuring, limit.baseline_s) == (False, 0.0)


samples = st.tuples(st.integers(0, 100), st.floats(0, 30), st.integers(0, 3), st.integers(0, 600), st.booleans(), st.booleans())


@given(st.floats(1, 1000), st.lists(samples, max_size=80), st.floats(0, 1))
def test_whatever_comes_the_limit_stays_within_its_bounds(most, history, lot):
    """At least 2, at most what is configured; and a measurement has an end."""
    limit = AdaptiveLimit(most, 0.0, lambda: lot)
    for number, (answered, seconds, failed, active, measures, eases) in enumerate(history):
        if measures and limit.due(number):
            limit.measure(number)
        if eases:
            limit.ease()
        limit.sample(answered, seconds, failed, active, float(number))
        assert LEAST <= limit.limit <= max(most, LEAST)
        assert limit.now >= MEASURE_AT
    limit.sample(0, 0.0, 0, 600, len(history) + 1.1)
    limit.sample(0, 0.0, 0, 600, len(history) + 6.2)
    assert not limit.measuring

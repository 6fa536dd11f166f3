"""The world of `simulation`, with a host that fails: the real balancer, ejection, retry rule and budget under a virtual clock.

``python -m tests.balancers.failing`` prints the table of docs/reliability.md.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from balancers import Endpoint, EndpointState, Outcome, make_balancer
from balancers.endpoint_set import EndpointSet, Member
from balancers.load import give_up_on
from balancers.outlier import OutlierRules, Outliers
from lbgateway.policies.hedge import HedgeRules, HedgeShare, Patience
from lbgateway.policies.retry import STATUSES, Facts, Verdict, backoff_s, may_retry
from lbgateway.policies.retry_budget import RetryBudget

if TYPE_CHECKING:
    from collections.abc import Callable

HOSTS, WORKERS, SERVICE_S = 5, 4, 0.02
PER_TRY_S = 1.0
RETRIES = 2
REFUSED_S, ERROR_S = 0.0002, 0.001
SWEEP_S = 0.1
SILENT = ("errors", "hangs", "dead")
"""Under these, a host does no work."""
SLOWER = 10.0
PAUSES, PAUSE_S = 0.01, 0.5
ALL = frozenset(("connect", "reset", "timeout", *STATUSES.values()))


class Trouble(NamedTuple):
    """What is wrong with a host, and when: ``errors`` (a 500 in a millisecond), ``hangs``, ``slow`` (ten times) or ``dead``.

    Or with all of them: ``pauses`` (one request in a hundred takes half a second more, wherever it is).
    """

    kind: str
    from_s: float = 0.0
    until_s: float = 1e9
    host: int = 0

    def at(self, now_s: float) -> bool:
        return self.from_s <= now_s < self.until_s


@dataclass
class Told:
    """What clients and host 0 saw."""

    latencies_s: list[float] = field(default_factory=list)
    errors: int = 0
    attempts: int = 0
    lured: list[float] = field(default_factory=list)
    """When attempts went to host 0."""
    states: list[tuple[float, EndpointState]] = field(default_factory=list)
    """Of host 0, at each sweep."""

    def percentile_ms(self, share: float) -> float:
        ranked = sorted(self.latencies_s)
        return ranked[int(share * (len(ranked) - 1))] * 1000

    def share(self, since_s: float, rate: float, until_s: float) -> float:
        """Part of the requests of that time that host 0 got."""
        return sum(since_s <= at_s < until_s for at_s in self.lured) / (rate * (until_s - since_s))


@dataclass(eq=False)
class Asked:
    """One request with all of its attempts; `endpoint` is None between two of them."""

    at_s: float
    demand: float
    endpoint: Endpoint | None = None
    sent_at_s: float = 0.0
    attempts: int = 0
    tried: tuple[Endpoint, ...] = ()
    accused: tuple[Endpoint, float] | None = None
    hedged: bool = False
    """Whether one of the attempts was beside another."""
    twin: Asked | None = None
    """The other one of two attempts at the same time."""


class Failing:
    """`rate` requests a second for `duration_s` seconds over five hosts, of which some are in trouble, one after the other or at once."""

    def __init__(
        self,
        *troubles: Trouble,
        balancer: str = "ewma",
        hedge: HedgeRules | None = None,
        rate: float = 400.0,
        duration_s: float = 10.0,
        seed: int = 1,
    ) -> None:
        self.troubles, self.told, self.now_s = troubles, Told(), 0.0
        self.random = Random(seed)
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = count()
        self.queues = [deque[Asked]() for _ in range(HOSTS)]
        self.at_work: list[dict[Asked, None]] = [{} for _ in range(HOSTS)]
        """In the order of their beginning, so that a run is the same each time."""
        rule = make_balancer(balancer, Random(seed + 1))
        self.set: EndpointSet[Endpoint] = EndpointSet(rule, lambda member: Endpoint(member.key, member.id))
        self.set.panic_below(0.5)
        self.set.sync([Member(number, f"host-{number}") for number in range(HOSTS)], 0.0)
        self.totals = dict.fromkeys(self.set.ready, 0)
        self.outliers = Outliers(self.set, Random(seed + 2), attempts_of=self.totals.__getitem__)
        self.outliers.configure(OutlierRules(), 0.0)
        self.budget = RetryBudget(0.2, 10.0, now_s=0.0)
        self.ended = self.begun = 0
        self.patience = None if hedge is None else Patience(hedge)
        self.late: list[tuple[Asked, int]] = []
        self.hedge_share = HedgeShare(0.0 if hedge is None else hedge.at_most, 0)
        at_s = 0.0
        while at_s < duration_s:
            at_s += self.random.expovariate(rate)
            self.later(at_s, partial(self.attempt, Asked(at_s, self.random.expovariate(1.0))))
        for step in range(int(duration_s / SWEEP_S)):
            self.later(step * SWEEP_S, self.sweep)
        for trouble in troubles:
            if trouble.kind == "dead":
                self.later(trouble.from_s, partial(self.die, trouble.host))

    def later(self, at_s: float, do: Callable[[], None]) -> None:
        heappush(self.events, (at_s, next(self.numbers), do))

    def run(self) -> Told:
        while self.events:
            self.now_s, _, do = heappop(self.events)
            do()
        return self.told

    def sweep(self) -> None:
        self.outliers.sweep(self.now_s)
        self.told.states.append((self.now_s, self.set.endpoints[0].state))
        if self.patience is not None:
            self.patience.refresh()
            late, self.late = self.late, []
            for asked, number in late:
                self.hedge(asked, number)

    # -- one attempt ---------------------------------------------------------------------------

    def attempt(self, asked: Asked) -> None:
        endpoint = self.outliers.trial(self.now_s) if not asked.attempts else None
        endpoint = endpoint or self.set.pick(self.now_s, None, asked.tried) or self.set.pick(self.now_s)
        assert endpoint is not None
        self.begun += not asked.attempts
        self.send(asked, endpoint)
        if self.patience is not None and self.patience.after_s < inf:
            self.later(self.now_s + self.patience.after_s, partial(self.hedge, asked, asked.attempts))

    def hedge(self, asked: Asked, number: int) -> None:
        """It has waited for too long: another one beside it, if there may be one."""
        if asked.endpoint is None or asked.attempts != number or asked.hedged or number > RETRIES or self.set.panic:
            return
        if not self.hedge_share.available(self.begun) or not self.budget.available(self.ended, self.now_s):
            self.late.append((asked, number))
            return
        endpoint = self.set.pick(self.now_s, None, (*asked.tried, asked.endpoint))
        if endpoint is not None:
            self.hedge_share.withdraw()
            self.budget.withdraw()
            tried = (*asked.tried, asked.endpoint)
            asked.twin = Asked(asked.at_s, asked.demand, attempts=number, tried=tried, hedged=True, twin=asked)
            asked.hedged = True
            self.send(asked.twin, endpoint)

    def send(self, asked: Asked, endpoint: Endpoint) -> None:
        asked.endpoint, asked.sent_at_s, asked.attempts = endpoint, self.now_s, asked.attempts + 1
        endpoint.active += 1
        endpoint.oldest_at_s = endpoint.oldest_at_s or self.now_s
        self.told.attempts += 1
        ill = self.ill(endpoint.key)
        if endpoint.key == 0:
            self.told.lured.append(self.now_s)
        if ill == "dead":
            self.ends(asked, REFUSED_S, "connect")
        elif ill == "errors":
            self.ends(asked, ERROR_S, "500")
        else:
            self.ends(asked, PER_TRY_S, "timeout")
            if ill not in SILENT:
                self.queues[endpoint.key].append(asked)
                self.work(endpoint.key)

    def ill(self, host: int) -> str:
        """In what way it is in trouble now; empty if it is well."""
        return next((each.kind for each in self.troubles if each.host == host and each.at(self.now_s)), "")

    def work(self, host: int) -> None:
        while len(self.at_work[host]) < WORKERS and self.queues[host]:
            asked = self.queues[host].popleft()
            if asked.endpoint is not None and asked.endpoint.key == host:
                self.at_work[host][asked] = None
                self.ends(asked, self.work_s(asked, host), None)

    def work_s(self, asked: Asked, host: int) -> float:
        """How long a worker is busy with it."""
        slow = self.ill(host) == "slow"
        pauses = any(each.kind == "pauses" for each in self.troubles) and self.random.random() < PAUSES
        return asked.demand * SERVICE_S * (SLOWER if slow else 1.0) + (PAUSE_S if pauses else 0.0)

    def die(self, host: int) -> None:
        """All that it works on is reset."""
        for asked in (*self.at_work[host], *self.queues[host]):
            self.ends(asked, 0.0, "reset")

    def ends(self, asked: Asked, after_s: float, failure: str | None) -> None:
        number = asked.attempts
        self.later(self.now_s + after_s, partial(self.end, asked, number, failure))

    def end(self, asked: Asked, number: int, failure: str | None) -> None:
        endpoint = asked.endpoint
        if endpoint is None or asked.attempts != number:
            return
        asked.endpoint = None
        outcome = Outcome.OK if failure is None else Outcome.FAILED_REMOTE if failure in STATUSES.values() else Outcome.FAILED_LOCAL
        self.left(asked, endpoint, outcome)
        if failure is None and endpoint.failures_in_row:
            self.outliers.succeeded(endpoint, asked.sent_at_s, self.now_s)
        elif outcome is Outcome.FAILED_LOCAL:
            self.outliers.failed(endpoint, outcome, asked.sent_at_s, self.now_s)
        elif failure is not None:
            asked.accused = (endpoint, asked.sent_at_s)
        if failure is None:
            self.won(asked)
        elif asked.twin is not None:
            asked.twin.accused = asked.twin.accused or asked.accused
            asked.twin.twin = None
            return
        if failure is None or not self.again(asked, endpoint, failure):
            self.settle(asked, failure)

    def won(self, asked: Asked) -> None:
        """There is an answer; who runs beside it is abandoned, as in `dataplane.race`."""
        twin = asked.twin
        if self.patience is not None:
            self.patience.learn(self.now_s - (asked.sent_at_s if twin is None else min(asked.sent_at_s, twin.sent_at_s)))
        if twin is None or twin.endpoint is None:
            return
        endpoint, twin.endpoint = twin.endpoint, None
        silent_since_s = endpoint.oldest_at_s
        self.left(twin, endpoint, Outcome.ABANDONED)
        endpoint.oldest_at_s = silent_since_s
        give_up_on(endpoint, self.now_s, self.set.ready)

    def left(self, asked: Asked, endpoint: Endpoint, outcome: Outcome) -> None:
        """An attempt on `endpoint` has ended."""
        endpoint.active -= 1
        self.totals[endpoint] += 1
        self.set.balancer.observe(endpoint, self.now_s - asked.sent_at_s, outcome, self.now_s)
        self.at_work[endpoint.key].pop(asked, None)
        self.work(endpoint.key)

    def again(self, asked: Asked, endpoint: Endpoint, failure: str) -> bool:
        facts = Facts(
            failure, ALL, RETRIES + 1 - asked.attempts - asked.hedged, nothing_sent=failure == "connect",
            budget_left=self.budget.available(self.ended, self.now_s) or failure == "connect",
        )  # fmt: skip
        if may_retry(facts) is not Verdict.RETRY:
            return False
        self.budget.withdraw()
        asked.tried = (*asked.tried, endpoint)
        wait_s = backoff_s(0.025, asked.attempts, failure, self.random.random())
        self.later(self.now_s + wait_s, partial(self.attempt, asked))
        return True

    def settle(self, asked: Asked, failure: str | None) -> None:
        self.ended += 1
        self.told.errors += failure is not None
        self.told.latencies_s.append(self.now_s - asked.at_s)
        if asked.accused is not None:
            accused, sent_at_s = asked.accused
            self.outliers.failed(accused, Outcome.FAILED_REMOTE, sent_at_s, self.now_s)


HEDGED = HedgeRules(0.05, quantile=0.95)
"""The contract's ``hedge: {after: p95, at_most: 0.05}``."""


def main() -> None:
    """Each trouble under three balancers, then with and without a second attempt beside a slow first one."""
    troubles = {
        "well": Trouble("none", 1e9),
        "fast 500s": Trouble("errors"),
        "hung": Trouble("hangs"),
        "dead for 2 s": Trouble("dead", 3.0, 5.0),
    }
    head("host 0", "balancer")
    for name, trouble in troubles.items():
        for balancer in ("ewma", "least_connections", "round_robin"):
            row(name, balancer, trouble=trouble, balancer=balancer)
    slow = {
        "host 0 is hung": Trouble("hangs"),
        "host 0 is ten times slower": Trouble("slow"),
        "1 % of all takes 0.5 s more": Trouble("pauses"),
    }
    head("trouble", "balancer", "hedge")
    for name, trouble in slow.items():
        for balancer in ("ewma", "round_robin"):
            for words, hedge in (("off", None), ("p95", HEDGED)):
                row(name, balancer, words, trouble=trouble, balancer=balancer, hedge=hedge)


def head(*words: str) -> None:
    columns = (*words, "errors", "p99 ms", "p99.9 ms", "attempts per request", "lured in 10 s", "share in the end")
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")


def row(*words: str, trouble: Trouble, balancer: str, hedge: HedgeRules | None = None) -> None:
    """The mean of three seeds, behind `words`."""
    runs = [Failing(trouble, balancer=balancer, hedge=hedge, seed=seed).run() for seed in (1, 2, 3)]
    numbers = [
        (
            run.errors, run.percentile_ms(0.99), run.percentile_ms(0.999), run.attempts / len(run.latencies_s), len(run.lured),
            run.share(8.5, 400.0, 10.0),
        )
        for run in runs
    ]  # fmt: skip
    errors, p99, p999, attempts, lured, share = (sum(column) / len(runs) for column in zip(*numbers, strict=True))
    print(f"| {' | '.join(words)} | {errors:.0f} | {p99:.0f} | {p999:.0f} | {attempts:.4f} | {lured:.0f} | {share:.2f} |")


if __name__ == "__main__":
    main()

"""Who is taken out because calling it fails, and how it comes back: passive ejection, decided from numbers.

*Out.* So many failures in a row, or clearly more failures than the others have (looked at every ten
seconds). Never more than a share of all endpoints: if most of them fail, the fault is elsewhere, and who
is left would drown. *For how long.* One second, doubled for each time before up to a bound, give or take a fifth,
so that many gateways do not come back in step; ten seconds of health excuse one time. *Back.* When the time is up, one request that may
be sent again tries it; its success brings the endpoint back, its failure doubles the time. Where nobody
brings such a request, the endpoint comes back by itself after the longest time, on probation: its next
failure takes it out again. *No room.* While the share is used up nobody else goes out, so who is out had better
be ill: with each failure of one that cannot go, whoever was last seen failing longest ago is tried early, one at a time and
none sooner than after the shortest time; if that fails, its time goes on as if nothing had been.

Failures are *local* (no answer was had) or *remote* (a bad one); the reason says which. An outcome counts
only for what was sent after the ejection: late answers of before neither excuse nor condemn.

Sources: Envoy's outlier detection (consecutive failures, doubling, the share, decay in healthy time);
Finagle's failure accrual (one request that decides, 80 % success). Envoy's success rate compares with the
mean minus 1.9 standard deviations, which of five endpoints always finds one once any of them fails and of
four never any; here an endpoint is compared with all others together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from balancers.balancer import E
from balancers.endpoint import Endpoint, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from balancers.endpoint_set import EndpointSet

JITTER = 0.2

COMPARE_EVERY_S = 10.0
HEALTHY_S = 10.0
"""So long an endpoint must have been in to be forgiven one of its ejections."""

LEAST_ATTEMPTS = 20
"""Fewer prove nothing about a rate."""

WORSE_BY = 0.2
"""So much larger than that of all others together must a failure ratio be; with perfect others that is Finagle's 80 %."""

LOCAL, REMOTE, RATE = "consecutive_local", "consecutive_remote", "success_rate"
"""Why: also the metric's ``reason``."""
SEEN = {LOCAL: "no answer", REMOTE: "a bad answer"}
"""The same for people."""


@dataclass(frozen=True, slots=True)
class OutlierRules:
    """The contract's ``outlier``; durations in seconds, `max_ejected` a share of all endpoints (0..1)."""

    consecutive_failures: int = 5
    eject_for_s: float = 1.0
    max_eject_for_s: float = 30.0
    max_ejected: float = 0.5
    success_rate: bool = True

    def time_s(self, before: int) -> float:
        """How long an endpoint is out that was out `before` times in a row already."""
        return min(self.eject_for_s * 2.0 ** min(before, 64), self.max_eject_for_s)


class Outliers(Generic[E]):
    """Ejects endpoints of one set and brings them back. What it knows of an endpoint is written on the endpoint.

    ``failed`` and ``succeeded`` are told about attempts, ``sweep`` about time; ``trial`` gives away the
    endpoint that waits for a deciding request. `on_eject` hears of each ejection with its reason, `on_return`
    of each return, `on_kept` of each row of failures for which there was no room; `attempts_of` tells how many
    attempts an endpoint has had in all.
    """

    def __init__(
        self,
        endpoints: EndpointSet[E],
        random: Random,
        *,
        attempts_of: Callable[[E], int],
        on_eject: Callable[[E, str], None] = lambda _endpoint, _why: None,
        on_return: Callable[[E], None] = lambda _endpoint: None,
        on_kept: Callable[[E], None] = lambda _endpoint: None,
    ) -> None:
        self.endpoints = endpoints
        self.rules: OutlierRules | None = None
        self._random = random
        self._attempts_of = attempts_of
        self._on_eject = on_eject
        self._on_return = on_return
        self._on_kept = on_kept
        self._early: E | None = None
        self._early_at_s = 0.0
        """Who was to be tried before its time last, and since when."""
        self._compared_at_s = 0.0
        self._before: dict[E, tuple[int, int]] = {}
        """Attempts and failures of each endpoint at the last look at their rates."""

    def configure(self, rules: OutlierRules | None, now_s: float) -> None:
        """Other rules from now on; None, or none that may be out, brings everybody back."""
        self.rules = rules if rules is not None and rules.max_ejected > 0 else None
        if self.rules is None:
            for endpoint in self.endpoints.ejected:
                self._return(endpoint, now_s)

    # -- attempts ------------------------------------------------------------------------------

    def failed(self, endpoint: E, outcome: Outcome, sent_at_s: float, now_s: float) -> None:
        """An attempt on `endpoint`, sent at `sent_at_s`, has failed."""
        rules = self.rules
        if rules is None:
            return
        endpoint.blamed_total += 1
        endpoint.failures_in_row += 1
        kind = LOCAL if outcome is Outcome.FAILED_LOCAL else REMOTE
        if endpoint.ejection is not None:
            if 0.0 < endpoint.trials_since_s <= sent_at_s:
                self._trial_failed(endpoint, kind, now_s)
        elif endpoint.failures_in_row >= rules.consecutive_failures:
            count = endpoint.failures_in_row
            why = f"{count} failure{'s' if count > 1 else ''} in a row, the last one {SEEN[kind]}"
            self._eject(endpoint, kind, why, now_s)

    def _trial_failed(self, endpoint: E, kind: str, now_s: float) -> None:
        if endpoint is self._early:
            self._early = None
        if now_s < endpoint.ejected_until_s:
            return  # tried early: its time goes on
        self._put_out(endpoint, f"its trial request failed: {SEEN[kind]}", now_s)

    def succeeded(self, endpoint: E, sent_at_s: float, now_s: float) -> None:
        """An attempt on `endpoint` went well. Need not be told where ``failures_in_row`` is 0."""
        if endpoint.ejection is None:
            endpoint.failures_in_row = 0
        elif sent_at_s >= endpoint.ejected_at_s:
            endpoint.failures_in_row = 0
            self._return(endpoint, now_s)

    def trial(self, now_s: float) -> E | None:
        """The endpoint that the next request shall try, which must be one that can be sent again; taken off the list."""
        due = self.endpoints.due
        endpoint = due.pop() if due else None
        if endpoint is not None:
            endpoint.trial_at_s = now_s
            endpoint.trials_since_s = endpoint.trials_since_s or now_s
        return endpoint

    def release(self, endpoint: E, now_s: float) -> None:
        """Bring `endpoint` back at once, as if nothing had failed: an operator knows better."""
        endpoint.failures_in_row = 0
        if endpoint.ejection is not None:
            self._return(endpoint, now_s)

    def adopt(self, endpoint: E, why: str, until_s: float, in_row: int, now_s: float) -> None:
        """Another process of the same gateway has ejected `endpoint`, the `in_row`-th time: it is out here as well, and for as long."""
        if self.rules is not None:
            endpoint.ejected_at_s, endpoint.ejected_until_s = now_s, until_s
            endpoint.trial_at_s = endpoint.trials_since_s = 0.0
            endpoint.failures_in_row, endpoint.ejections_in_row = max(endpoint.failures_in_row, 1), in_row
            self.endpoints.eject(endpoint, why, now_s)

    def hurry(self, endpoint: E, now_s: float) -> None:
        """Let the next trial of `endpoint` come now: what was wrong with it has been seen to be over."""
        endpoint.ejected_until_s = min(endpoint.ejected_until_s, now_s)

    # -- time ----------------------------------------------------------------------------------

    def sweep(self, now_s: float) -> None:
        """Whose time is up waits for a trial; every ten seconds rates are compared. To be called several times a second."""
        rules = self.rules
        if rules is None:
            return
        due = []
        for endpoint in self.endpoints.ejected:
            if now_s >= endpoint.ejected_until_s + rules.max_eject_for_s:
                endpoint.failures_in_row = rules.consecutive_failures - 1
                self._return(endpoint, now_s)
            elif self._is_due(endpoint, rules, now_s):
                due.append(endpoint)
        self.endpoints.due = due
        while len(self.endpoints.ejected) > self._most(rules):
            self._return(min(self.endpoints.ejected, key=lambda endpoint: endpoint.ejected_until_s), now_s)
        if rules.success_rate and now_s >= self._compared_at_s + COMPARE_EVERY_S:
            self._compared_at_s = now_s
            self._compare(now_s)

    def _is_due(self, endpoint: E, rules: OutlierRules, now_s: float) -> bool:
        if endpoint is self._early and endpoint.trial_at_s < self._early_at_s:
            return True
        return now_s >= endpoint.ejected_until_s and now_s >= endpoint.trial_at_s + rules.eject_for_s

    def _compare(self, now_s: float) -> None:
        """Eject whoever fails clearly more often than all others together."""
        recent, known = {}, {}
        for endpoint in self.endpoints.ready:
            known[endpoint] = attempts, failures = self._attempts_of(endpoint), endpoint.blamed_total
            before = self._before.get(endpoint, (attempts, failures))
            recent[endpoint] = (attempts - before[0], failures - before[1])
        self._before = known
        all_attempts = sum(attempts for attempts, _ in recent.values())
        all_failures = sum(failures for _, failures in recent.values())
        for endpoint, (attempts, failures) in recent.items():
            others = all_attempts - attempts
            if min(attempts, others) < LEAST_ATTEMPTS or endpoint.ejection is not None:
                continue
            usual = (all_failures - failures) / others
            if failures / attempts > usual + WORSE_BY:
                self._eject(endpoint, RATE, f"{failures / attempts:.0%} of its requests failed, of the others' {usual:.0%}", now_s)

    # -- out and back --------------------------------------------------------------------------

    def _most(self, rules: OutlierRules) -> int:
        """How many may be out at once."""
        return int(rules.max_ejected * (len(self.endpoints.usable) + len(self.endpoints.ejected)) + 1e-9)

    def _eject(self, endpoint: E, kind: str, why: str, now_s: float) -> None:
        rules = self.rules
        if rules is None or endpoint not in self.endpoints.usable:
            return
        if len(self.endpoints.ejected) >= self._most(rules):
            if endpoint.failures_in_row == rules.consecutive_failures:
                self._on_kept(endpoint)
            self._try_early(rules, now_s)
            return
        well_s = now_s - endpoint.returned_at_s
        endpoint.ejections_in_row = max(0, endpoint.ejections_in_row - int(well_s / HEALTHY_S))
        self._put_out(endpoint, why, now_s)
        self._on_eject(endpoint, kind)

    def _try_early(self, rules: OutlierRules, now_s: float) -> None:
        """There is no room for one more: is whoever has been out for longest still ill?"""
        ejected, due = self.endpoints.ejected, self.endpoints.due
        if due or (self._early in ejected and now_s < self._early_at_s + rules.eject_for_s):
            return
        endpoint = min(ejected, key=_seen_failing_at_s, default=None)
        if endpoint is not None and now_s >= _seen_failing_at_s(endpoint) + rules.eject_for_s:
            self._early, self._early_at_s = endpoint, now_s
            due.append(endpoint)

    def _put_out(self, endpoint: E, why: str, now_s: float) -> None:
        assert self.rules is not None
        time_s = self.rules.time_s(endpoint.ejections_in_row)
        endpoint.ejected_at_s = now_s
        endpoint.ejected_until_s = now_s + time_s * self._random.uniform(1.0 - JITTER, 1.0 + JITTER)
        endpoint.trial_at_s = endpoint.trials_since_s = 0.0
        endpoint.failures_in_row = max(endpoint.failures_in_row, 1)  # or nobody would tell us of its trial's success
        endpoint.ejections_in_row += 1
        self.endpoints.eject(endpoint, why, now_s)

    def _return(self, endpoint: E, now_s: float) -> None:
        endpoint.ejected_until_s = endpoint.trial_at_s = endpoint.trials_since_s = 0.0
        endpoint.returned_at_s = now_s
        self._before[endpoint] = (self._attempts_of(endpoint), endpoint.blamed_total)  # what it was out for is paid
        self.endpoints.uneject(endpoint, now_s)
        self._on_return(endpoint)


def _seen_failing_at_s(endpoint: Endpoint) -> float:
    """When it went out, or was tried, last."""
    return max(endpoint.ejected_at_s, endpoint.trial_at_s)

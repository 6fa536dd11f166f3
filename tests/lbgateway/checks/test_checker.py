"""Who is checked and when, and what becomes of it: with a clock and answers of the test's own."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from balancers.endpoint import EndpointState, Outcome
from balancers.outlier import OutlierRules
from discovery.instance import Instance, InstanceState, Snapshot, SnapshotState
from lbgateway.checks.checker import MOST_AT_ONCE, Checker, rules_now
from lbgateway.checks.probe import Place
from lbgateway.checks.record import WHILE_STALE
from lbgateway.dataplane.reach import HttpxReach
from lbgateway.dataplane.rules import CheckRules, UpstreamRules
from lbgateway.dataplane.upstream import GatewayEndpoint, Upstream
from tests.lbgateway.dataplane.test_upstream import instance, upstream_of

CHECK = CheckRules(path="/healthz", interval_s=5.0, unhealthy_after=3, healthy_after=2)
OUTLIER = OutlierRules(eject_for_s=30.0)


class Checked:
    """One service under check; `ill` are the ports that fail."""

    def __init__(self, *instances: Instance, check: CheckRules | None = CHECK) -> None:
        self.now_s = 100.0
        self.ill: set[int] = set()
        self.asked: list[tuple[int, CheckRules]] = []
        self.hold: asyncio.Event | None = None
        self.upstream = upstream_of(*instances)
        self.upstream.guard(UpstreamRules(outlier=OUTLIER, check=check), 1.0)
        self.upstreams: dict[str, Upstream] = {"orders": self.upstream}
        self.checker = Checker(self.upstreams, Random(1), ask=self.ask, clock=lambda: self.now_s)

    async def ask(self, place: Place, rules: CheckRules) -> str | None:
        self.asked.append((place.port, rules))
        if self.hold is not None:
            await self.hold.wait()
        return "refused" if place.port in self.ill else None

    def says(self, *instances: Instance, state: SnapshotState = SnapshotState.FRESH) -> None:
        self.upstream.take(Snapshot("orders", 1, instances, 1, self.now_s, state), self.now_s)

    async def passes(self, seconds: float) -> None:
        """Time does, in steps of a tick."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s += 0.5
            self.checker.tick()
            for _ in range(3):
                await asyncio.sleep(0)
        self.checker.tick()

    def __getitem__(self, name: str) -> GatewayEndpoint:
        [endpoint] = [each for each in self.upstream.endpoints.endpoints.values() if each.id == name]
        return endpoint


TWO = (instance("orders-1", port=1), instance("orders-2", port=2))


async def test_each_instance_is_asked_about_once_an_interval():
    """Spread over it, not all at the same moment."""
    checked = Checked(*TWO)
    await checked.passes(100.0)
    for port in (1, 2):
        assert 18 <= [each for each, _ in checked.asked].count(port) <= 23
    assert {rules for _, rules in checked.asked} == {CHECK}


async def test_who_fails_is_taken_out_and_comes_back():
    """With the reason in words."""
    checked = Checked(*TWO)
    checked.ill = {1}
    await checked.passes(10.0)
    assert checked["orders-1"].state is EndpointState.READY
    await checked.passes(12.0)
    assert (checked["orders-1"].state, checked["orders-1"].reason) == (EndpointState.UNHEALTHY, "our health check: refused, 3 in a row")
    assert {checked.upstream.endpoints.pick(1.0) for _ in range(4)} == {checked["orders-2"]}
    checked.ill = set()
    await checked.passes(12.0)
    assert (checked["orders-1"].state, checked["orders-1"].reason) == (EndpointState.READY, None)


async def test_a_verdict_outlives_the_registry_s_news_and_a_reload():
    """It ends with the check itself."""
    checked = Checked(*TWO)
    checked.ill = {1}
    await checked.passes(22.0)
    checked.says(*TWO, instance("orders-3", port=3))
    checked.upstream.guard(UpstreamRules(outlier=OUTLIER, check=CheckRules(path="/healthz", interval_s=9.0)), 1.0)
    await checked.passes(1.0)
    assert checked["orders-1"].state is EndpointState.UNHEALTHY
    checked.upstream.guard(UpstreamRules(outlier=OUTLIER), 1.0)
    await checked.passes(1.0)
    assert (checked["orders-1"].state, checked.upstream.verdicts) == (EndpointState.READY, {})


async def test_who_has_left_is_forgotten():
    """Neither asked about nor remembered."""
    checked = Checked(*TWO)
    checked.ill = {1}
    await checked.passes(22.0)
    checked.says(TWO[1])
    await checked.passes(6.0)
    del checked.asked[:]
    await checked.passes(12.0)
    assert {port for port, _ in checked.asked} == {2}
    assert len(checked.upstream.verdicts) == 1


@pytest.mark.parametrize("state", [SnapshotState.STALE, SnapshotState.SNAPSHOT, SnapshotState.EXPIRED])
async def test_while_the_registry_is_away_connections_are_tried(state: SnapshotState):
    """So the dead still leave; when it is back, its word counts again."""
    checked = Checked(*TWO, check=None)
    await checked.passes(20.0)
    assert checked.asked == []
    checked.ill = {1}
    checked.says(*TWO, state=state)
    await checked.passes(22.0)
    assert {rules for _, rules in checked.asked} == {WHILE_STALE}
    assert (checked["orders-1"].state, checked["orders-2"].state) == (EndpointState.UNHEALTHY, EndpointState.READY)
    checked.says(*TWO)
    await checked.passes(1.0)
    assert (checked["orders-1"].state, checked.upstream.verdicts) == (EndpointState.READY, {})


async def test_past_a_proxy_nothing_is_tried():
    """Where instances are reached through one, a connection of our own proves nothing."""
    checked = Checked(*TWO, check=None)
    checked.upstream.reach_by(HttpxReach(proxies=(("all", "http://proxy.example:3128"),)))
    checked.says(*TWO, state=SnapshotState.STALE)
    await checked.passes(22.0)
    assert checked.asked == []
    assert checked["orders-1"].state is EndpointState.READY


async def test_a_suspect_that_answers_is_confirmed_and_one_that_does_not_leaves():
    """It stays a suspect: only the registry can say that it is registered."""
    suspects = [instance(f"orders-{n}", port=n, state=InstanceState.SUSPECT, reason="missing") for n in (1, 2)]
    checked = Checked(*suspects)
    checked.upstream.endpoints.fail_suspect(checked["orders-1"], 100.0)
    checked.ill = {2}
    await checked.passes(22.0)
    assert (checked["orders-1"].state, checked["orders-1"].reason) == (EndpointState.SUSPECT, "missing; answers our health check")
    assert checked["orders-2"].state is EndpointState.UNHEALTHY
    assert checked.upstream.endpoints.pick(1.0) is checked["orders-1"]


async def test_checks_that_pass_do_not_bring_back_whom_traffic_has_ejected():
    """They say what they say about health checks."""
    checked = Checked(*TWO)
    await checked.passes(1.0)
    for _ in range(5):
        checked.upstream.outliers.failed(checked["orders-1"], Outcome.FAILED_REMOTE, checked.now_s, checked.now_s)
    until_s = checked["orders-1"].ejected_until_s
    await checked.passes(20.0)
    assert (checked["orders-1"].state, checked["orders-1"].ejected_until_s) == (EndpointState.EJECTED, until_s)


async def test_who_was_down_and_is_up_gets_its_trial_soon():
    """And only a trial: it is ejected still."""
    checked = Checked(*TWO)
    checked.ill = {1}
    await checked.passes(20.0)
    for _ in range(5):
        checked.upstream.outliers.failed(checked["orders-1"], Outcome.FAILED_LOCAL, checked.now_s, checked.now_s)
    checked.upstream.endpoints.eject(checked["orders-1"], "5 failures", checked.now_s)
    checked["orders-1"].ejected_until_s = checked.now_s + 1000.0
    checked.ill = set()
    await checked.passes(12.0)
    assert (checked["orders-1"].state, checked["orders-1"].reason) == (EndpointState.EJECTED, "5 failures")
    assert checked["orders-1"].ejected_until_s <= checked.now_s


async def test_checks_under_way_are_bounded():
    """With many instances they come later, not all at once."""
    many = [instance(f"orders-{n}", port=n) for n in range(1, 201)]
    checked = Checked(*many)
    checked.hold = asyncio.Event()
    await checked.passes(20.0)
    assert len(checked.asked) == MOST_AT_ONCE
    checked.hold.set()
    await checked.passes(10.0)
    assert {port for port, _ in checked.asked} == set(range(1, 201))


async def test_a_service_that_is_gone_is_not_brought_back_by_a_late_answer():
    """What was asked about it is nobody's business any more."""
    checked = Checked(TWO[0])
    checked.ill, checked.hold = {1}, asyncio.Event()
    await checked.passes(6.0)
    checked.upstream.close(checked.now_s)
    del checked.upstreams["orders"]
    checked.hold.set()
    await checked.passes(1.0)
    assert (checked.upstream.endpoints.endpoints, checked.upstream.verdicts) == ({}, {})


async def test_the_end_leaves_no_check_behind():
    """They are cancelled, and the clock stops."""
    checked = Checked(*TWO)
    checked.hold = asyncio.Event()
    await checked.passes(6.0)
    checked.checker.start()
    await checked.checker.aclose()
    asked = len(checked.asked)
    await asyncio.sleep(0)
    assert len(checked.asked) == asked


def test_what_nobody_has_told_of_is_not_checked():
    """Before the registry's first word there is nobody to ask about."""
    upstream = upstream_of()
    upstream.snapshot = None
    assert rules_now(upstream) is None

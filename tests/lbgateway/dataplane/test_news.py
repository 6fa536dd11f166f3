"""What an upstream tells to those who watch: a trace of events."""

from __future__ import annotations

from structlog.testing import capture_logs

from balancers.endpoint import Outcome
from balancers.outlier import OutlierRules
from discovery.instance import InstanceState, Snapshot, SnapshotState
from lbgateway.dataplane.rules import UpstreamRules
from lbgateway.dataplane.upstream import Upstream
from lbgateway.policies.circuit_breaker import BreakerRules
from tests.lbgateway.dataplane.test_upstream import instance, says, upstream_of


def told(upstream: Upstream, after: int = 0) -> list[tuple[str, dict]]:
    return [(event.kind, {**event.facts, "service": event.facts["service"]}) for event in upstream.news.events.since(after).events]


def test_changes_of_the_registry_are_told_with_names():
    """Once for each answer; one that changes nothing is silent, one that says less than before is not."""
    upstream = upstream_of(instance())
    says(upstream, instance())
    upstream.take(Snapshot("orders", 1, (instance(),), 1, 2.0, SnapshotState.STALE), 2.0)
    says(upstream, instance("orders-2"), now_s=3.0)
    registry = [facts for kind, facts in told(upstream) if kind == "registry"]
    assert [(each["state"], each["added"], each["removed"]) for each in registry] == [
        ("fresh", ["orders-1"], []),
        ("stale", [], []),
        ("fresh", ["orders-2"], ["orders-1"]),
    ]


def test_a_change_of_state_is_told_with_its_reason():
    """By instance and node."""
    upstream = upstream_of(instance())
    says(upstream, instance(state=InstanceState.CRITICAL, reason="no disk"))
    says(upstream, instance(state=InstanceState.CRITICAL, reason="no disk, still"))
    changes = [facts for kind, facts in told(upstream) if kind == "instance"]
    assert changes == [
        {"service": "orders", "instance": "orders-1", "node": "", "from": "ready", "to": "critical", "reason": "no disk"},
    ]


def test_ejections_are_told_out_again_and_back():
    """An ejection that a failed trial prolongs is news, too."""
    upstream = upstream_of(instance(), instance("orders-2"))
    upstream.guard(UpstreamRules(outlier=OutlierRules()), 1.0)
    bad = upstream.endpoints.ready[0]
    upstream.endpoints.eject(bad, "5 failures", 2.0)
    upstream.endpoints.eject(bad, "its trial failed", 3.0)
    upstream.endpoints.uneject(bad, 4.0)
    moves = [(facts["from"], facts["to"], facts["reason"]) for kind, facts in told(upstream) if kind == "ejection"]
    assert moves == [("ready", "ejected", "5 failures"), ("ejected", "ejected", "its trial failed"), ("ejected", "ready", None)]


def test_the_breaker_s_moves_are_told():
    """By the state that it has now, and why."""
    upstream = upstream_of(instance())
    upstream.guard(UpstreamRules(breaker=BreakerRules(0.5, 1, 10.0, 5.0, 3)), 1.0)
    upstream.breaker.check(1, 1, 1.1)
    upstream.breaker.admit(6.2)
    for _ in range(3):
        upstream.breaker.record(failed=False, abandoned=False, sent_at_s=6.3, now_s=6.4)
    upstream.breaker.sweep(4, 1, 6.5)
    upstream.breaker.check(5, 2, 6.6)
    upstream.breaker.admit(11.7)
    upstream.breaker.record(failed=True, abandoned=False, sent_at_s=11.8, now_s=11.9)
    upstream.guard(UpstreamRules(breaker=None), 12.0)
    moves = [facts for kind, facts in told(upstream) if kind == "breaker"]
    assert {each["service"] for each in moves} == {"orders"}
    assert [(each["state"], each["reason"]) for each in moves] == [
        ("open", "1 of 1 requests failed within 10 s"),
        ("half_open", "its pause of 5 s is over"),
        ("closed", "its trials succeeded"),
        ("open", "1 of 1 requests failed within 10 s"),
        ("half_open", "its pause of 5 s is over"),
        ("open", "a trial failed"),
        ("closed", "switched off"),
    ]


def test_an_instance_that_fails_and_has_to_stay_is_logged():
    """Of one instance none can be out; without a word nobody would know why requests go on failing."""
    upstream = upstream_of(instance())
    upstream.guard(UpstreamRules(outlier=OutlierRules()), 1.0)
    with capture_logs() as logged:
        for _ in range(20):
            upstream.outliers.failed(upstream.endpoints.ready[0], Outcome.FAILED_LOCAL, 1.1, 1.2)
    assert [(line["event"], line["instance"], line["reason"]) for line in logged] == [
        ("instance fails, and is not ejected", "orders-1", "5 failures in a row, and as many are out as max_ejected allows")
    ]

"""From complete sets of members to picks, and nothing that traffic wrote is ever lost."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from balancers import Endpoint, EndpointState, LeastConnections, Outcome, RoundRobin, make_balancer
from balancers.endpoint_set import EndpointSet, Member
from tests.balancers.pools import NAMES

READY, SUSPECT, DRAINING, GONE = EndpointState.READY, EndpointState.SUSPECT, EndpointState.DRAINING, EndpointState.GONE
CRITICAL = EndpointState.CRITICAL


class CountingRebuilds(RoundRobin[Endpoint]):
    """A balancer that knows how often it was disturbed."""

    def __init__(self, random):
        super().__init__(random)
        self.rebuilds = 0

    def rebuild(self, ready):
        self.rebuilds += 1
        super().rebuild(ready)


def make(member: Member) -> Endpoint:
    return Endpoint(member.key, member.id, member.weight)


def members(*keys: str, **changes: object) -> list[Member]:
    return [Member(key, key, **changes) for key in keys]


def a_set(*keys: str) -> EndpointSet[Endpoint]:
    endpoints = EndpointSet(LeastConnections(Random(1)), make)
    endpoints.sync(members(*keys), 1.0)
    return endpoints


def ids(endpoints) -> str:
    return "".join(endpoint.id for endpoint in endpoints)


def test_a_new_set_offers_nobody():
    """Before the registry has spoken there is nothing to pick."""
    endpoints = EndpointSet(LeastConnections(Random(1)), make)
    assert endpoints.pick(1.0) is None
    assert (endpoints.endpoints, endpoints.ready, endpoints.suspects) == ({}, (), ())


def test_a_sync_reports_who_came_went_and_changed():
    """The set is complete: whoever is missing has left."""
    endpoints = a_set("a", "b", "c")
    report = endpoints.sync([*members("d", "b"), Member("c", "c", 5)], 2.0)
    assert (ids(report.added), ids(report.removed), ids(report.changed)) == ("d", "a", "c")
    assert bool(report)
    assert not endpoints.sync([*members("d", "b"), Member("c", "c", 5)], 3.0)


def test_the_ready_stand_in_the_order_of_their_keys():
    """However the registry shuffles its answer."""
    assert ids(a_set("c", "a", "b").ready) == "abc"


@pytest.mark.parametrize(
    ("member", "state", "reason", "ready", "suspects"),
    [
        (Member("a", "a"), READY, None, "a", ""),
        (Member("a", "a", 1, EndpointState.WARMING), EndpointState.WARMING, None, "a", ""),
        (Member("a", "a", 0), DRAINING, "weight 0", "", ""),
        (Member("a", "a", 0, SUSPECT, "missing"), DRAINING, "weight 0", "", ""),
        (Member("a", "a", 1, SUSPECT, "missing"), SUSPECT, "missing", "", "a"),
        (Member("a", "a", 1, CRITICAL, "check failed"), CRITICAL, "check failed", "", ""),
        (Member("a", "a", 0, CRITICAL, "check failed"), CRITICAL, "check failed", "", ""),
        (Member("a", "a", 1, EndpointState.MAINTENANCE, "disks"), EndpointState.MAINTENANCE, "disks", "", ""),
        (Member("a", "a", 1, DRAINING, "by an operator"), DRAINING, "by an operator", "", ""),
    ],
)
def test_what_a_member_says_decides_whether_it_is_offered(member, state, reason, ready, suspects):
    """Weight 0 drains; a state that gets no traffic keeps its own reason."""
    endpoints = EndpointSet(LeastConnections(Random(1)), make)
    endpoints.sync([member], 1.0)
    endpoint = endpoints.endpoints["a"]
    assert (endpoint.state, endpoint.reason) == (state, reason)
    assert (ids(endpoints.ready), ids(endpoints.suspects)) == (ready, suspects)
    assert endpoints.pick(1.0) is (endpoint if ready or suspects else None)


def test_since_tells_when_the_state_began():
    """A new reason or weight is no new state."""
    endpoints = a_set("a")
    endpoint = endpoints.endpoints["a"]
    endpoints.sync([Member("a", "a", 7)], 2.0)
    assert (endpoint.since_s, endpoint.weight) == (1.0, 7)
    endpoints.sync([Member("a", "a", 7, CRITICAL, "one")], 3.0)
    endpoints.sync([Member("a", "a", 7, CRITICAL, "two")], 4.0)
    assert (endpoint.since_s, endpoint.reason) == (3.0, "two")


def test_whoever_leaves_stays_until_nothing_is_in_flight():
    """The sweep hands it out once, to be closed."""
    endpoints = a_set("a", "b")
    a, b = endpoints.ready
    a.active = 2
    endpoints.sync([], 2.0)
    assert (a.state, b.state, endpoints.pick(2.0)) == (GONE, GONE, None)
    assert endpoints.sweep(2.5) == (b,)
    a.active = 0
    assert endpoints.sweep(3.0) == (a,)
    assert endpoints.sweep(4.0) == ()
    assert endpoints.leaving == {}


def test_whoever_comes_back_in_time_is_the_same():
    """With its requests in flight, its estimate, and a new beginning of its state."""
    endpoints = a_set("a")
    (a,) = endpoints.ready
    a.active, a.latency_s = 1, 0.5
    endpoints.sync([], 2.0)
    endpoints.sweep(2.5)
    report = endpoints.sync(members("a"), 3.0)
    assert report.added == endpoints.ready == (a,)
    assert (a.active, a.latency_s, a.state, a.since_s, a.reason) == (1, 0.5, READY, 3.0, None)
    assert endpoints.leaving == {}


def test_whoever_comes_back_too_late_starts_anew():
    """What was forgotten is forgotten."""
    endpoints = a_set("a")
    (a,) = endpoints.ready
    endpoints.sync([], 2.0)
    endpoints.sweep(2.5)
    endpoints.sync(members("a"), 3.0)
    assert endpoints.ready != (a,)


def with_suspects() -> EndpointSet[Endpoint]:
    endpoints = a_set()
    endpoints.sync([*members("a", "b"), *members("x", "y", state=SUSPECT, reason="missing")], 1.0)
    return endpoints


def test_suspects_are_picked_last():
    """Only when no ready one is left for this request, and then the emptiest first."""
    endpoints = with_suspects()
    a, b = endpoints.ready
    x, y = endpoints.suspects
    a.active = b.active = 50
    x.active = 1
    assert {endpoints.pick(1.0) for _ in range(20)} == {a, b}
    assert endpoints.pick(1.0, None, [a, b]) is y
    assert endpoints.pick(1.0, None, [a, b, y]) is x
    assert endpoints.pick(1.0, None, [a, b, x, y]) is None


def test_with_suspects_only_the_balancer_chooses_among_them():
    """A start from the disk snapshot balances like any other."""
    endpoints = a_set()
    endpoints.sync(members("x", "y", state=SUSPECT), 1.0)
    assert endpoints.ready == ()
    assert {endpoints.pick(1.0).id for _ in range(30)} == {"x", "y"}


def test_a_suspect_is_dropped_at_its_first_failed_connect():
    """The registry repeating itself does not bring it back; news of it does."""
    endpoints = with_suspects()
    said = [*members("a", "b"), *members("x", "y", state=SUSPECT, reason="missing")]
    x, y = endpoints.suspects
    endpoints.fail_suspect(x, 2.0)
    assert (x.state, x.reason, endpoints.suspects) == (SUSPECT, "missing; not picked since a connect failed", (y,))
    endpoints.sync(said, 3.0)
    assert endpoints.suspects == (y,)
    endpoints.sync([*said[:2], *members("x", "y", state=SUSPECT, reason="still missing")], 4.0)
    assert (x.reason, endpoints.suspects) == ("still missing", (x, y))
    endpoints.fail_suspect(x, 5.0)
    endpoints.sync([*said[:2], *members("x")], 6.0)
    assert (x.reason, ids(endpoints.ready)) == (None, "abx")


def test_a_failed_connect_of_a_ready_one_is_not_our_business():
    """That is for ejection to judge."""
    endpoints = a_set("a")
    endpoints.fail_suspect(endpoints.ready[0], 2.0)
    assert (ids(endpoints.ready), endpoints.ready[0].reason) == ("a", None)


def test_another_balancer_finds_everything_as_it_was():
    """A reload changes the rule, not the knowledge."""
    endpoints = a_set("a", "b")
    before = endpoints.ready
    before[0].active, before[0].latency_s = 3, 0.2
    endpoints.replace_balancer(make_balancer("round_robin", Random(2)))
    assert endpoints.ready == before
    assert (before[0].active, before[0].latency_s) == (3, 0.2)
    assert {endpoints.pick(1.0) for _ in range(2)} == set(before)
    assert repr(endpoints) == "<EndpointSet round_robin ready=2 suspects=0 leaving=0 of 2>"


def test_the_balancer_is_disturbed_only_by_what_concerns_it():
    """A check's new words, or a second critical instance, must not move the turn."""
    balancer = CountingRebuilds(Random(1))
    endpoints = EndpointSet(balancer, make)
    endpoints.sync([*members("a", "b"), Member("c", "c", 1, CRITICAL, "one")], 1.0)
    assert balancer.rebuilds == 1
    endpoints.sync([*members("b", "a"), Member("c", "c", 1, CRITICAL, "two"), Member("d", "d", 1, CRITICAL)], 2.0)
    assert balancer.rebuilds == 1
    endpoints.sync([Member("a", "a", 2), *members("b")], 3.0)
    assert balancer.rebuilds == 2


def test_the_usual_pick_is_the_balancers_own():
    """No detour on the way of every request."""
    endpoints = a_set("a", "b")
    assert endpoints.pick == endpoints.balancer.pick


@pytest.mark.parametrize("name", NAMES)
def test_members_said_twice_count_once(name):
    """The last word holds."""
    endpoints = EndpointSet(make_balancer(name, Random(1)), make)
    endpoints.sync([Member("a", "a", 1), Member("a", "a", 9)], 1.0)
    assert [endpoint.weight for endpoint in endpoints.ready] == [9]


member_lists = st.lists(
    st.builds(
        lambda key, weight, state: Member(key, key, weight, state, None if state is READY else "said so"),
        st.sampled_from("abcdef"),
        st.integers(0, 3),
        st.sampled_from([READY, READY, SUSPECT, CRITICAL, EndpointState.MAINTENANCE]),
    ),
    max_size=6,
    unique_by=lambda member: member.key,
)


class Histories(RuleBasedStateMachine):
    """Random lives of a set beside a simple record of what must be true."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1.0
        self.endpoints = EndpointSet(make_balancer("ewma", Random(1)), make)
        self.members: dict[str, Member] = {}
        self.flying: list[Endpoint] = []
        self.known: dict[str, Endpoint] = {}
        self.samples: dict[str, float] = {}

    def tick(self) -> float:
        self.now_s += 0.1
        return self.now_s

    @rule(members=member_lists)
    def the_registry_speaks(self, members):
        before = set(self.members)
        self.members = {member.key: member for member in members}
        report = self.endpoints.sync(members, self.tick())
        assert {endpoint.key for endpoint in report.added} == set(self.members) - before
        assert {endpoint.key for endpoint in report.removed} == before - set(self.members)
        for endpoint in report.added:
            # Forgotten or never seen: a new object. Otherwise the same one.
            assert self.known.setdefault(endpoint.key, endpoint) is endpoint

    @rule(name=st.sampled_from(NAMES))
    def the_rule_changes(self, name):
        self.endpoints.replace_balancer(make_balancer(name, Random(1)))

    @rule(exclude=st.booleans())
    def a_request_is_sent(self, exclude):
        excluded = self.flying[-2:] if exclude else []
        endpoint = self.endpoints.pick(self.tick(), None, excluded)
        offered = {*self.endpoints.ready, *self.endpoints.suspects} - set(excluded)
        assert (endpoint is None) <= (not offered or not self.endpoints.suspects)
        if endpoint is None:
            assert not set(self.endpoints.ready) - set(excluded)
            return
        assert endpoint in offered
        assert endpoint in self.endpoints.ready or not set(self.endpoints.ready) - set(excluded)
        endpoint.active += 1
        self.flying.append(endpoint)

    @rule(latency_s=st.floats(0.001, 2), connect_failed=st.booleans())
    def a_request_ends(self, latency_s, connect_failed):
        if self.flying:
            endpoint = self.flying.pop(0)
            endpoint.active -= 1
            self.endpoints.balancer.observe(endpoint, latency_s, Outcome.OK, self.tick())
            self.samples[endpoint.key] = endpoint.latency_s
            if connect_failed:
                self.endpoints.fail_suspect(endpoint, self.now_s)
                assert endpoint not in self.endpoints.suspects

    @rule()
    def the_sweep_passes(self):
        for endpoint in self.endpoints.sweep(self.tick()):
            assert endpoint not in self.flying
            assert endpoint.key not in self.members
            assert self.known.pop(endpoint.key) is endpoint
            self.samples.pop(endpoint.key, None)

    @invariant()
    def everybody_is_somewhere(self):
        present, leaving = self.endpoints.endpoints, self.endpoints.leaving
        assert present.keys() == self.members.keys()
        assert not present.keys() & leaving.keys()
        assert {**present, **leaving} == self.known
        assert all(endpoint.state is GONE for endpoint in leaving.values())
        assert all(self.known[endpoint.key] is endpoint for endpoint in self.flying)

    @invariant()
    def what_traffic_wrote_survives(self):
        for key, endpoint in self.known.items():
            assert endpoint.active == self.flying.count(endpoint)
            assert endpoint.latency_s == self.samples.get(key, 0.0)

    @invariant()
    def the_offer_follows_from_the_members(self):
        offers = [member for member in sorted(self.members.values(), key=lambda member: member.key) if member.weight]
        assert ids(self.endpoints.ready) == "".join(member.key for member in offers if member.state is READY)
        assert set(ids(self.endpoints.suspects)) <= {member.key for member in offers if member.state is SUSPECT}
        assert self.endpoints.balancer.ready == (self.endpoints.ready or self.endpoints.suspects)


TestHistories = Histories.TestCase
"""Whatever happens in whatever order, numbers survive and the offer is right."""


@given(member_lists, member_lists)
def test_the_way_does_not_matter(first, second):
    """Only the last complete set counts: the same offer with and without the one before."""
    direct, detour = a_set(), a_set()
    direct.sync(second, 2.0)
    detour.sync(first, 1.5)
    detour.sync(second, 2.0)
    assert ids(direct.ready) == ids(detour.ready)
    assert ids(direct.suspects) == ids(detour.suspects)


# -- slow start ------------------------------------------------------------------------------------


def slowly(*keys: str) -> EndpointSet[Endpoint]:
    """These are in use, and whoever joins them has a slow start of ten seconds."""
    endpoints = EndpointSet(CountingRebuilds(Random(1)), make)
    endpoints.slow_start_s = 10.0
    endpoints.sync(members(*keys, weight=4.0), 1.0)
    return endpoints


def test_a_newcomer_gets_a_growing_share_of_its_weight():
    """From a tenth on, in ten steps; then it is as ready as the others."""
    endpoints = slowly("a")
    endpoints.sync(members("a", "b", weight=4.0), 20.0)
    b = endpoints.endpoints["b"]
    assert (b.state, b.reason, ids(endpoints.ready)) == (EndpointState.WARMING, "slow start: 10% of its weight", "ab")
    weights = []
    for tenth in range(110):
        endpoints.warm(20.0 + tenth / 10)
        weights.append(round(b.weight, 6))
    assert sorted(set(weights)) == [round(4.0 * (0.1 + 0.09 * step), 6) for step in range(11)]
    assert weights == sorted(weights)
    assert (b.state, b.reason, b.weight, endpoints.warming) == (READY, None, 4.0, ())
    assert endpoints.balancer.rebuilds == 12  # type: ignore[attr-defined]  # for two syncs, nine steps and the end


def test_the_first_ones_start_at_once():
    """If all are cold, nobody can be spared; nor where nobody else is in use."""
    endpoints = slowly("a", "b")
    assert [endpoint.state for endpoint in endpoints.ready] == [READY, READY]
    endpoints.sync(members("a", "b", state=CRITICAL), 2.0)
    endpoints.sync(members("a", "b"), 3.0)
    assert [endpoint.state for endpoint in endpoints.ready] == [READY, READY]


@pytest.mark.parametrize(("before", "after"), [(CRITICAL, EndpointState.WARMING), (SUSPECT, READY), (READY, READY)])
def test_who_comes_back_from_having_nothing_to_do_starts_slowly(before, after):
    """Whoever took traffic all the time is warm."""
    endpoints = slowly("a", "b")
    endpoints.sync([*members("a"), Member("b", "b", 1, before)], 2.0)
    endpoints.sync(members("a", "b"), 3.0)
    assert endpoints.endpoints["b"].state is after


def test_a_slow_start_goes_on_whatever_the_registry_says_of_others():
    """Its weight may change meanwhile; being switched off ends it."""
    endpoints = slowly("a")
    endpoints.sync(members("a", "b"), 20.0)
    endpoints.sync([*members("a"), Member("b", "b", 8.0)], 25.0)
    b = endpoints.endpoints["b"]
    assert (b.state, b.weight) == (EndpointState.WARMING, pytest.approx(8.0 * 0.55))
    endpoints.slow_start_s = 0.0
    endpoints.warm(25.1)
    assert (b.state, b.weight) == (READY, 8.0)


def test_ejection_hides_a_slow_start_and_does_not_end_it():
    """Out is out; back again, it goes on where time has brought it."""
    endpoints = slowly("a")
    endpoints.sync(members("a", "b"), 20.0)
    b = endpoints.endpoints["b"]
    endpoints.eject(b, "fails", 21.0)
    assert b.state is EndpointState.EJECTED
    endpoints.uneject(b, 26.0)
    assert (b.state, b.weight) == (EndpointState.WARMING, pytest.approx(0.64))


def test_changes_are_told_with_the_state_before():
    """Joining is none; other words for the same state are one."""
    told = []
    endpoints = EndpointSet(
        LeastConnections(Random(1)), make, lambda e, before, now_s: told.append((e.id, before, e.state, e.reason, now_s))
    )
    endpoints.sync(members("a"), 1.0)
    endpoints.sync([Member("a", "a", state=CRITICAL, reason="disk")], 2.0)
    endpoints.sync([Member("a", "a", state=CRITICAL, reason="fan")], 3.0)
    endpoints.sync((), 4.0)
    assert told == [
        ("a", READY, CRITICAL, "disk", 2.0),
        ("a", CRITICAL, CRITICAL, "fan", 3.0),
        ("a", CRITICAL, GONE, "no longer registered", 4.0),
    ]


def test_who_is_ejected_by_order_is_none_of_those_that_failed():
    """No trial is made of it, and panic does not bring it back."""
    endpoints = a_set("a", "b")
    endpoints.panic_below(0.9)
    endpoints.sync([Member("a", "a", state=EndpointState.EJECTED, reason="ejected by ann"), *members("b")], 2.0)
    assert (ids(endpoints.ejected), endpoints.panic, ids(endpoints.ready)) == ("", False, "b")
    endpoints.eject(endpoints.endpoints["b"], "failures", 3.0)
    assert (ids(endpoints.ejected), endpoints.panic, ids(endpoints.ready)) == ("b", True, "b")


def test_a_suspect_that_answers_is_offered_again():
    """A failed connect was one word, a check that passes is the next."""
    endpoints = EndpointSet(LeastConnections(Random(1)), make)
    endpoints.sync(members("a", state=SUSPECT, reason="missing"), 1.0)
    [a] = endpoints.suspects
    endpoints.confirm(a, 1.5)
    endpoints.fail_suspect(a, 2.0)
    assert endpoints.pick(2.0) is None
    endpoints.confirm(a, 3.0)
    assert (endpoints.pick(3.0), a.reason) == (a, "missing")

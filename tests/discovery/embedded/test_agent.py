"""The agent: registrations, results, and what time does to them. Its clock is the test's."""

from __future__ import annotations

import pytest

from discovery.embedded.agent import MAX_OUTPUT, MAX_SERVICES, OUTPUT_DELAY_S, LocalAgent
from discovery.embedded.catalog import Catalog, service_scope
from discovery.embedded.changes import Changes
from discovery.embedded.records import CheckDefinition, Node, Refusal, Registration, Service

WEB = Service("web", "web")


def ttl(id: str = "service:web", ttl_s: float = 10, **more: object) -> CheckDefinition:  # noqa: A002 Consul's word
    return CheckDefinition("ttl", id, "c", ttl_s=ttl_s, **{"service_id": "web", **more})


def agent(*checks: CheckDefinition) -> LocalAgent:
    made = LocalAgent(Catalog(Node("0", "n"), Changes(1)))
    made.register(Registration(WEB, checks or (ttl(),)), now_s=0)
    return made


def index(one: LocalAgent) -> int:
    return one.catalog.index_of(service_scope("web"))


def status(one: LocalAgent, check_id: str = "service:web") -> str:
    """As the catalogue shows it."""
    return one.catalog.checks["n", check_id].record.status


def test_silence_turns_a_check_critical_exactly_at_its_time() -> None:
    """The last heartbeat counts, and the last output is kept in the message."""
    one = agent()
    one.heartbeat("service:web", "passing", "fine", now_s=5)
    assert one.next_deadline_s() == 15
    one.expire_ttls(now_s=14.9)
    assert status(one) == "passing"
    one.expire_ttls(now_s=15)
    assert (status(one), one.next_deadline_s()) == ("critical", None)
    assert one.checks["service:web"].check.output == "TTL expired (last output before timeout follows): fine"


def test_a_heartbeat_after_the_end_brings_a_check_back() -> None:
    """With a new deadline."""
    one = agent()
    one.expire_ttls(now_s=10)
    one.heartbeat("service:web", "passing", "", now_s=11)
    assert (status(one), one.next_deadline_s()) == ("passing", 21)


def test_an_output_alone_is_published_late_and_with_the_next_change_of_status() -> None:
    """Or each heartbeat with a timestamp in its note would wake all watchers."""
    one = agent()
    one.heartbeat("service:web", "passing", "one", now_s=0)
    before = index(one)
    one.heartbeat("service:web", "passing", "two", now_s=1)
    one.tidy(now_s=OUTPUT_DELAY_S)
    assert (index(one), one.catalog.checks["n", "service:web"].record.output) == (before, "one")
    one.tidy(now_s=OUTPUT_DELAY_S + 1)
    assert (index(one), one.catalog.checks["n", "service:web"].record.output) == (before + 1, "two")


def test_an_instance_that_stays_critical_is_taken_out() -> None:
    """Counted from when it turned critical, not from its registration; others stay."""
    one = agent(ttl(deregister_after_s=60, status="passing"))
    one.register(Registration(Service("other", "web"), (ttl("service:other", service_id="other"),)), now_s=0)
    one.expire_ttls(now_s=10)
    assert one.tidy(now_s=70) == []
    assert one.tidy(now_s=70.1) == ["web"]
    assert (list(one.services), list(one.checks)) == (["other"], ["service:other"])


def test_registering_again_does_not_reset_how_long_it_is_critical() -> None:
    """A crash loop that registers at every start would otherwise stay for ever."""
    one = agent(ttl(deregister_after_s=60))
    one.register(Registration(WEB, (ttl(deregister_after_s=60),)), now_s=50)
    assert one.tidy(now_s=61) == ["web"]


def test_registering_again_keeps_what_is_known_of_a_check() -> None:
    """Status and output; the clock of a TTL is wound up."""
    one = agent()
    one.heartbeat("service:web", "warning", "slow", now_s=0)
    one.register(Registration(WEB, (ttl(status="passing"),)), now_s=5)
    assert (status(one), one.checks["service:web"].check.output, one.next_deadline_s()) == ("warning", "slow", 15)


def test_replacing_checks_drops_those_of_this_service_only() -> None:
    """The node's and other services' checks are none of its business."""
    one = agent(ttl("old"))
    one.register_check(ttl("node", service_id=""), now_s=0)
    one.register(Registration(WEB, (ttl("new"),)), now_s=0, replace_checks=True)
    assert set(one.checks) == {"node", "new"} == {check_id for _, check_id in one.catalog.checks} - {"serfHealth"}


def test_only_ttl_checks_take_heartbeats() -> None:
    """An HTTP check has its own eyes, maintenance its own switch."""
    one = agent(CheckDefinition("http", "service:web", "c", service_id="web", http="http://h/", interval_s=1))
    one.set_maintenance("web", "", 0, enable=True)
    for check_id in ("service:web", "_service_maintenance:web", "nobody"):
        with pytest.raises(Refusal, match="does not have associated TTL"):
            one.heartbeat(check_id, "passing", "", now_s=0)


def test_a_result_of_a_check_that_is_gone_is_ignored() -> None:
    """A probe may end after its service was deregistered."""
    one = agent()
    one.deregister("web")
    before = one.catalog.changes.index
    one.report("service:web", "passing", "", now_s=1)
    assert (one.catalog.changes.index, one.checks) == (before, {})


def test_a_long_output_is_cut() -> None:
    """And says so; half of a character is no reason to fail."""
    one = agent()
    one.heartbeat("service:web", "passing", "\ud800", now_s=0)
    one.heartbeat("service:web", "passing", "x" * (MAX_OUTPUT + 1), now_s=0)
    assert one.checks["service:web"].check.output == "x" * MAX_OUTPUT + " ... (captured 4096 of 4097 bytes)"


def test_there_is_a_bound_to_services_but_not_to_repetitions() -> None:
    """A loop that registers under ever new ids ends somewhere."""
    one = agent()
    for number in range(1, MAX_SERVICES):
        one.register(Registration(Service(str(number), "web")), now_s=0)
    one.register(Registration(WEB), now_s=0)
    with pytest.raises(Refusal, match="1000 services at most"):
        one.register(Registration(Service("one more", "web")), now_s=0)


def test_maintenance_of_the_node_and_of_services_are_apart() -> None:
    """Ending one leaves the other; an unknown service has none."""
    one = agent()
    one.set_maintenance("", "", 0, enable=True)
    one.set_maintenance("web", "", 0, enable=True)
    one.set_maintenance("", "", 0, enable=False)
    assert set(one.checks) == {"service:web", "_service_maintenance:web"}
    with pytest.raises(Refusal) as caught:
        one.set_maintenance("nobody", "", 0, enable=True)
    assert caught.value.status == 404


def test_a_change_of_checks_is_told_to_whoever_carries_them_out() -> None:
    """Registering, deregistering, single checks."""
    one, told = agent(), []
    one.on_checks_changed = lambda: told.append(sorted(one.checks))
    one.register_check(ttl("extra"), now_s=0)
    one.deregister_check("extra")
    one.deregister("web")
    assert told == [["extra", "service:web"], ["service:web"], []]
    assert repr(agent().checks["service:web"]) == "<LocalCheck service:web critical>"

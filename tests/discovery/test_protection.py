"""Which losses are believed, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.consul_wire import Consistency
from discovery.instance import Instance, InstanceKey, InstanceState
from discovery.protection import Answer, Judgement, NodeBoard, Recheck, Why, judge

STALE, DEFAULT, CONSISTENT = Consistency
HOLD_S = 10.0


def up(number: int, node: str = "n1", state: str = "passing") -> Instance:
    status = "passing" if state == "suspect" else state
    key = InstanceKey("consul", "dc1", "", node, f"i{number}")
    return Instance(key, "orders", "10.0.0.1", 9000 + number, state=InstanceState(state), consul_status=status)


def down(number: int, node: str = "n1") -> Instance:
    return up(number, node, "critical")


class Story:
    """A service under protection: `hears` answers and shows what would be served."""

    def __init__(self, *instances: Instance, hold_s: float = HOLD_S) -> None:
        self.hold_s = hold_s
        self.now = Judgement(instances)
        self.index = 10

    def hears(self, at_s: float, *instances: Instance, mode: Consistency = STALE, moved: bool = True, **circumstances: object) -> str:
        """One answer; returns ``i1 passing, i2 suspect``."""
        self.index += moved
        answer = Answer(instances, at_s, self.index, mode, same_index=not moved, **circumstances)  # type: ignore[arg-type] a short spelling
        self.now = judge(self.now.instances, self.now.holds, answer, self.hold_s)
        return self.served

    @property
    def served(self) -> str:
        return ", ".join(f"{i.id} {i.state}" for i in self.now.instances)

    @property
    def why(self) -> set[Why]:
        return {hold.why for hold in self.now.holds.values()}


@pytest.mark.parametrize(
    ("before", "after", "believed"),
    [
        (3, 2, True),
        (2, 1, True),
        (3, 1, True),
        (1, 0, False),
        (3, 0, False),
        (4, 3, True),
        (4, 2, False),
        (5, 3, True),
        (8, 4, False),
        (8, 5, True),
    ],
)
def test_a_loss_is_suspicious_by_its_size(before: int, after: int, believed: bool) -> None:
    """All of them, or half of at least four at once."""
    story = Story(*(up(n) for n in range(before)))

    story.hears(0, *(up(n) for n in range(after)))

    assert len(story.now.instances) == (after if believed else before)
    assert bool(story.now.holds) is not believed


def test_an_empty_answer_is_believed_after_the_hold() -> None:
    """Read again by the leader after a second, by a verified leader after two, decided at the end."""
    story = Story(up(1), up(2))

    assert story.hears(0) == "i1 suspect, i2 suspect"
    assert story.now.recheck == Recheck(1.0, DEFAULT)
    assert story.hears(1, mode=DEFAULT) == "i1 suspect, i2 suspect"
    assert story.now.recheck == Recheck(2.0, CONSISTENT)
    assert story.hears(2, mode=CONSISTENT) == "i1 suspect, i2 suspect"
    assert story.now.recheck == Recheck(10.0, CONSISTENT)
    assert story.hears(10, mode=CONSISTENT) == ""
    assert story.now.recheck is None


def test_no_loss_is_believed_without_confirmation() -> None:
    """Stale answers confirm nothing, however many and however late."""
    story = Story(up(1))
    story.hears(0)

    for at_s in (5, 11, 60):
        assert story.hears(at_s, mode=STALE) == "i1 suspect"

    assert story.now.recheck == Recheck(1.0, DEFAULT)
    story.hears(61, mode=DEFAULT)
    assert story.hears(62, mode=CONSISTENT) == ""


def test_what_comes_back_is_no_suspect_any_more() -> None:
    """A registry that restarted empty hears of its services one by one."""
    story = Story(up(1), up(2), up(3))

    assert story.hears(0) == "i1 suspect, i2 suspect, i3 suspect"
    assert story.hears(3, up(2)) == "i1 suspect, i2 passing, i3 suspect"
    assert story.hears(8, up(1), up(2), up(3)) == "i1 passing, i2 passing, i3 passing"
    assert story.now.holds == {}


def test_a_check_that_has_not_run_yet_is_no_statement() -> None:
    """Whoever registers again starts critical: suspect for another hold, then believed."""
    story = Story(up(1))
    story.hears(0)

    assert story.hears(8, down(1)) == "i1 suspect"
    assert story.why == {Why.CHECK_NOT_RUN}
    assert story.hears(17, down(1)) == "i1 suspect"
    assert story.now.recheck == Recheck(18.0, DEFAULT)
    assert story.hears(18, down(1)) == "i1 critical"


def test_what_is_said_in_so_many_words_is_believed_at_once() -> None:
    """Critical and maintenance, of all instances at once, too."""
    story = Story(up(1), up(2))

    assert story.hears(0, down(1), up(2, state="maintenance")) == "i1 critical, i2 maintenance"
    assert story.now.holds == {}


def test_a_lost_permission_is_no_removal() -> None:
    """The index did not move: nobody deregistered. Believed only after it has moved, and then after the hold."""
    story = Story(up(1), up(2), up(3))

    assert story.hears(0, up(1), moved=False) == "i1 passing, i2 suspect, i3 suspect"
    assert story.why == {Why.VISIBILITY}
    assert story.now.recheck is None
    assert story.hears(3600, up(1), moved=False, mode=CONSISTENT) == "i1 passing, i2 suspect, i3 suspect"
    story.hears(3601, up(1))
    assert story.why == {Why.EMPTY}
    story.hears(3602, up(1), mode=DEFAULT)
    story.hears(3603, up(1), mode=CONSISTENT)
    assert story.hears(3611, up(1), mode=CONSISTENT) == "i1 passing"


def test_an_old_answer_removes_nothing() -> None:
    """Neither at first nor as a confirmation; what it adds is taken."""
    story = Story(up(1), up(2), up(3))

    assert story.hears(0, up(1), up(4), dubious=True) == "i1 passing, i2 suspect, i3 suspect, i4 passing"
    assert story.hears(60, up(1), up(4), dubious=True, mode=CONSISTENT) == "i1 passing, i2 suspect, i3 suspect, i4 passing"
    assert story.why == {Why.DUBIOUS}


def test_a_registry_that_has_lost_its_data_hears_of_its_services_one_by_one() -> None:
    """Also if the first of them is back before the registry is asked: who has not registered again yet is not gone."""
    story = Story(up(1), up(2), up(3))

    assert story.hears(0, up(2), behind=True) == "i1 suspect, i2 passing, i3 suspect"
    assert story.why == {Why.BEHIND}
    assert story.hears(5, up(1), up(2)) == "i1 passing, i2 passing, i3 suspect"
    story.hears(6, up(1), up(2), mode=DEFAULT)
    story.hears(7, up(1), up(2), mode=CONSISTENT)
    assert story.hears(10, up(1), up(2), mode=CONSISTENT) == "i1 passing, i2 passing"


def test_a_later_deregistration_is_judged_on_its_own() -> None:
    """Suspects of an earlier loss do not make a single loss suspicious."""
    story = Story(*(up(n) for n in range(8)))
    story.hears(0, *(up(n) for n in range(4)))

    assert "i3" not in story.hears(1, *(up(n) for n in range(3)))
    assert len(story.now.holds) == 4


def test_a_critical_instance_may_leave() -> None:
    """Only usable instances are missed."""
    story = Story(up(1), down(2))

    assert story.hears(0, up(1)) == "i1 passing"


def test_a_restarting_agent_kills_nobody() -> None:
    """Certain from the start: held for the hold, even when the node's own check has passed since."""
    story = Story(up(1), up(2))

    assert story.hears(0, down(1), down(2), restarting=frozenset({"n1"})) == "i1 suspect, i2 suspect"
    assert story.now.instances[0].consul_status == "critical"
    assert story.hears(3, down(1), up(2)) == "i1 suspect, i2 passing"
    assert story.now.recheck == Recheck(10.0, DEFAULT)
    assert story.hears(10, down(1), up(2)) == "i1 critical, i2 passing"


def test_a_suspected_restart_is_settled_within_two_seconds() -> None:
    """Either the other instances of the node follow, or this one is believed."""
    refuted, confirmed = Story(up(1)), Story(up(1))
    for story in (refuted, confirmed):
        assert story.hears(0, down(1), maybe_restarting=frozenset({"n1"})) == "i1 suspect"
        assert story.now.recheck == Recheck(2.0, DEFAULT)

    assert refuted.hears(2, down(1)) == "i1 critical"
    assert confirmed.hears(2, down(1), restarting=frozenset({"n1"})) == "i1 suspect"
    assert confirmed.why == {Why.NODE_RESTART}
    assert confirmed.hears(10, down(1), restarting=frozenset({"n1"})) == "i1 critical"


def test_a_registry_that_just_came_back_is_not_taken_at_its_word() -> None:
    """Time-to-live checks are critical until their next heartbeat."""
    story = Story(up(1), up(2))

    assert story.hears(0, down(1), up(2), recovering=True) == "i1 suspect, i2 passing"
    assert story.hears(4, up(1), up(2)) == "i1 passing, i2 passing"
    assert story.hears(5, down(1), up(2)) == "i1 critical, i2 passing"


def test_a_probe_without_a_result_is_no_bad_one() -> None:
    """An agent that restarts begins its probes anew; the first result is believed, whatever it says, and the silence has an end."""
    unprobed = frozenset({down(1).key, down(2).key})
    story = Story(up(1), up(2))

    assert story.hears(0, down(1), down(2), unprobed=unprobed) == "i1 suspect, i2 suspect"
    assert story.why == {Why.NOT_PROBED}
    assert story.hears(1, up(1), down(2), unprobed=unprobed - {up(1).key}) == "i1 passing, i2 suspect"
    assert story.hears(2, up(1), down(2)) == "i1 passing, i2 critical"
    assert story.hears(3, down(1), down(2), unprobed=unprobed) == "i1 suspect, i2 critical"
    assert story.hears(3 + HOLD_S, down(1), down(2), unprobed=unprobed) == "i1 critical, i2 critical"


def test_an_instance_at_another_address_has_yet_to_show_itself() -> None:
    """So has one that is new: nothing good is known of either."""
    unprobed = frozenset({down(1).key, down(2).key})

    assert Story(up(1)).hears(0, replace(down(1), port=7), down(2), unprobed=unprobed) == "i1 critical, i2 critical"


def test_an_operators_word_counts_even_then() -> None:
    """Maintenance is never held."""
    story = Story(up(1))

    assert story.hears(0, up(1, state="maintenance"), recovering=True, restarting=frozenset({"n1"})) == "i1 maintenance"


def test_protection_can_be_switched_off() -> None:
    """A hold of 0 believes everything."""
    story = Story(up(1), up(2), hold_s=0.0)

    assert story.hears(0) == ""


def test_a_suspect_carries_the_latest_facts_and_the_reason() -> None:
    """What it said last, why it is doubted, and the registry's own word."""
    story = Story(up(1))
    story.hears(0, replace(down(1), port=7), recovering=True)

    (suspect,) = story.now.instances
    assert (suspect.port, suspect.reason, suspect.consul_status) == (7, Why.REGISTRY_RESTART.value, "critical")


answers = st.lists(
    st.tuples(
        st.floats(0.01, 5),
        st.dictionaries(st.integers(0, 6), st.sampled_from(["passing", "warning", "critical", "maintenance"])),
        st.sampled_from(Consistency),
        st.booleans(),
        st.fixed_dictionaries({"dubious": st.booleans(), "behind": st.booleans(), "recovering": st.booleans()}),
    ),
    max_size=25,
)


@given(answers)
def test_whatever_is_answered_the_rules_hold(history: list[tuple[float, dict[int, str], Consistency, bool, dict[str, bool]]]) -> None:
    """What is passing is served as such, nothing twice, no doubt has no date, no second look follows another at once."""
    story, now_s, before = Story(), 0.0, set[InstanceKey]()
    for pause_s, states, mode, moved, circumstances in history:
        now_s += pause_s
        instances = [up(n, state=state) for n, state in states.items()]
        story.hears(now_s, *instances, mode=mode, moved=moved, **circumstances)
        served = {i.key: i for i in story.now.instances}

        assert len(served) == len(story.now.instances)
        assert list(served) == sorted(served)
        assert served.keys() >= {i.key for i in instances}
        assert served.keys() <= {i.key for i in instances} | before
        for instance in instances:
            if instance.state is not InstanceState.CRITICAL:
                assert served[instance.key] == instance
        assert {key for key, i in served.items() if i.state is InstanceState.SUSPECT} == story.now.holds.keys()
        if story.why - {Why.VISIBILITY}:
            assert story.now.recheck is not None
        if story.now.recheck is not None and mode.strength >= story.now.recheck.consistency.strength:
            assert story.now.recheck.at_s > now_s
        before = set(served)


@given(st.integers(1, 9), st.floats(0.2, 30))
def test_following_the_rechecks_always_ends(count: int, hold_s: float) -> None:
    """A loss that is real is believed, not before the hold and not long after it."""
    story, now_s = Story(*(up(n) for n in range(count)), hold_s=hold_s), 0.0
    story.hears(0)
    for _ in range(10):
        if story.now.recheck is None:
            break
        now_s = story.now.recheck.at_s
        story.hears(now_s, mode=story.now.recheck.consistency)

    assert story.served == ""
    assert hold_s <= now_s <= hold_s + 3


class TestNodeBoard:
    """All of several watched instances of a node turn, together with its own check."""

    def board(self) -> NodeBoard:
        board = NodeBoard()
        board.observe("a", [up(1), up(2, "n2")], 0.0)
        board.observe("b", [up(3)], 0.0)
        return board

    def test_all_within_two_seconds_is_a_restart(self) -> None:
        """Over services; until the second is heard of, it may be one."""
        board = self.board()
        board.observe("a", [down(1), up(2, "n2")], 100.0)
        assert board.restarting({"n1"}, 100.0) == (frozenset(), {"n1"})
        board.observe("b", [down(3)], 101.0)
        assert board.restarting({"n1"}, 101.0) == ({"n1"}, frozenset())

    def test_one_that_stays_fine_refutes_it(self) -> None:
        """After two seconds it is just an instance that failed."""
        board = self.board()
        board.observe("a", [down(1)], 100.0)
        assert board.restarting({"n1"}, 102.0) == (frozenset(), frozenset())

    def test_far_apart_is_no_restart(self) -> None:
        """The first had failed on its own."""
        board = self.board()
        board.observe("a", [down(1)], 100.0)
        board.observe("b", [down(3)], 103.0)
        assert board.restarting({"n1"}, 103.0) == (frozenset(), frozenset())

    def test_a_single_instance_is_no_signature(self) -> None:
        """Several are needed."""
        board = self.board()
        board.observe("a", [up(1), down(2, "n2")], 100.0)
        assert board.restarting({"n2"}, 100.0) == (frozenset(), frozenset())

    def test_what_was_always_down_does_not_count(self) -> None:
        """Neither for nor against."""
        board = self.board()
        board.observe("c", [down(9)], 0.0)
        board.observe("a", [down(1)], 100.0)
        board.observe("b", [down(3)], 100.0)
        assert board.restarting({"n1"}, 100.0) == ({"n1"}, frozenset())

    def test_forgotten_services_do_not_count(self) -> None:
        """What is not watched any more says nothing."""
        board = self.board()
        board.forget("b")
        board.observe("a", [down(1)], 100.0)
        assert board.restarting({"n1"}, 100.0) == (frozenset(), frozenset())

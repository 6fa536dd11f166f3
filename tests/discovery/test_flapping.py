"""Who changes too often is taken at the worse word."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.flapping import HOLD_S, LONGEST_S, Damped, Damper
from discovery.instance import Instance, InstanceKey, InstanceState
from discovery.protection import USABLE

PASSING, WARNING, SUSPECT = InstanceState.PASSING, InstanceState.WARNING, InstanceState.SUSPECT
CRITICAL, MAINTENANCE = InstanceState.CRITICAL, InstanceState.MAINTENANCE
GOOD = Instance(InstanceKey("consul", "dc1", "", "n1", "good"), "orders", "10.0.0.1", 9001)
BAD = Instance(InstanceKey("consul", "dc1", "", "n1", "bad"), "orders", "10.0.0.1", 9002)


class Scene:
    """A good instance and one that flaps, told once a second."""

    def __init__(self) -> None:
        self.damper = Damper()
        self.now_s = 0.0
        self.last = Damped(())

    def tell(self, state: InstanceState, *, alone: bool = False) -> str:
        told = (replace(BAD, state=state),) if alone else (GOOD, replace(BAD, state=state))
        self.last = self.damper.damp(told, told, self.now_s)
        self.now_s += 1.0
        return str(self.last.instances[-1].state)

    def flap(self, times: int, **more: bool) -> list[str]:
        return [self.tell((PASSING, CRITICAL)[n % 2], **more) for n in range(times)]


def test_six_changes_are_none_too_many() -> None:
    """A deploy that goes wrong twice; the seventh holds the worse of the last two."""
    scene = Scene()
    assert scene.flap(7) == ["passing", "critical"] * 3 + ["passing"]
    assert scene.last.ends_at_s is None
    assert scene.tell(CRITICAL) == "critical"
    assert [i.id for i in scene.last.began] == ["bad"]
    assert scene.last.ends_at_s == 7.0 + HOLD_S
    assert scene.tell(PASSING) == "critical"
    assert (scene.last.began, scene.last.instances[0]) == ((), GOOD)
    assert scene.last.instances[1].reason == "flapping: 7 changes within a minute, held for 30 s"


def test_slow_changes_are_believed() -> None:
    """Seven within more than a minute."""
    scene = Scene()
    for n in range(40):
        scene.now_s += 10.0
        assert scene.tell((PASSING, CRITICAL)[n % 2]) == ("passing", "critical")[n % 2]


def test_a_hold_ends_in_the_present_state() -> None:
    """With the first answer after its end, changed or not."""
    scene = Scene()
    scene.flap(9)
    scene.now_s = 7.0 + HOLD_S - 0.1
    assert scene.tell(PASSING) == "critical"
    scene.now_s = 7.0 + HOLD_S
    assert scene.tell(PASSING) == "passing"
    assert scene.last.ends_at_s is None


def test_who_goes_on_is_held_for_longer_each_time() -> None:
    """Twice as long, five minutes at most; after ten quiet minutes it begins anew."""
    scene, holds = Scene(), []
    for _ in range(1500):
        scene.flap(2)
        if scene.last.began:
            holds.append(float(str(scene.last.began[0].reason).split()[-2]))
    assert holds[:6] == [30.0, 60.0, 120.0, 240.0, 300.0, 300.0]
    assert max(holds) == LONGEST_S
    scene.now_s += 2000.0
    scene.tell(PASSING)
    scene.flap(8)
    assert scene.last.ends_at_s is not None
    assert scene.last.ends_at_s < scene.now_s + HOLD_S


def test_what_is_worse_still_is_believed_at_once() -> None:
    """And when it is over, what was held is held again."""
    scene = Scene()
    scene.flap(9)
    assert scene.tell(MAINTENANCE) == "maintenance"
    assert scene.tell(PASSING) == "critical"


def test_maintenance_is_no_flapping() -> None:
    """An operator may change their mind as often as they like."""
    scene = Scene()
    for n in range(30):
        assert scene.tell((PASSING, MAINTENANCE)[n % 2]) == ("passing", "maintenance")[n % 2]


def test_the_last_usable_one_stays_in_use() -> None:
    """Better a flapping instance than none; but what is critical now is critical."""
    scene = Scene()
    scene.flap(8, alone=True)
    assert scene.tell(PASSING, alone=True) == "suspect"
    assert scene.tell(CRITICAL, alone=True) == "critical"
    assert scene.tell(PASSING) == "critical"


def test_weights_and_meta_do_not_flap() -> None:
    """Nor does an instance that comes back after it was gone: its record went with it."""
    damper = Damper()
    for second in range(30):
        one = replace(BAD, weight=1 + second % 2, meta={"n": str(second)})
        assert damper.damp((one,), (one,), float(second)) == Damped((one,))
    scene = Scene()
    scene.flap(7)
    scene.damper.damp((GOOD,), (GOOD,), scene.now_s)
    assert scene.tell(CRITICAL) == "critical"
    assert scene.last.began == ()


ANSWERS = st.tuples(st.sampled_from([PASSING, WARNING, CRITICAL, MAINTENANCE]), st.sampled_from([PASSING, CRITICAL]), st.floats(0, 40))


@given(st.lists(ANSWERS))
def test_holding_never_makes_anything_better_nor_takes_the_last(history: list[tuple[InstanceState, InstanceState, float]]) -> None:
    """Over any history: who is told unusable is not used, and where one was usable, one still is."""
    damper, now_s = Damper(), 0.0
    for one, other, pause_s in history:
        now_s += pause_s
        told = (replace(GOOD, state=one), replace(BAD, state=other))
        damped = damper.damp(told, told, now_s)
        assert [i.key for i in damped.instances] == [i.key for i in told]
        for was, became in zip(told, damped.instances, strict=True):
            assert was.state in USABLE or became.state not in USABLE
        if any(i.state in USABLE for i in told):
            assert any(i.state in USABLE for i in damped.instances)
        assert damped.ends_at_s is None or damped.ends_at_s > now_s


@pytest.mark.parametrize("state", [PASSING, WARNING])
def test_a_suspect_that_is_held_is_not_called_better(state: InstanceState) -> None:
    """What the protection made of the answer counts, too."""
    damper = Damper()
    for second in range(9):
        told = (GOOD, replace(BAD, state=(state, CRITICAL)[second % 2]))
        damped = damper.damp(told, (GOOD, replace(BAD, state=SUSPECT)), float(second))
    assert damped.instances[1].state is CRITICAL

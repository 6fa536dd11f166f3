"""Numbers on the board: everybody has their own, and one that was given back rests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lbgateway.workers.slots import REST_S, Slots

STEPS = st.lists(st.tuples(st.sampled_from(("take", "give")), st.integers(0, 5), st.floats(0, 40)), max_size=60)


@given(STEPS)
def test_nobody_has_the_number_of_somebody_else(steps):
    """Whoever comes and goes; and none comes back before a minute is over."""
    slots, taken, given_back, now_s = Slots(lambda _slot: True), {}, {}, 0.0
    for verb, owner, later_s in steps:
        now_s += later_s
        if verb == "take":
            slot = slots.take(owner, now_s)
            assert taken.get(owner, slot) == slot
            if owner not in taken and slot in given_back:
                assert now_s - given_back[slot] >= REST_S
            taken[owner] = slot
            assert slots.owner(slot) == owner
        else:
            slots.give_back(owner, now_s)
            if owner in taken:
                given_back[taken.pop(owner)] = now_s
        assert len(set(taken.values())) == len(taken) == len(slots)


def test_a_number_that_is_still_written_to_rests_on():
    """A request has outlived the registration of its instance."""
    busy = {0}
    slots = Slots(lambda slot: slot not in busy)
    assert slots.take("a", 0.0) == 0
    slots.give_back("a", 0.0)
    assert slots.take("b", REST_S) == 1
    busy.clear()
    assert slots.take("c", 2 * REST_S) == 0


def test_who_is_gone_is_still_known_by_the_number():
    """What a worker tells of it late is told of nobody else."""
    slots = Slots(lambda _slot: True)
    slots.give_back("a", 0.0)  # nobody yet: ignored
    slot = slots.take("a", 0.0)
    slots.give_back("a", 1.0)
    assert slots.owner(slot) == "a"
    assert slots.owner(slot + 1) is None

"""When a service gets a pause, and how it ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.policies.circuit_breaker import CLOSED, HALF_OPEN, OPEN, TRANSITIONS, BreakerRules, BreakerState, CircuitBreaker

RULES = BreakerRules(failure_ratio=0.5, min_requests=10, window_s=10.0, open_for_s=5.0, half_open_requests=2)


def breaker(rules: BreakerRules | None = RULES) -> tuple[CircuitBreaker, list[BreakerState]]:
    moves: list[BreakerState] = []
    made = CircuitBreaker(moves.append)
    made.configure(rules, 0.0)
    made.sweep(0, 0, 0.0)
    return made, moves


def opened(now_s: float = 1.0) -> tuple[CircuitBreaker, list[BreakerState]]:
    made, moves = breaker()
    made.check(10, 10, now_s)
    return made, moves


def ends(made: CircuitBreaker, *, failed: bool = False, abandoned: bool = False, sent_at_s: float = 7.0, now_s: float = 7.0) -> None:
    made.record(failed=failed, abandoned=abandoned, sent_at_s=sent_at_s, now_s=now_s)


@pytest.mark.parametrize(
    ("requests", "failures", "state"), [(10, 5, OPEN), (10, 4, CLOSED), (9, 9, CLOSED), (1000, 499, CLOSED), (1000, 500, OPEN)]
)
def test_too_large_a_share_of_enough_exchanges_opens_it(requests, failures, state):
    """Both bounds are met exactly."""
    made, _ = breaker()
    made.check(requests, failures, 1.0)
    assert made.state is state


def test_what_is_long_past_opens_nothing():
    """Only the window counts."""
    made, _ = breaker()
    for second in range(30):
        made.sweep(100, 45, float(second))
    made.check(110, 49, 30.0)
    assert made.state is CLOSED


def test_an_open_breaker_lets_nobody_pass_and_says_for_how_long():
    """The rest of its pause."""
    made, moves = opened(1.0)
    assert (made.admit(1.0), made.admit(4.5)) == (5.0, 1.5)
    assert (moves, repr(made)) == ([OPEN], "<CircuitBreaker open>")


def test_after_the_pause_a_few_may_try():
    """The others are told to come a little later."""
    made, moves = opened()
    assert [made.admit(6.0), made.admit(6.1), made.admit(6.2)] == [0.0, 0.0, 1.0]
    assert moves == [OPEN, HALF_OPEN]


def test_it_closes_when_all_of_them_succeed():
    """And forgets what was: the old failures do not open it again."""
    made, moves = opened()
    made.sweep(10, 10, 6.0)
    assert made.state is HALF_OPEN
    made.admit(6.0)
    made.admit(6.0)
    ends(made)
    assert made.state is HALF_OPEN
    ends(made)
    assert (made.state, moves) == (CLOSED, [OPEN, HALF_OPEN, CLOSED])
    made.check(13, 11, 7.0)
    made.sweep(13, 11, 7.1)
    made.check(14, 12, 7.2)
    assert (made.state, made.window.ratio(14, 12)) == (CLOSED, 1.0)


def test_the_first_that_fails_opens_it_again():
    """For as long as before."""
    made, _ = opened()
    made.admit(6.0)
    ends(made, failed=True)
    assert (made.state, made.admit(7.0)) == (OPEN, 5.0)


def test_who_leaves_makes_room_for_another():
    """An exchange without an end tells nothing."""
    made, _ = opened()
    made.admit(6.0)
    made.admit(6.0)
    ends(made, abandoned=True)
    assert (made.admit(7.0), made.admit(7.0)) == (0.0, 1.0)


def test_who_never_ends_does_not_keep_it_half_open():
    """After as long as a pause others may try."""
    made, _ = opened()
    made.admit(6.0)
    made.admit(6.0)
    ends(made)
    made.sweep(12, 10, 10.9)
    assert made.admit(10.9) == 1.0
    made.sweep(12, 10, 11.1)
    assert made.admit(11.1) == 0.0


def test_what_was_sent_before_tells_nothing():
    """Late failures and late answers."""
    made, _ = opened()
    made.admit(6.0)
    ends(made, failed=True, sent_at_s=0.5)
    ends(made, sent_at_s=0.5)
    ends(made, sent_at_s=0.5)
    assert made.state is HALF_OPEN


def test_other_rules_leave_it_as_it_is():
    """A reload is no reason to trust a service again, unless there is no breaker any more."""
    made, moves = opened()
    made.configure(BreakerRules(open_for_s=20.0), 2.0)
    assert (made.state, made.admit(2.0)) == (OPEN, 19.0)
    made.configure(None, 3.0)
    assert (made.state, moves, made.admit(3.0)) == (CLOSED, [OPEN, CLOSED], 0.0)


def test_without_rules_it_never_opens():
    """`breaker: null`."""
    made, moves = breaker(None)
    made.check(100, 100, 1.0)
    made.sweep(100, 100, 1.0)
    ends(made, failed=True)
    assert moves == []


@given(st.lists(st.tuples(st.sampled_from(["ok", "failed", "gone", "sweep"]), st.floats(0, 4)), max_size=60))
def test_whatever_happens_it_moves_by_its_table_and_closes_in_good_times(history):
    """Nothing is admitted while open, never more than allowed while half open; ten good exchanges after a pause close it."""
    made, moves = breaker()
    now_s, requests, failures, state = 0.0, 0, 0, CLOSED
    for what, passed_s in history:
        now_s += passed_s
        if what == "sweep":
            made.sweep(requests, failures, now_s)
        elif not made.admit(now_s):
            requests += 1
            failures += what == "failed"
            if made.state is CLOSED:
                made.check(requests, failures, now_s)
            else:
                ends(made, failed=what == "failed", abandoned=what == "gone", sent_at_s=now_s, now_s=now_s)
        else:
            assert made.state is not CLOSED
    for _ in range(10):
        now_s += 6.0
        if not made.admit(now_s):
            ends(made, sent_at_s=now_s, now_s=now_s)
        made.sweep(requests, failures, now_s)
    assert made.state is CLOSED
    for move in moves:
        assert move in TRANSITIONS[state]
        state = move

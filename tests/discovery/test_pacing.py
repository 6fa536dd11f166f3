"""When to ask next, and how."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery import errors
from discovery.consul_wire import Consistency, Read
from discovery.errors import Busy, ConnectionLost, Denied, DiscoveryError, Misconfigured, ReadTimedOut, ServerFailed, Unreachable
from discovery.pacing import BACKOFFS, TRANSITIONS, Pacer, WatchState, is_outage
from discovery.protection import Recheck

STALE, DEFAULT, CONSISTENT = Consistency
PLAIN = Read()


class Longest(Random):
    """Draws the largest value: every pause as long as it can be."""

    def uniform(self, a: float, b: float) -> float:
        return b


def pacer(random: Random | None = None, consistency: Consistency = STALE) -> Pacer:
    return Pacer(wait_s=30.0, consistency=consistency, random=random or Longest())


def blocking(random: Random | None = None) -> Pacer:
    """A watch that has had its first answer, index 42, at 0 s."""
    made = pacer(random)
    made.answered(0.0, "42", made.next_read(0.0))
    return made


def test_a_watch_begins_with_a_plain_read_at_once() -> None:
    """No start spread: the first snapshot is what everybody waits for."""
    made = pacer()

    assert made.due_at_s < 0
    assert made.next_read(0.0) == PLAIN
    assert made.state is WatchState.SYNC


def test_the_index_is_blocked_on() -> None:
    """And followed as it moves; a good answer asks for no pause."""
    made = blocking()

    assert made.due_at_s == 0.0
    assert made.next_read(0.0) == Read(42, 30.0)
    assert made.state is WatchState.BLOCK
    assert made.answered(3.0, "43", Read(42, 30.0)) is False
    assert made.next_read(3.0) == Read(43, 30.0)


@pytest.mark.parametrize("kind", [*BACKOFFS, DiscoveryError])
def test_after_any_failure_the_index_is_dropped(kind: type[DiscoveryError]) -> None:
    """A registry that came back empty would stay silent on the old one for the whole wait."""
    made = blocking()
    made.next_read(0.0)
    made.failed(1.0, kind("gone"))

    assert made.state not in (WatchState.SYNC, WatchState.BLOCK)
    assert made.next_read(made.due_at_s) == PLAIN


def test_every_error_is_paced() -> None:
    """A new kind of error must say how it is to be retried."""
    classes = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, DiscoveryError)}

    assert BACKOFFS.keys() == classes - {DiscoveryError}


@pytest.mark.parametrize(
    ("make", "state", "longest"),
    [
        (lambda: Unreachable("refused"), WatchState.BACKOFF, [0.25, 0.5, 1, 2, 2, 2]),
        (lambda: ConnectionLost("eof"), WatchState.BACKOFF, [0.25, 0.5, 1, 2, 4, 5, 5]),
        (lambda: ServerFailed("no leader"), WatchState.BACKOFF, [0.0, 0.5, 1, 2, 3, 3]),
        (lambda: ReadTimedOut("silent"), WatchState.BACKOFF, [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]),
        (lambda: Busy("429"), WatchState.BACKOFF, [1, 2, 4, 8, 16, 30]),
        (lambda: Busy("429", 7.0), WatchState.BACKOFF, [7.25, 7.25]),
        (lambda: Busy("429", 86400.0), WatchState.BACKOFF, [300.25]),
        (lambda: Denied("403"), WatchState.DENIED, [5, 10, 20, 40, 60, 60]),
        (lambda: Misconfigured("400"), WatchState.MISCONFIGURED, [60, 60]),
        (lambda: DiscoveryError("bug"), WatchState.BACKOFF, [0.25, 0.5]),
    ],
)
def test_failures_are_paced_by_kind(make: Callable[[], DiscoveryError], state: WatchState, longest: list[float]) -> None:
    """The longest pause after each failure in a row, from the table of back-offs."""
    made = pacer()
    pauses = []
    for _ in longest:
        made.next_read(0.0)
        made.failed(0.0, make())
        pauses.append(made.due_at_s)

    assert made.state is state
    assert pauses == longest


def test_the_first_retry_after_a_lost_connection_is_quick() -> None:
    """Agents are restarted one by one: a quarter of a second at most."""
    made = blocking(Random(1))
    made.next_read(0.0)
    made.failed(100.0, ConnectionLost("eof"))

    assert 100.0 <= made.due_at_s <= 100.25


def test_another_kind_of_failure_is_progress() -> None:
    """Refused for a minute, then "no leader": the long pauses are over, but not forgotten."""
    made = pacer()
    for _ in range(20):
        made.next_read(0.0)
        made.failed(0.0, ReadTimedOut("silent"))
    assert made.due_at_s == 30.0
    made.next_read(0.0)
    made.failed(0.0, Busy("503"))

    assert made.due_at_s == 4.0


def test_a_crowd_shares_the_knocking() -> None:
    """Ninety watches must not try ninety times a second; forbidden ones are not hurried."""
    made = pacer()
    made.crowd = 90
    for _ in range(10):
        made.next_read(0.0)
        made.failed(0.0, Unreachable("refused"))

    assert made.due_at_s == pytest.approx(18.0)


def test_a_nudge_ends_the_wait_for_an_absent_registry() -> None:
    """Someone else got through, perhaps with another token; whoever was told when to come back keeps waiting."""
    absent, denied, busy = pacer(), pacer(), pacer()
    for made, error in ((absent, ReadTimedOut("silent")), (denied, Denied("403")), (busy, Busy("429", 60.0))):
        for _ in range(9):
            made.next_read(0.0)
            made.failed(0.0, error)
        made.nudged(1.0)

    assert (absent.due_at_s, denied.due_at_s, busy.due_at_s) == (1.25, 1.25, 60.25)


def test_a_cold_start_asks_the_agents_cache_once() -> None:
    """While all servers are gone it is the only one to answer."""
    made = pacer()
    made.next_read(0.0)
    made.failed(0.0, ServerFailed("no leader"))
    assert made.next_read(made.due_at_s) == Read(cached=True)
    made.failed(0.0, ServerFailed("no leader"))
    assert made.next_read(made.due_at_s) == PLAIN

    warm = blocking()
    warm.next_read(0.0)
    warm.failed(0.0, ServerFailed("no leader"))
    assert warm.next_read(warm.due_at_s) == PLAIN


def test_an_index_that_goes_backwards_is_read_again_at_once() -> None:
    """But once per second at most, or a mad registry would spin us."""
    made = blocking()
    assert made.answered(1.0, "7", made.next_read(1.0)) is True
    assert made.due_at_s == 1.0
    assert made.next_read(1.0) == PLAIN
    made.answered(1.0, "7", PLAIN)
    assert made.answered(1.1, "3", made.next_read(1.1)) is True
    assert made.due_at_s == 2.0


@pytest.mark.parametrize("header", [None, "0", "abc", "42", str(2**64 - 1)])
def test_a_registry_that_does_not_block_is_asked_ever_more_slowly(header: str | None) -> None:
    """Missing, zero, garbage or simply never moving: no hot loop."""
    made, now_s, reads = blocking(), 0.0, 0
    while now_s < 120.0:
        now_s = max(now_s, made.due_at_s)
        made.answered(now_s, header, made.next_read(now_s))
        reads += 1

    assert reads < 120


def test_a_busy_service_is_read_twenty_times_a_second() -> None:
    """Ten reads at once for what is new, then at a steady pace."""
    made, now_s, index = blocking(), 0.0, 42
    times = []
    while now_s < 10.0:
        now_s = max(now_s, made.due_at_s)
        read = made.next_read(now_s)
        index += 1
        made.answered(now_s, str(index), read)
        times.append(now_s)

    assert times[8] == 0.0
    assert 160 <= len(times) <= 210


def test_now_and_then_everything_is_read_anew() -> None:
    """Whatever the index says: after five minutes, give or take a fifth."""
    made = blocking()
    assert made.next_read(359.0).index == 42
    made.answered(359.0, "42", Read(42, 30.0))

    assert made.next_read(361.0) == Read(resync=True)
    made.answered(361.0, "42", PLAIN)
    assert made.next_read(362.0).index == 42


def test_a_doubted_loss_shortens_the_block_and_is_read_again() -> None:
    """With the mode it asks for, never weaker than the usual one."""
    made = blocking()

    assert made.next_read(0.0, Recheck(1.0, DEFAULT)) == Read(42, 1.0)
    made.answered(1.0, "42", Read(42, 1.0))
    assert made.next_read(1.0, Recheck(1.0, DEFAULT)) == Read(consistency=DEFAULT)
    strict = pacer(consistency=CONSISTENT)
    strict.answered(0.0, "42", strict.next_read(0.0))
    assert strict.next_read(1.0, Recheck(1.0, DEFAULT)) == Read(consistency=CONSISTENT)


def test_after_a_failed_recheck_the_usual_mode_comes_first() -> None:
    """Without a leader stale reads still work, and must not starve."""
    made = blocking()
    made.next_read(1.0, Recheck(1.0, DEFAULT))
    made.failed(1.0, ServerFailed("no leader"))

    assert made.next_read(1.5, Recheck(1.0, DEFAULT)) == PLAIN
    made.answered(1.5, "42", PLAIN)
    assert made.next_read(1.5, Recheck(1.0, DEFAULT)) == Read(42, 0.5)
    assert made.next_read(2.0, Recheck(1.0, DEFAULT)) == Read(consistency=DEFAULT)


def test_a_leader_that_is_found_again_is_asked_soon() -> None:
    """However long there was none: failed rechecks come more seldom, but never more than five seconds apart."""
    made, recheck, now_s, asked = blocking(), Recheck(1.0, DEFAULT), 1.0, []
    while now_s < 120:
        read = made.next_read(now_s, recheck)
        if read.consistency is DEFAULT:
            asked.append(now_s)
            made.failed(now_s, ServerFailed("no leader"))
        else:
            made.answered(now_s, "42", read)
        now_s += 0.1
    gaps = [after - before for before, after in itertools.pairwise(asked)]
    assert gaps[0] < 1.2
    assert 4.9 < max(gaps) < 5.2


def test_an_old_answer_is_checked_with_the_leader() -> None:
    """After a second or more, without blocking on its index."""
    made = blocking()
    made.next_read(0.0)
    made.doubted(5.0)

    assert 6.0 <= made.due_at_s <= 10.0
    assert made.next_read(made.due_at_s) == Read(consistency=DEFAULT)


@pytest.mark.parametrize(
    ("error", "wait_s"),
    [(ConnectionLost("cut"), 16.0), (ReadTimedOut("HTTP 504"), 16.0), (ServerFailed("no leader"), 30.0)],
)
def test_long_polls_that_are_cut_become_shorter(error: DiscoveryError, wait_s: float) -> None:
    """A load balancer that ends them after 20 s is asked for less, from the second cut on; a registry's own failures are none."""
    made = blocking()
    for began_s in (0.0, 100.0):
        assert made.next_read(began_s) == Read(42, 30.0)
        made.failed(began_s + 20.0, error)
        made.answered(made.due_at_s, "42", made.next_read(made.due_at_s))

    assert made.next_read(200.0) == Read(42, wait_s)


def test_a_plain_read_that_is_cut_says_nothing_of_long_polls() -> None:
    """However long it hung."""
    made = pacer()
    for began_s in (0.0, 100.0):
        made.next_read(began_s)
        made.failed(began_s + 9.0, ReadTimedOut("hangs"))

    assert made.wait.seconds == 30.0


def test_outages_are_told_from_refusals() -> None:
    """Only the former say that the registry itself was away."""
    outages = {kind for kind in BACKOFFS if is_outage(kind("x"))}

    assert outages == {Unreachable, ConnectionLost, ServerFailed, ReadTimedOut}


def test_a_watch_is_away_from_an_outage_until_a_good_answer() -> None:
    """The next read does not end it, only its answer does; a refusal is no absence."""
    made = blocking()
    told = [made.away]
    made.failed(1.0, ConnectionLost("gone"))
    told.append(made.away)
    read = made.next_read(2.0)
    told.append(made.away)
    made.answered(2.0, "42", read)
    told.append(made.away)
    made.failed(3.0, Denied("no"))

    assert [*told, made.away] == [False, True, True, False, False]


def test_a_stopped_watch_never_asks_again() -> None:
    """STOPPED leads nowhere; stopping twice is allowed."""
    made = blocking()
    made.stopped()
    made.stopped()

    with pytest.raises(AssertionError):
        made.next_read(0.0)
    assert repr(made) == "<Pacer stopped index=42 failures=0>"


def test_every_state_can_be_left_and_reached() -> None:
    """The table has no dead ends but the end."""
    for state, following in TRANSITIONS.items():
        assert WatchState.STOPPED in following
        assert state is WatchState.INIT or any(state in others for others in TRANSITIONS.values())


events = st.lists(
    st.tuples(
        st.floats(0, 40),
        st.none() | st.sampled_from([None, "0", "x", "5", "41", "42", "43", "999"]) | st.sampled_from(sorted(BACKOFFS, key=str)),
    ),
    max_size=40,
)


@given(events, st.integers())
def test_whatever_happens_the_watch_goes_on(history: list[tuple[float, str | type[DiscoveryError] | None]], seed: int) -> None:
    """Every event leads to another read, within five minutes, and with an index only after a good answer."""
    made, now_s = pacer(Random(seed)), 0.0
    for pause_s, event in history:
        now_s = max(now_s, made.due_at_s)
        read = made.next_read(now_s)
        asked_s, now_s = now_s, now_s + pause_s
        if isinstance(event, type):
            made.failed(now_s, event("x"))
            assert made.index == 0
        else:
            made.answered(now_s, event, read)
            assert made.index == 0 or made.index >= read.index
        assert asked_s <= now_s <= max(now_s, made.due_at_s) <= now_s + 300.5


def swept() -> Pacer:
    """A watch that has had its first answer, and waits to be told."""
    made = pacer()
    made.direct = False
    made.answered(0.0, "42", made.next_read(0.0))
    return made


def test_a_swept_watch_reads_when_it_is_told() -> None:
    """Whatever it is told during a read makes it read once more; a blocking one sees for itself."""
    made = swept()
    assert (made.state, made.quiet) == (WatchState.SWEPT, True)
    assert made.begins_at_s() == 360.0
    made.tell()
    assert (made.quiet, made.begins_at_s()) == (False, 0.0)
    assert made.next_read(1.0) == PLAIN
    made.tell()
    made.answered(1.1, "43", PLAIN)
    assert not made.quiet
    assert made.next_read(1.2) == PLAIN
    made.answered(1.3, "43", PLAIN)
    assert made.quiet
    made.direct = True
    made.next_read(2.0)
    made.tell()
    made.direct = False
    made.answered(3.0, "44", Read(43, 30.0))
    assert made.quiet


def test_a_swept_watch_looks_twice_at_a_doubted_loss() -> None:
    """When the doubt wishes, without being told."""
    made = swept()
    recheck = Recheck(7.0, DEFAULT)
    assert made.begins_at_s(recheck) == 7.0
    assert made.next_read(7.0, recheck) == Read(consistency=DEFAULT)


def test_a_swept_watch_may_block_again_at_once() -> None:
    """On the index of its last plain read: nothing is lost in between."""
    made = swept()
    made.direct = True
    assert made.begins_at_s() == 0.0
    assert made.next_read(1.0) == Read(42, 30.0)
    made.direct = False
    made.answered(9.0, "43", Read(42, 30.0))
    assert made.state is WatchState.SWEPT


def test_a_longer_interval_spaces_dear_reads() -> None:
    """After the burst, one per interval."""
    made = Pacer(wait_s=30.0, consistency=STALE, random=Longest(), interval_s=0.25)
    now_s, times = 0.0, []
    for index in range(1, 20):
        now_s = max(now_s, made.begins_at_s())
        times.append(now_s)
        made.answered(now_s, str(index), made.next_read(now_s))
    assert times[9] == 0.0
    assert times[-1] - times[-2] == pytest.approx(0.25, abs=0.02)

"""Out because calling it fails, and back: with a clock and a randomness of the test's."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import Endpoint, EndpointState, Outcome, RoundRobin
from balancers.endpoint_set import EndpointSet, Member
from balancers.outlier import COMPARE_EVERY_S, HEALTHY_S, JITTER, LOCAL, RATE, REMOTE, OutlierRules, Outliers

EJECTED, READY = EndpointState.EJECTED, EndpointState.READY
LOCALLY, REMOTELY = Outcome.FAILED_LOCAL, Outcome.FAILED_REMOTE
RULES = OutlierRules()


class Pool:
    """A set of endpoints under watch; `told` is what the outside hears."""

    def __init__(self, names: str = "abcd", rules: OutlierRules | None = RULES) -> None:
        self.set = EndpointSet(RoundRobin(Random(1)), lambda member: Endpoint(member.key, member.id))
        self.attempts: dict[Endpoint, int] = {}
        self.told: list[str] = []
        self.outliers = Outliers(
            self.set, Random(2), attempts_of=lambda endpoint: self.attempts.get(endpoint, 0),
            on_eject=lambda endpoint, why: self.told.append(f"{endpoint.id} {why}"),
            on_return=lambda endpoint: self.told.append(f"{endpoint.id} back"),
            on_kept=lambda endpoint: self.told.append(f"{endpoint.id} kept"),
        )  # fmt: skip
        self.outliers.configure(rules, 0.0)
        self.says(names)

    def says(self, names: str, now_s: float = 0.0, **more) -> None:
        """The registry's word."""
        self.set.sync([Member(name, name, **more) for name in names], now_s)

    def __getitem__(self, name: str) -> Endpoint:
        return self.set.endpoints[name]

    def fails(self, name: str, times: int = 5, now_s: float = 1.0, outcome: Outcome = REMOTELY) -> None:
        for _ in range(times):
            self.outliers.failed(self[name], outcome, now_s, now_s)

    def works(self, name: str, now_s: float = 1.0) -> None:
        self.outliers.succeeded(self[name], now_s, now_s)

    def until(self, name: str) -> float:
        """A moment at which the time of `name` is up."""
        return self[name].ejected_until_s + 0.001

    def tries(self, now_s: float) -> str | None:
        """Who gets the next request that may be lost."""
        self.outliers.sweep(now_s)
        endpoint = self.outliers.trial(now_s)
        return endpoint.id if endpoint else None

    @property
    def ready(self) -> str:
        return "".join(endpoint.id for endpoint in self.set.ready)


# -- out -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("outcome", "kind", "word"), [(LOCALLY, LOCAL, "no answer"), (REMOTELY, REMOTE, "a bad answer")])
def test_five_failures_in_a_row_and_it_is_out(outcome, kind, word):
    """Not four. The reason says how many, and whose side the last one came from."""
    pool = Pool()
    pool.fails("b", 4, outcome=outcome)
    assert pool.ready == "abcd"
    pool.fails("b", 1, outcome=outcome)
    assert (pool.ready, pool.told, pool["b"].state) == ("acd", [f"b {kind}"], EJECTED)
    assert pool["b"].reason == f"5 failures in a row, the last one {word}"


def test_a_success_in_between_begins_the_row_anew():
    """In a row means in a row."""
    pool = Pool()
    for _ in range(10):
        pool.fails("b", 4)
        pool.works("b")
    assert pool.ready == "abcd"


@pytest.mark.parametrize(("names", "share", "out"), [("ab", 0.5, 1), ("a", 0.5, 0), ("abc", 0.5, 1), ("abcd", 0.5, 2), ("abcd", 1.0, 4)])
def test_never_more_than_a_share_of_all(names, share, out):
    """One of one cannot be taken out: nobody would be left."""
    pool = Pool(names, OutlierRules(max_ejected=share))
    for name in names:
        pool.fails(name)
    assert [len(pool.set.ejected), *(line.split()[1] for line in pool.told)] == [out, *[REMOTE] * out, *["kept"] * (len(names) - out)]


def test_of_a_row_of_failures_of_one_that_is_kept_is_heard_once():
    """Whoever reads the log learns of it, and is not flooded."""
    pool = Pool("a")
    pool.fails("a", 50)
    pool.works("a")
    assert pool.told == ["a kept"]
    pool.fails("a", 5)
    assert pool.told == ["a kept", "a kept"]


@pytest.mark.parametrize("rules", [None, OutlierRules(max_ejected=0)])
def test_switched_off_it_takes_nobody_out(rules):
    """And learns nothing."""
    pool = Pool(rules=rules)
    pool.fails("a", 50)
    pool.outliers.sweep(100.0)
    assert (pool.ready, pool["a"].failures_in_row, pool.tries(100.0)) == ("abcd", 0, None)


def test_switching_it_off_brings_everybody_back():
    """A reload that forbids ejection leaves nobody out for ever."""
    pool = Pool()
    pool.fails("a")
    pool.outliers.configure(OutlierRules(max_ejected=0), 2.0)
    assert (pool.ready, pool.told) == ("abcd", [f"a {REMOTE}", "a back"])


# -- back ------------------------------------------------------------------------------------------


def test_one_request_decides_when_the_time_is_up():
    """Only one, and only then; its success brings the endpoint back."""
    pool = Pool()
    pool.fails("b")
    assert pool.tries(1.5) is None
    up_s = pool.until("b")
    assert (pool.tries(up_s), pool.tries(up_s)) == ("b", None)
    pool.works("b", up_s + 0.01)
    assert (pool.ready, pool["b"].state, pool["b"].reason, pool["b"].failures_in_row) == ("abcd", READY, None, 0)


def test_a_failed_trial_doubles_the_time():
    """1, 2, 4 … up to 30 seconds, each give or take a fifth."""
    pool = Pool()
    now_s, times = 1.0, []
    pool.fails("b", now_s=now_s)
    for _ in range(8):
        times.append(pool["b"].ejected_until_s - now_s)
        now_s = pool.until("b")
        assert pool.tries(now_s) == "b"
        pool.fails("b", 1, now_s)
    for time_s, base_s in zip(times, (1, 2, 4, 8, 16, 30, 30, 30), strict=True):
        assert base_s * (1 - JITTER) <= time_s <= base_s * (1 + JITTER)
    assert len({round(time_s / base_s, 6) for time_s, base_s in zip(times, (1, 2, 4, 8, 16, 30, 30, 30), strict=True)}) > 5
    assert pool.told == [f"b {REMOTE}"]
    assert pool["b"].reason == "its trial request failed: a bad answer"


def test_who_another_process_has_ejected_is_out_for_as_long_and_comes_back_by_a_trial():
    """Times double from where the other one stands; switched off, nobody is taken out."""
    pool = Pool()
    pool.outliers.adopt(pool["a"], "5 failures in a row", 9.0, 3, 1.0)
    assert (pool.ready, pool["a"].ejected_until_s, pool["a"].ejections_in_row) == ("bcd", 9.0, 3)
    assert pool.told == []
    assert pool.tries(8.9) is None
    assert pool.tries(9.1) == "a"
    pool.works("a", 9.2)
    assert pool.told == ["a back"]
    off = Pool(rules=None)
    off.outliers.adopt(off["a"], "5 failures in a row", 9.0, 3, 1.0)
    assert off.ready == "abcd"


def test_who_goes_out_again_soon_stays_out_for_longer():
    """Health excuses one time for each ten seconds."""
    pool = Pool()
    pool.fails("b", now_s=1.0)
    back_s = pool.until("b")
    pool.tries(back_s)
    pool.works("b", back_s)
    pool.fails("b", now_s=back_s + 1)
    assert pool["b"].ejected_until_s - back_s - 1 >= 2 * (1 - JITTER)
    again_s = pool.until("b")
    pool.tries(again_s)
    pool.works("b", again_s)
    pool.fails("b", now_s=again_s + 2 * HEALTHY_S)
    assert pool["b"].ejected_until_s - again_s - 2 * HEALTHY_S <= 1 + JITTER


def test_what_was_sent_before_neither_excuses_nor_condemns():
    """Late answers of a slow endpoint."""
    pool = Pool()
    pool.fails("b", now_s=5.0)
    until_s = pool["b"].ejected_until_s
    pool.outliers.succeeded(pool["b"], 4.0, 5.5)
    assert pool["b"].state is EJECTED
    up_s = pool.until("b")
    pool.tries(up_s)
    pool.outliers.failed(pool["b"], REMOTELY, 4.0, up_s)
    assert pool["b"].ejected_until_s == until_s
    pool.works("b", up_s)
    assert pool["b"].state is READY


def test_a_trial_that_tells_nothing_is_followed_by_another():
    """Its client left, or its answer was the request's own fault."""
    pool = Pool()
    pool.fails("b")
    up_s = pool.until("b")
    assert [pool.tries(up_s + later_s) for later_s in (0.0, 0.5, 1.1)] == ["b", None, "b"]


def test_whichever_of_several_trials_ends_first_decides():
    """One that hangs is tried again and again meanwhile: the first to fail counts, the others tell nothing new."""
    pool = Pool()
    pool.fails("b")
    up_s = pool.until("b")
    assert [pool.tries(up_s + later_s) for later_s in (0.0, 1.1, 2.2)] == ["b", "b", "b"]
    pool.outliers.failed(pool["b"], LOCALLY, up_s, up_s + 3.0)
    until_s = pool["b"].ejected_until_s
    assert (until_s > up_s + 3.0, pool["b"].ejections_in_row) == (True, 2)
    for later_s in (1.1, 2.2):
        pool.outliers.failed(pool["b"], LOCALLY, up_s + later_s, up_s + later_s + 3.0)
    assert (pool["b"].ejected_until_s, pool["b"].ejections_in_row) == (until_s, 2)


def test_nobody_is_out_for_ever():
    """Without a request that may be lost it comes back by itself, and one failure is enough to lose it again."""
    pool = Pool()
    pool.fails("b")
    pool.outliers.sweep(pool.until("b") + RULES.max_eject_for_s)
    assert (pool.ready, pool.told[-1]) == ("abcd", "b back")
    pool.fails("b", 1, 40.0)
    assert pool.ready == "acd"


# -- no room -----------------------------------------------------------------------------------------


def two_out(*, often: int = 5) -> tuple[Pool, float]:
    """Of five, `a` went out first and `b` last, both so often in a row that they are out for long; and when that was."""
    pool, now_s = Pool("abcde"), 1.0
    for number in range(often):
        for name in "ab":
            now_s = max(now_s + 0.1, pool[name].ejected_until_s + 0.001)
            if number:
                pool.outliers.sweep(now_s)
                pool.set.due = []
                pool[name].trial_at_s = pool[name].trials_since_s = now_s
            pool.fails(name, 1 if number else 5, now_s)
    assert (pool.ready, min(pool[name].ejected_until_s for name in "ab") > now_s + 5) == ("cde", True)
    return pool, now_s + RULES.eject_for_s


def test_while_nobody_else_may_go_out_those_who_are_out_are_tried_early():
    """Whoever was seen failing longest ago, first; it is well, and makes room for the one that is not."""
    pool, now_s = two_out()
    pool.fails("c", 5, now_s)
    assert (pool.ready, pool.outliers.trial(now_s), pool.outliers.trial(now_s)) == ("cde", pool["a"], None)
    pool.works("a", now_s + 0.01)
    pool.fails("c", 1, now_s + 0.02)
    assert (pool.ready, pool["c"].reason) == ("ade", "6 failures in a row, the last one a bad answer")


def test_an_early_trial_that_fails_costs_no_time():
    """It was our hurry, not that of the endpoint; the next one is tried, and each once in its shortest time."""
    pool, now_s = two_out()
    before = {name: (pool[name].ejected_until_s, pool[name].ejections_in_row) for name in "ab"}
    tried = []
    for step in range(25):
        at_s = now_s + step * 0.1
        pool.fails("c", 5, at_s)
        while name := pool.tries(at_s):
            tried.append((name, step))
            pool.fails(name, 1, at_s)
            pool.fails("c", 1, at_s)
    assert tried == [("a", 0), ("b", 0), ("a", 10), ("b", 10), ("a", 20), ("b", 20)]
    assert {name: (pool[name].ejected_until_s, pool[name].ejections_in_row) for name in "ab"} == before
    assert pool.ready == "cde"


def test_an_early_trial_waits_for_a_request_that_may_be_lost():
    """However many looks at the time there are before one comes; meanwhile nobody else is tried."""
    pool, now_s = two_out()
    pool.fails("c", 5, now_s)
    for step in range(20):
        pool.outliers.sweep(now_s + step * 0.1)
        pool.fails("c", 1, now_s + step * 0.1)
    assert (pool.tries(now_s + 2), pool.tries(now_s + 2)) == ("a", None)


def test_an_early_trial_that_outlasts_the_time_is_one_like_others():
    """It hung: when it fails at last, the time would have been up anyway, and is doubled."""
    pool, now_s = two_out(often=4)
    pool.fails("c", 5, now_s)
    assert pool.tries(now_s) == "a"
    times, end_s = pool["a"].ejections_in_row, pool.until("a")
    pool.outliers.failed(pool["a"], LOCALLY, now_s, end_s)
    assert (pool["a"].ejections_in_row, pool["a"].reason) == (times + 1, "its trial request failed: no answer")


def test_two_early_trials_of_one_cost_no_time_either():
    """The first one hung until there was a second one."""
    pool, now_s = two_out()
    pool.fails("c", 5, now_s)
    before = (pool["a"].ejected_until_s, pool["a"].ejections_in_row)
    tried = []
    for step in range(3):
        pool.fails("c", 1, now_s + step)
        tried.append(pool.tries(now_s + step))
    assert tried == ["a", "b", "a"]
    for step in (0, 2):
        pool.outliers.failed(pool["a"], LOCALLY, now_s + step, now_s + 2.5 + step / 10)
    assert (pool["a"].ejected_until_s, pool["a"].ejections_in_row) == before


def test_one_that_hangs_keeps_no_other_from_its_early_trial():
    """For the shortest time, then the next one is tried."""
    pool, now_s = two_out()
    pool.fails("c", 5, now_s)
    assert pool.tries(now_s) == "a"
    pool.fails("c", 1, now_s + 0.5)
    assert pool.tries(now_s + 0.5) is None
    pool.fails("c", 1, now_s + 1.0)
    assert pool.tries(now_s + 1.0) == "b"


def test_who_has_just_gone_out_is_not_tried_early():
    """Not within the shortest time: it was ill a moment ago."""
    pool = Pool("abcde")
    for name in "abc":
        pool.fails(name, 5, 1.0)
    pool.fails("c", 5, 1.7)
    assert (pool.tries(1.75), pool.ready) == (None, "cde")


# -- the registry and panic ------------------------------------------------------------------------


def test_the_registrys_word_does_not_bring_it_back():
    """Other weights, other members, critical and passing again: out is out."""
    pool = Pool()
    pool.fails("b")
    pool.says("abcde", 2.0, weight=3.0)
    assert (pool.ready, pool["b"].state, pool["b"].weight) == ("acde", EJECTED, 3.0)
    pool.says("abcde", 2.1, state=EndpointState.CRITICAL, reason="check")
    assert (pool["b"].state, pool["b"].reason, pool.set.ejected) == (EndpointState.CRITICAL, "check", ())
    pool.says("abcde", 2.2)
    assert (pool["b"].state, pool["b"].reason) == (EJECTED, "5 failures in a row, the last one a bad answer")
    pool.says("acde", 2.3)
    assert pool.tries(60.0) is None


def test_when_the_others_leave_the_first_come_back():
    """The share is of those that are there."""
    pool = Pool("abcd")
    pool.fails("a", now_s=1.0)
    pool.fails("b", now_s=2.0)
    pool.says("ab", 2.1)
    pool.outliers.sweep(2.2)
    assert (pool.ready, pool["b"].state) == ("a", EJECTED)


@pytest.mark.parametrize(("threshold", "panic"), [(0.5, True), (0.25, False), (0.0, False)])
def test_below_the_threshold_all_are_used(threshold, panic):
    """Three of four are out: the last one alone would drown. Their state stays what it is."""
    pool = Pool("abcd", OutlierRules(max_ejected=1.0))
    pool.set.panic_below(threshold)
    for name in "abc":
        pool.fails(name)
    assert (pool.set.panic, pool.ready) == (panic, "abcd" if panic else "d")
    assert pool["a"].state is EJECTED
    if panic:
        pool.works("a", 1.5)
        assert (pool["a"].state, pool.set.panic, pool.ready) == (READY, False, "ad")


def test_in_panic_another_try_goes_to_one_that_is_not_out():
    """First tries go to all, or the last one would drown; but three tries among many that are out are soon spent."""
    pool = Pool("abcdefgh", OutlierRules(max_ejected=1.0))
    pool.set.panic_below(0.5)
    for name in "abcdef":
        pool.fails(name)
    firsts = [pool.set.pick(1.0) for _ in range(8)]
    assert "".join(sorted(endpoint.id for endpoint in firsts if endpoint)) == "abcdefgh"
    tried = [pool["a"]]
    for _ in range(7):
        endpoint = pool.set.pick(1.0, None, tried)
        assert endpoint is not None
        tried.append(endpoint)
    assert (sorted(each.id for each in tried[1:3]), sorted(each.id for each in tried[3:])) == (["g", "h"], list("bcdef"))
    assert pool.set.pick(1.0, None, tried) is None


def test_panic_is_no_word_about_who_was_never_usable():
    """Critical instances get no traffic, however few are left."""
    pool = Pool("ab")
    pool.set.panic_below(1.0)
    pool.set.sync([Member("a", "a"), Member("b", "b", 1, EndpointState.CRITICAL)], 1.0)
    assert (pool.set.panic, pool.ready) == (False, "a")


# -- rates -----------------------------------------------------------------------------------------


def compared(pool: Pool, *failures_of_100: int, attempts: int = 100) -> str:
    """Who is ready when so many of each one's attempts have failed, never five in a row."""
    pool.outliers.sweep(COMPARE_EVERY_S)
    for endpoint, failures in zip(pool.set.ready, failures_of_100, strict=True):
        pool.attempts[endpoint] = attempts
        for _ in range(failures):
            pool.fails(endpoint.id, 1)
            pool.works(endpoint.id)
    pool.outliers.sweep(2 * COMPARE_EVERY_S)
    return pool.ready


@pytest.mark.parametrize(
    ("failures", "ready"),
    [
        ((0, 0, 0, 30), "abc"),
        ((0, 0, 0, 19), "abcd"),
        ((30, 30, 30, 30), "abcd"),
        ((30, 30, 30, 60), "abc"),
        ((0, 0, 50, 50), "ab"),
        ((0, 0, 0, 0), "abcd"),
    ],
)
def test_who_fails_clearly_more_often_than_the_others_is_out(failures, ready):
    """Compared with the others, so that a fault they share ejects nobody."""
    pool = Pool()
    assert compared(pool, *failures) == ready
    assert all(line.endswith(RATE) for line in pool.told)


def test_the_reason_gives_the_numbers():
    """Both of them."""
    pool = Pool()
    compared(pool, 0, 6, 0, 30)
    assert pool["d"].reason == "30% of its requests failed, of the others' 2%"


def test_the_way_back_from_a_rate_is_that_of_everybody():
    """One success, which is told where there were failures in a row: so one there is."""
    pool = Pool()
    compared(pool, 0, 0, 0, 30)
    assert pool["d"].failures_in_row == 1
    now_s = pool.until("d")
    assert pool.tries(now_s) == "d"
    pool.works("d", now_s)
    assert (pool["d"].state, pool["d"].failures_in_row) == (READY, 0)


def test_whoever_is_back_is_not_judged_by_what_it_was_out_for():
    """Its rate begins anew: it was down for some of the ten seconds, and is well again."""
    pool = Pool()
    pool.outliers.sweep(COMPARE_EVERY_S)
    pool.attempts = {pool[name]: 100 for name in "abcd"}
    pool.fails("d", 30, COMPARE_EVERY_S + 1)
    pool.works("d", pool.until("d"))
    pool.attempts[pool["d"]] += 50
    pool.outliers.sweep(2 * COMPARE_EVERY_S)
    assert pool.ready == "abcd"
    pool.attempts[pool["d"]] += 50
    for _ in range(25):
        pool.fails("d", 1, 2 * COMPARE_EVERY_S + 1)
        pool.works("d", 2 * COMPARE_EVERY_S + 1)
    pool.attempts.update({pool[name]: 200 for name in "abc"})
    pool.outliers.sweep(3 * COMPARE_EVERY_S)
    assert pool.ready == "abc"


def test_a_few_attempts_prove_nothing():
    """Nor does a rate that was not asked for."""
    assert compared(Pool(), 0, 0, 0, 4, attempts=10) == "abcd"
    assert compared(Pool(rules=OutlierRules(success_rate=False)), 0, 0, 0, 90) == "abcd"


# -- whatever happens ------------------------------------------------------------------------------

steps = st.lists(
    st.tuples(st.sampled_from(["fail", "work", "sweep", "trial", "registry"]), st.integers(0, 5), st.floats(0, 3)), min_size=10, max_size=80
)


@given(steps, st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0]))
def test_whatever_happens_the_rest_serves_and_time_heals(history, share, threshold):
    """Never more out than allowed at the moment of an ejection, somebody is always ready unless all may be out, and all come back."""
    pool = Pool("abcdef", OutlierRules(max_ejected=share))
    pool.set.panic_below(threshold)
    now_s, names = 1.0, "abcdef"
    for what, number, passed_s in history:
        now_s += passed_s
        name = names[number % len(names)]
        before = len(pool.set.ejected)
        if what == "fail":
            pool.fails(name, number, now_s)
            assert len(pool.set.ejected) <= max(before, int(share * len(names) + 1e-9))
        elif what == "work":
            pool.works(name, now_s)
        elif what == "registry":
            names = "abcdef"[: number + 1]
            pool.says(names, now_s)
        elif what == "trial":
            pool.outliers.trial(now_s)
        pool.outliers.sweep(now_s)
        assert len(pool.set.ejected) <= int(share * len(names) + 1e-9)
        assert pool.set.ready or (share == 1.0 and threshold == 0.0)
        assert set(pool.set.due) <= set(pool.set.ejected)
    pool.outliers.sweep(now_s + 100)
    assert (pool.ready, pool.set.ejected) == (names, ())


def test_an_operator_brings_it_back_at_once():
    """With a clean record; whoever is not out keeps only that."""
    pool = Pool()
    pool.fails("a")
    pool.fails("b", times=4)
    for name in "ab":
        pool.outliers.release(pool[name], 1.1)
    assert (pool["a"].state, pool["a"].failures_in_row, pool["b"].failures_in_row) == (READY, 0, 0)
    assert pool.told == [f"a {REMOTE}", "a back"]


def test_a_trial_can_be_hurried():
    """It is still a trial that decides."""
    pool = Pool(rules=OutlierRules(eject_for_s=20.0))
    pool.fails("a")
    pool.outliers.sweep(2.0)
    assert pool.set.due == []
    pool.outliers.hurry(pool["a"], 2.0)
    pool.outliers.sweep(22.0)
    assert pool.set.due == [pool["a"]]
    assert pool["a"].state is EJECTED

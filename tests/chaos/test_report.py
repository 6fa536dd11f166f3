"""The table of docs/reliability.md: what a pass writes into it, and that it tells of everything."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.report import BEGIN, END, HEAD, PAGE, merged, missing, row
from tests.chaos.scenarios import MOST_LURED, SCENARIOS
from tests.chaos.stage import Result
from tests.chaos.trouble import Sample, Trouble
from tests.support.steady_load import Told

KILLED, PAUSED, SLOW = SCENARIOS[:3]
KILLED_ONLY = replace(KILLED, left_alone=False, others_served=False)


def trouble(*begun: int) -> Trouble:
    """Of the instance at port 1, which had so many attempts at each tenth of a second; port 2 had ten times as many."""
    samples = [Sample(number / 10, {1: each, 2: each * 10}) for number, each in enumerate(begun)]
    return Trouble(1, 0.0, (len(begun) - 1) / 10, 2.0, samples)


def result(p99_s: float = 0.02, turned_away: int = 0, ill: Trouble | None = None, calm_s: float = 0.01) -> Result:
    return Result(Told(1000, {}, turned_away, 0, p99_s, calm_s), ill)


def test_an_instance_is_left_alone_when_it_has_got_nothing_for_half_a_second():
    """Counted from the beginning of its trouble to the last request before that; trials come later."""
    ill = trouble(5, 6, 7, 7, 7, 7, 7, 7, 7, 8)
    assert (ill.alone_after_s(), ill.attempts()) == (0.2, 3)
    assert ill.share() == 3 / 33
    assert trouble(5, 6, 7, 8, 9, 10, 11).alone_after_s() is None
    assert trouble(5, 5, 5, 5, 5, 5, 5).alone_after_s() == 0.0


def test_a_row_has_the_sums_and_the_worst():
    """Of all times that it was played."""
    results = [result(0.02, ill=trouble(1, 2, *[2] * 6)), result(0.05, ill=trouble(1, *[1] * 6), calm_s=0.03)]
    assert row(KILLED, "native", results) == "| an instance is killed | native | 2 | 2,000 | 0 | 50 | 1,200 | 0.1 s | 9.1% | 2.0 s |"
    turned_away = row(PAUSED, "httpx", [result(turned_away=3)])
    assert turned_away == "| an instance is paused (SIGSTOP) | httpx | 1 | 1,000 | 0 (3 turned away) | 20 | 1,200 |  |  |  |"


def test_whoever_had_to_wait_for_a_try_that_ran_out_is_seen():
    """Nobody has failed, but a scenario does not hold if one client of a hundred has waited; on a slow machine everybody may be slower."""
    KILLED_ONLY.check(result(0.5))
    with pytest.raises(AssertionError, match=r"p99_s=2\.0"):
        KILLED_ONLY.check(result(2.0))
    KILLED_ONLY.check(result(2.0, calm_s=0.1))


def test_the_others_are_served_meanwhile():
    """Each more than the bad one: which of those that are well gets how much is the balancer's affair."""
    assert trouble(1, 2, 3).least_share_of_others() == 10 / 11
    lonely = Trouble(1, 0.0, 1.0, 2.0, [Sample(number / 10, {1: min(number, 3), 2: number * 9, 3: 0}) for number in range(11)])
    assert (lonely.least_share_of_others(), lonely.share() < MOST_LURED, lonely.alone_after_s()) == (0.0, True, 0.3)
    well = Trouble(1, 0.0, 1.0, 2.0, [Sample(number / 10, {1: 1, 2: number, 3: number}) for number in range(11)])
    SLOW.check(result(ill=well))
    with pytest.raises(AssertionError):
        SLOW.check(result(ill=lonely))


def test_what_was_played_is_renewed_and_the_rest_stays():
    """In the order of the menu; a line of a scenario that is no more goes."""
    killed, paused = row(KILLED, "native", [result()]), row(PAUSED, "native", [result()])
    page = f"before\n{BEGIN}\n{END}\nafter\n"
    page = merged(page, [paused, "| no longer played | native | 1 | 1 | 0 | 1 | 1 |  |  |  |"])
    assert page == f"before\n{BEGIN}\n{HEAD}\n{paused}\n{END}\nafter\n"
    assert merged(page, [killed]) == f"before\n{BEGIN}\n{HEAD}\n{killed}\n{paused}\n{END}\nafter\n"
    newer = row(PAUSED, "native", [result(), result()])
    assert merged(page, [newer]) == f"before\n{BEGIN}\n{HEAD}\n{newer}\n{END}\nafter\n"


def test_the_page_tells_of_every_scenario():
    """Whoever adds one lets it be played: `make chaos ONLY=its-name`."""
    assert missing(PAGE.read_text()) == []

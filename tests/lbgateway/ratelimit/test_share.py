"""What a gateway knows of one client."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from lbgateway.policies.gcra import Limit
from lbgateway.policies.wait import Flight
from lbgateway.ratelimit.share import ANSWER_S, GATHER_S, Share, name_in_store, pace_of, says_nothing_from

HOURLY = Limit(100, 3600.0, 100)


def share_of(limit: Limit, now_s: float = 0.0) -> Share:
    return Share("name", pace_of(limit), now_s, epoch=0)


@pytest.mark.parametrize(
    ("limit", "remaining", "allowance"),
    [
        (HOURLY, 100, 5),
        (HOURLY, 59, 2),
        (HOURLY, 20, 1),
        (HOURLY, 3, 1),
        (HOURLY, 0, 1),
        (Limit(1000, 1.0, 1000), 1000, 50),
        (Limit(1000, 1.0, 1000), 0, 50),
        (Limit(1000, 1.0, 5000), 4000, 200),
        (Limit(10, 0.1, 10), 0, 1),
        (Limit(6000, 60.0, 6000), 0, 5),
        (Limit(1, 1.0, 1), 1, 1),
    ],
)
def test_an_allowance_is_a_twentieth(limit, remaining, allowance):
    """Of what remains, or of what a second brings; at least one request."""
    share = share_of(limit)
    share.hear(0, (limit.burst - remaining) * limit.emission_s, 0, 5.0)
    assert share.allowance == allowance


@pytest.mark.parametrize(
    ("limit", "remaining", "paced_per_s", "due_at"),
    [
        (Limit(1000, 1.0, 1000), 1000, 1.0, 45),
        (Limit(1000, 1.0, 1000), 1000, 200.0, 39),
        (Limit(1000, 1.0, 1000), 1000, 100_000.0, 25),
        (Limit(60, 60.0, 60), 60, 0.9, 3),
        (Limit(60, 60.0, 60), 60, 1000.0, 2),
        (HOURLY, 20, 1.0, 1),
    ],
)
def test_a_question_is_due_so_early_that_its_answer_comes_in_time(limit, remaining, paced_per_s, due_at):
    """By the pace since the answer before; not before half of the allowance is used, nor after all of it."""
    share = share_of(limit)
    share.spent = 10
    share.hear(10, (limit.burst - remaining) * limit.emission_s, 0, 10 / paced_per_s)
    assert share.due_at == due_at


def test_a_question_waits_for_company_until_its_answer_is_needed():
    """Not at all where somebody waits, or where nothing is known of the client."""
    share = share_of(Limit(1000, 1.0, 1000))
    assert share.can_wait_s(1.0) == 0.0
    share.allowance, share.spent = 50, 40
    assert share.can_wait_s(0.08) == pytest.approx(11 * 0.002 - ANSWER_S)
    assert share.can_wait_s(40.0) == GATHER_S
    assert share.can_wait_s(0.0) <= 0.0
    share.flight = Flight()
    assert share.can_wait_s(40.0) == 0.0


@pytest.mark.parametrize(("limit", "refresh_s"), [(Limit(1000, 1.0, 1000), 1.0), (Limit(60, 60.0, 60), 3.0), (HOURLY, 10.0)])
def test_an_answer_gets_old_with_the_pace_of_the_limit(limit, refresh_s):
    """In the time that brings a twentieth of it, between one second and ten."""
    assert pace_of(limit).refresh_s == pytest.approx(refresh_s)


def test_the_estimate_counts_what_the_store_has_not_heard_of():
    """Requests that passed while the report was under way come on top of the answer."""
    share = share_of(HOURLY)
    share.spent = 5
    share.hear(3, 36.0 * 10, 2, 7.0)
    assert share.spent == 2
    assert share.granted == 2
    assert share.full_at_s == pytest.approx(7.0 + 36.0 * 12)
    assert share.heard_at_s == 7.0


def test_after_an_outage_nothing_is_known():
    """A report that was under way meanwhile takes nothing away."""
    share = share_of(HOURLY)
    share.spent, share.granted, share.allowance = 4, 2, 5
    share.begin_anew(1)
    assert (share.spent, share.granted, share.allowance, share.epoch) == (0, 0, 1, 1)
    share.hear(4, 0.0, 0, 1.0)
    assert share.spent == 0


def test_who_is_being_asked_about_is_not_forgotten():
    """The answer must find somebody."""
    share = share_of(HOURLY, 3.0)
    assert says_nothing_from(share) == 3.0
    share.asked = True
    assert says_nothing_from(share) == float("inf")


def test_names_in_the_store_tell_nothing_and_are_the_same_everywhere():
    """Keys may be credentials; limits that differ are counted apart."""
    name = name_in_store(HOURLY, b"=an-api-key")
    assert name == name_in_store(Limit(100, 3600.0, 100), b"=an-api-key")
    assert "an-api-key" not in name
    others = [Limit(101, 3600.0, 100), Limit(100, 60.0, 100), Limit(100, 3600.0, 1), Limit(100, 3600.0, 100, "route")]
    others.append(Limit(100, 3600.0, 100, scope="* /a"))
    assert len({name, *(name_in_store(limit, b"=an-api-key") for limit in others)}) == 6
    assert name != name_in_store(HOURLY, b"=another")


@hypothesis.given(
    requests=st.integers(1, 100_000),
    per_s=st.floats(0.1, 86_400.0),
    remaining_ratio=st.floats(0.0, 1.0),
    reported=st.integers(0, 10_000),
    after_s=st.floats(0.0, 1000.0),
)
def test_whatever_the_limit_and_the_pace_an_allowance_is_kept_and_asked_for_in_time(requests, per_s, remaining_ratio, reported, after_s):
    """At most a twentieth of what remains, or of a second's worth, or one; the question is due in its second half."""
    limit = Limit(requests, per_s, requests)
    share = share_of(limit)
    share.spent = reported
    share.hear(reported, (1.0 - remaining_ratio) * per_s, 0, after_s)
    assert 1 <= share.allowance <= max(1.0, 0.05 * (remaining_ratio * requests + 1e-6), 0.05 * requests * min(1.0, 1.0 / per_s) + 1e-6)
    assert share.allowance / 2 <= share.due_at <= share.allowance
    share.spent = share.due_at
    assert share.can_wait_s(after_s + 1.0) <= GATHER_S

"""Whether there is another try: the whole table of facts, and the rule in prose beside it."""

from __future__ import annotations

import itertools

import pytest

from lbgateway import errors
from lbgateway.policies.retry import IDEMPOTENT, REASONS, SAFE, STATUSES, Facts, Verdict, backoff_s, may_retry

GIVE_UP, RETRY, REPLAY = Verdict.GIVE_UP, Verdict.RETRY, Verdict.REPLAY
ALL = frozenset(("connect", "reset", "timeout", "malformed", "500", "502", "503", "504"))
YES_NO = (False, True)
PUT = {"safe": False}
POST = {"safe": False, "repeatable": False}


def judged(reason: str, **facts: object) -> Verdict:
    usual: dict[str, object] = {"attempts_left": 1, "retry_on": ALL, "nothing_sent": reason == "connect"}
    return may_retry(Facts(reason, **{**usual, **facts}))  # type: ignore[arg-type]  # each fact has its type in Facts


@pytest.mark.parametrize(
    ("reason", "facts", "verdict"),
    [
        # nothing was sent: any method may go elsewhere
        ("connect", {}, RETRY),
        ("connect", POST, RETRY),
        ("connect", {"attempts_left": 0}, GIVE_UP),
        ("connect", {"retry_on": frozenset()}, GIVE_UP),
        ("connect", {"retry_on": frozenset(("reset",))}, GIVE_UP),
        ("connect", {"budget_left": False}, GIVE_UP),
        # something was sent: only what may run twice
        ("reset", {}, RETRY),
        ("reset", PUT, RETRY),
        ("reset", POST, GIVE_UP),
        ("reset", {"body_replayable": False}, GIVE_UP),
        ("reset", {"retry_on": frozenset(("connect",))}, GIVE_UP),
        ("reset", {"budget_left": False}, GIVE_UP),
        ("timeout", {}, RETRY),
        ("timeout", {"time_left": False}, GIVE_UP),
        ("timeout", POST, GIVE_UP),
        ("malformed", {}, RETRY),
        # an answer that another instance might not give
        ("503", {}, RETRY),
        ("503", PUT, RETRY),
        ("503", POST, GIVE_UP),
        ("500", {}, RETRY),
        ("500", PUT, GIVE_UP),
        ("501", {}, GIVE_UP),
        # an old connection that was closed before it brought a byte
        ("reset", {"stale_connection": True}, REPLAY),
        ("reset", {"stale_connection": True, "attempts_left": 0}, REPLAY),
        ("reset", {"stale_connection": True, "retry_on": frozenset()}, REPLAY),
        ("reset", {"stale_connection": True, "budget_left": False}, REPLAY),
        ("reset", {"stale_connection": True, **POST}, GIVE_UP),
        ("reset", {"stale_connection": True, "body_replayable": False}, GIVE_UP),
        # no way back
        ("reset", {"response_started": True}, GIVE_UP),
        ("reset", {"response_started": True, "stale_connection": True}, GIVE_UP),
    ],
)
def test_what_a_failure_leads_to(reason, facts, verdict):
    """One line for each sentence of the rule."""
    assert judged(reason, **facts) is verdict


@pytest.mark.parametrize("reason", sorted(ALL))
@pytest.mark.parametrize("facts", list(itertools.product(YES_NO, repeat=8)), ids=str)
def test_no_combination_of_facts_breaks_a_promise(reason, facts):
    """All of them: what may never happen, whatever else is true."""
    started, safe, repeatable, replayable, stale, time, budget, left = facts
    verdict = judged(
        reason, response_started=started, safe=safe, repeatable=repeatable, body_replayable=replayable, stale_connection=stale,
        time_left=time, budget_left=budget, attempts_left=int(left),
    )  # fmt: skip
    if started or not replayable or not time:
        assert verdict is GIVE_UP
    if not repeatable and reason != "connect":
        assert verdict is GIVE_UP
    if verdict is RETRY:
        assert left
        assert budget
        assert safe or reason != "500"
    if verdict is REPLAY:
        assert stale
        assert repeatable


def test_words_of_the_configuration_and_methods():
    """What the contract calls idempotent, and the metric's reasons."""
    assert {method.decode() for method in IDEMPOTENT} == {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}
    assert {b"PUT", b"DELETE"} == IDEMPOTENT - SAFE
    assert set(REASONS.values()) | set(STATUSES.values()) == ALL
    upstreams = (errors.ConnectFailed, errors.ConnectTimeout, errors.UpstreamClosed, errors.UpstreamMalformed, errors.ResponseTimeout)
    assert set(REASONS) == {error.slug for error in (*upstreams, errors.Overloaded)}


@pytest.mark.parametrize(
    ("retry", "reason", "draw", "waits_s"),
    [
        (1, "503", 1.0, 0.025),
        (2, "503", 1.0, 0.05),
        (3, "reset", 0.5, 0.05),
        (1, "timeout", 0.0, 0.0),
        (1, "connect", 1.0, 0.0),
        (3, "connect", 1.0, 0.0),
    ],
)
def test_the_back_off_doubles_and_is_drawn_from_all_of_its_length(retry, reason, draw, waits_s):
    """And where nobody listens there is nothing to wait for."""
    assert backoff_s(0.025, retry, reason, draw) == pytest.approx(waits_s)

"""Whether there is another try: the whole table of facts, and the rule in prose beside it."""

from __future__ import annotations

import itertools

import pytest

from lbgateway import errors
from lbgateway.policies.retry import IDEMPOTENT, REASONS, Verdict, may_retry

GIVE_UP, RETRY, REPLAY = Verdict.GIVE_UP, Verdict.RETRY, Verdict.REPLAY
ALL = frozenset(("connect", "reset", "timeout", "malformed"))
ERRORS = [errors.ConnectFailed(), errors.ConnectTimeout(), errors.UpstreamClosed(), errors.UpstreamMalformed(), errors.ResponseTimeout()]
YES_NO = (False, True)


def judged(error: errors.GatewayError, **facts: object) -> Verdict:
    usual: dict[str, object] = {
        "response_started": False, "idempotent": True, "body_replayable": True, "stale_connection": False, "attempts_left": 1,
        "retry_on": ALL,
    }  # fmt: skip
    return may_retry(error, **{**usual, **facts})  # type: ignore[arg-type]  # each fact has its type in `usual`


@pytest.mark.parametrize(
    ("error", "facts", "verdict"),
    [
        # nothing was sent: any method may go elsewhere
        (errors.ConnectFailed(), {}, RETRY),
        (errors.ConnectFailed(), {"idempotent": False}, RETRY),
        (errors.ConnectTimeout(), {"idempotent": False}, RETRY),
        (errors.ConnectFailed(), {"attempts_left": 0}, GIVE_UP),
        (errors.ConnectFailed(), {"retry_on": frozenset()}, GIVE_UP),
        (errors.ConnectFailed(), {"retry_on": frozenset(("reset",))}, GIVE_UP),
        # something was sent: only what may run twice
        (errors.UpstreamClosed(), {}, RETRY),
        (errors.UpstreamClosed(), {"idempotent": False}, GIVE_UP),
        (errors.UpstreamClosed(), {"body_replayable": False}, GIVE_UP),
        (errors.UpstreamClosed(), {"retry_on": frozenset(("connect",))}, GIVE_UP),
        # an old connection that was closed before it brought a byte
        (errors.UpstreamClosed(), {"stale_connection": True}, REPLAY),
        (errors.UpstreamClosed(), {"stale_connection": True, "attempts_left": 0}, REPLAY),
        (errors.UpstreamClosed(), {"stale_connection": True, "retry_on": frozenset()}, REPLAY),
        (errors.UpstreamClosed(), {"stale_connection": True, "idempotent": False}, GIVE_UP),
        (errors.UpstreamClosed(), {"stale_connection": True, "body_replayable": False}, GIVE_UP),
        # no way back
        (errors.UpstreamClosed(), {"response_started": True}, GIVE_UP),
        (errors.UpstreamClosed(), {"response_started": True, "stale_connection": True}, GIVE_UP),
    ],
)
def test_what_a_failure_leads_to(error, facts, verdict):
    """One line for each sentence of the rule."""
    assert judged(error, **facts) is verdict


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.slug)
@pytest.mark.parametrize("facts", list(itertools.product(YES_NO, YES_NO, YES_NO, YES_NO, (0, 1))), ids=str)
def test_no_combination_of_facts_breaks_a_promise(error, facts):
    """All of them: what may never happen, whatever else is true."""
    started, idempotent, replayable, stale, left = facts
    verdict = judged(
        error, response_started=started, idempotent=idempotent, body_replayable=replayable, stale_connection=stale, attempts_left=left
    )
    if started or not replayable:
        assert verdict is GIVE_UP
    if not idempotent and not error.retry_safe:
        assert verdict is GIVE_UP
    if verdict is RETRY:
        assert left > 0
    if verdict is REPLAY:
        assert stale
        assert idempotent


def test_words_of_the_configuration_and_methods():
    """What the contract calls idempotent, and the metric's reasons."""
    assert {method.decode() for method in IDEMPOTENT} == {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}
    assert set(REASONS.values()) <= ALL

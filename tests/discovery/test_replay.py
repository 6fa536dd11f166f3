"""Answers out of the past: which are not taken over, and for how long."""

from __future__ import annotations

import pytest

from discovery.consul_wire import Consistency
from discovery.replay import REPLAY_S, Replay

STALE, DEFAULT, CONSISTENT = Consistency


def test_what_is_replayed_is_not_taken_over_until_it_has_caught_up():
    """As a Consul that was killed answers, within a few milliseconds."""
    replay = Replay()
    past = [replay.is_past(index, 502, 10.0 + n / 100, STALE, recovering=True) for n, index in enumerate((117, 171, 351, 435, 502))]
    assert past == [True] * 4 + [False]
    assert replay.recheck is None


@pytest.mark.parametrize("mode", [STALE, DEFAULT])
def test_a_registry_without_its_data_is_believed_when_a_verified_leader_says_so(mode):
    """It is asked in a moment, though its index does not move; later answers are believed at once."""
    replay = Replay()
    assert replay.is_past(12, 502, 10.0, mode, recovering=True)
    assert replay.is_past(13, 502, 10.1, mode, recovering=True)
    assert replay.recheck is not None
    assert (replay.recheck.at_s, replay.recheck.consistency) == (10.0 + REPLAY_S, CONSISTENT)
    assert not replay.is_past(13, 502, 10.3, CONSISTENT, recovering=True)
    assert replay.recheck is None
    assert not replay.is_past(14, 13, 10.4, mode, recovering=True)


def test_no_log_is_too_long_to_be_read_anew():
    """Neither does a hold end because the outage is over (`empty_hold` may be short), nor because it has lasted."""
    replay = Replay()
    assert replay.is_past(117, 502, 10.0, STALE, recovering=True)
    assert replay.is_past(171, 502, 600.0, STALE, recovering=False)
    assert replay.is_past(171, 502, 601.0, DEFAULT, recovering=False)


@pytest.mark.parametrize(("index", "known", "recovering"), [(7, 502, False), (502, 502, True), (503, 502, True), (1, 0, True)])
def test_what_may_be_true_is_taken_over(index, known, recovering):
    """No outage, no step back, or nothing known to compare with."""
    assert not Replay().is_past(index, known, 10.0, STALE, recovering=recovering)

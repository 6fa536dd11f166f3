"""Answers out of the past: which are not taken over, and for how long."""

from __future__ import annotations

import pytest

from discovery.replay import REPLAY_S, Replay


def test_what_is_replayed_is_not_taken_over_until_it_has_caught_up():
    """As a Consul that was killed answers, within a few milliseconds."""
    replay = Replay()
    past = [replay.is_past(index, 502, 10.0 + number / 100, recovering=True) for number, index in enumerate((117, 171, 351, 435, 502))]
    assert past == [True] * 4 + [False]
    assert replay.recheck is None


def test_a_registry_without_its_data_is_believed_after_a_while():
    """It is read again at that moment, though its index does not move; later answers are believed at once."""
    replay = Replay()
    assert replay.is_past(12, 502, 10.0, recovering=True)
    assert replay.is_past(13, 502, 11.0, recovering=True)
    assert replay.recheck is not None
    assert replay.recheck.at_s == 10.0 + REPLAY_S
    assert not replay.is_past(13, 502, replay.recheck.at_s, recovering=True)
    assert not replay.is_past(14, 13, 12.1, recovering=True)


def test_a_hold_does_not_end_because_the_outage_is_long_over():
    """How long a loss is held (`empty_hold`) may be shorter than the replay."""
    replay = Replay()
    assert replay.is_past(117, 502, 10.0, recovering=True)
    assert replay.is_past(171, 502, 10.5, recovering=False)


@pytest.mark.parametrize(("index", "known", "recovering"), [(7, 502, False), (502, 502, True), (503, 502, True), (1, 0, True)])
def test_what_may_be_true_is_taken_over(index, known, recovering):
    """No outage, no step back, or nothing known to compare with."""
    assert not Replay().is_past(index, known, 10.0, recovering=recovering)

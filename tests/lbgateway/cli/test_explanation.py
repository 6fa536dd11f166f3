"""What is said of one instance beside the table."""

from __future__ import annotations

from lbgateway.cli.explanation import explanation


def test_one_instance_alone_is_explained_with_its_past():
    """What was ordered of it, and how its state has changed."""
    order = {"drained_by": "ann", "ejected_by": "bob", "ejected_until": "12:00", "weight": 0, "weighed_by": "eve"}
    changes = [
        {"at": "11:00", "from": "ready", "to": "draining", "reason": "drained by ann"},
        {"at": "10:00", "from": "critical", "to": "ready"},
    ]
    cheaper = [{"instance": "o-1", "cost": 0.00123}, {"instance": "o-2", "cost": None}]
    picks = [{"at": "09:00", "reason": "next in turn", "of": 2, "candidates": cheaper}, {"at": "08:00", "reason": "trial", "of": 1}]
    page = explanation({"name": "orders", "instances": [{"id": "o-1", "order": order, "changes": changes, "picks": picks}]})
    assert page.below == [
        "Ordered: drained by ann, ejected by bob until 12:00, weight 0 by eve",
        "Changes of state, the newest first:",
        "  11:00  ready -> draining: drained by ann",
        "  10:00  critical -> ready",
        "Picks, the newest first:",
        "  09:00  next in turn, of 2 [cost: o-1 0.00123, o-2 -]",
        "  08:00  trial, of 1",
    ]


def test_of_several_instances_only_the_table_is_shown():
    """Their pasts would fill the screen; and one without a past has nothing below."""
    past = {"order": {"drained_by": "ann"}, "changes": [{"at": "10:00", "from": "ready", "to": "draining"}]}
    assert explanation({"instances": [{"id": "o-1", **past}, {"id": "o-2", **past}]}).below == []
    assert explanation({"instances": [{"id": "o-1", "order": None, "changes": [], "picks": []}]}).below == []


def test_a_limit_that_is_learnt_is_explained():
    """With what it is learnt from; a configured one needs no word."""
    told = {"id": "o-1", "limit": 12, "adaptive": {"baseline_ms": 20.1}}
    assert explanation({"instances": [told]}).below == [
        "Limit: 12 requests at once, by its own latency (a request takes 20.1 ms when there are few)"
    ]
    told["adaptive"] = {"baseline_ms": None}
    assert explanation({"instances": [told]}).below == ["Limit: 12 requests at once, by its own latency (not measured yet)"]
    assert explanation({"instances": [{"id": "o-1", "limit": 512, "adaptive": None}]}).below == []


def test_one_instance_alone_says_since_when_and_how_often_it_was_out():
    """With the words of its check and of its last failure, cleaned of what a terminal would obey."""
    told = {
        "id": "o-1", "state": "ejected", "since": "10:00", "ejections_total": 3, "ejected_until": "10:08",
        "check_output": "connect: refused\x1b[2J", "last_error": "connect_failed: refused",
    }  # fmt: skip
    assert explanation({"instances": [told]}).below == [
        "State: ejected since 10:00; ejected 3 times, now until 10:08",
        "Its check says: connect: refused [2J",
        "Its last failure: connect_failed: refused",
    ]
    well = {"id": "o-1", "state": "ready", "since": "09:00", "ejections_total": 0, "ejected_until": None, "last_error": None}
    assert explanation({"instances": [well]}).below == ["State: ready since 09:00"]

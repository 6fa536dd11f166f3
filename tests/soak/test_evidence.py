"""What is said of a request that was lost."""

from __future__ import annotations

import json

from tests.soak.evidence import event_of, explain, going_on, grouped, not_ready

LOST = {"at": 100.0, "kind": "read", "path": "/api/orders/7-1", "ending": "502"}
ACCESS = {"request_id": "r", "path": "/api/orders/7-1", "service": "orders", "status": 502, "error": "upstream_closed", "attempts": 1}
OTHER = {"request_id": "s", "path": "/api/orders/8-1", "service": "orders", "status": 200}


def event(at: float, instance: str, to: str, service: str = "orders") -> dict[str, object]:
    return {"at": at, "event": "ejection", "service": service, "instance": instance, "to": to, "reason": "because"}


def fault(from_s: float, until_s: float) -> dict[str, object]:
    return {"from": from_s, "until": until_s, "name": "an instance: closes", "whom": "9001"}


def test_a_lost_request_is_told_with_all_that_is_known_of_it():
    """The gateway's own line of it, among others and words that are none; who was out, and what went on."""
    log = ["plain words\n", json.dumps({"event": "started"}), json.dumps(OTHER), json.dumps(ACCESS)]
    (told,) = explain([LOST], log, [event(99.0, "orders-1", "ejected")], [fault(98.0, 99.5)])
    assert told == {
        **LOST,
        "access": ACCESS,
        "not_ready": {"orders-1": "ejected: because"},
        "faults": ["an instance: closes 9001: for 2.0 s, over for 0.5 s"],
    }


def test_of_a_request_that_the_gateway_knows_nothing_of_only_the_client_tells():
    """It may not even have come in."""
    assert explain([{**LOST, "path": ""}], [json.dumps(ACCESS)], [], []) == [
        {**LOST, "path": "", "access": {}, "not_ready": {}, "faults": []}
    ]


def test_the_last_state_before_counts():
    """Of the same service; who is ready again, or gone, is no part of it."""
    events = [
        event(1.0, "orders-1", "ejected"),
        event(2.0, "orders-2", "ejected"),
        event(3.0, "orders-1", "ready"),
        event(4.0, "orders-3", "gone"),
        event(5.0, "parcels-1", "ejected", "parcels"),
        event(101.0, "orders-4", "ejected"),
        {"at": 6.0, "event": "breaker", "service": "orders", "state": "open"},
        {"at": 7.0, "event": "failing", "service": "orders", "instance": "orders-2"},
    ]
    assert not_ready(events, "orders", 100.0) == {"orders-2": "ejected: because"}


def test_events_are_told_in_seconds():
    """The gateway says them as people do; requests and faults are noted by the clock's own number."""
    event = event_of("ejection", '{"at":"1970-01-01T00:01:40.250Z","service":"orders"}')
    assert event == {"at": 100.25, "event": "ejection", "service": "orders"}


def test_what_was_over_long_ago_is_no_longer_felt():
    """Ten seconds."""
    assert going_on([fault(10.0, 20.0), fault(85.0, 89.0), fault(99.0, 103.0), fault(101.0, 102.0)], 100.0) == [
        "an instance: closes 9001: for 1.0 s"
    ]


def test_losses_of_one_kind_are_one_line():
    """The most frequent first: what hundreds of lines have in common is what there is to mend."""
    (told,) = explain([LOST], [json.dumps(ACCESS)], [event(99.0, "orders-1", "ejected")], [fault(98.0, 101.0)])
    (unknown,) = explain([{**LOST, "path": ""}], [], [], [])
    assert grouped([unknown, told, {**told, "at": 100.5}]) == [
        "2 times read 502: upstream_closed of orders after 1 attempts, 1 not ready, during an instance: closes 9001",
        "1 times read 502, and the gateway has no line of it",
    ]

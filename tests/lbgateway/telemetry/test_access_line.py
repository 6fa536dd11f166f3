"""A line of the access log: complete, parseable, and free of credentials."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.telemetry.access_line import MAX_AGENT_BYTES, MAX_NAME_LETTERS, MAX_TARGET_BYTES, console_line, json_line, safe_target

GOOD = (
    100.5, b"r-1", "192.0.2.7", "GET", b"shop.example", b"/api/orders/1?page=2", "/api/{service}", "orders", "orders-1",
    200, None, 0.0019, 0.0015, 1, 0, 321, b"curl/8.0", False, "10.0.0.1", "ann", "CN=billing,O=Shop",
    b"4bf92f3577b34da6a3ce929d0e0e4736", 1,
)  # fmt: skip


def with_(**changes):
    fields = {"target": 5, "service": 7, "endpoint": 8, "status": 9, "slug": 10, "upstream_s": 12, "attempts": 13}
    fields |= {"user_agent": 16, "hedged": 17, "subject": 19, "certificate": 20, "trace_id": 21}
    record = list(GOOD)
    for name, value in changes.items():
        record[fields[name]] = value
    return tuple(record)


def test_a_line_holds_every_field_under_its_name():
    """Programs read these names; milliseconds carry their unit."""
    line = json_line(GOOD, 1_000_000.0)

    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "time": "1970-01-12T13:48:20.500Z",
        "request_id": "r-1",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "trace_flags": "01",
        "client": "192.0.2.7",
        "peer": "10.0.0.1",
        "subject": "ann",
        "certificate": "CN=billing,O=Shop",
        "method": "GET",
        "host": "shop.example",
        "path": "/api/orders/1?page=2",
        "route": "/api/{service}",
        "service": "orders",
        "endpoint": "orders-1",
        "status": 200,
        "error": None,
        "duration_ms": 1.9,
        "upstream_ms": 1.5,
        "attempts": 1,
        "hedged": False,
        "bytes_in": 0,
        "bytes_out": 321,
        "user_agent": "curl/8.0",
    }


@pytest.mark.parametrize(
    ("target", "logged"),
    [
        (b"/a", b"/a"),
        (b"/a?", b"/a?"),
        (b"/a?x=1&y=2", b"/a?x=1&y=2"),
        (b"/a?access_token=abc", b"/a?access_token=[redacted]"),
        (b"/a?x=1&API_KEY=abc&y=2", b"/a?x=1&API_KEY=[redacted]&y=2"),
        (b"/a?token=a=b", b"/a?token=[redacted]"),
        (b"/a?to%6ben=abc", b"/a?to%6ben=[redacted]"),
        (b"/a?token", b"/a?token"),
        (b"/a?tokens=12", b"/a?tokens=12"),
        (b"/cb?code=abc&state=x", b"/cb?code=[redacted]&state=x"),
        (b"http://u:p@shop.example/a", b"http://shop.example/a"),
        (b"/a?next=http://u@b/", b"/a?next=http://u@b/"),
    ],
)
def test_credentials_in_a_target_are_not_logged(target, logged):
    """By the parameter's name, however it is written."""
    assert safe_target(target) == logged


def test_what_a_client_can_make_long_is_cut():
    """A log line has a bounded size."""
    fields = json.loads(json_line(with_(target=b"/" + b"a" * 60_000, user_agent=b"b" * 60_000), 0.0))

    assert len(fields["path"]) == MAX_TARGET_BYTES + 3
    assert len(fields["user_agent"]) == MAX_AGENT_BYTES


@pytest.mark.parametrize(("name", "logged"), [(None, None), ("ann", "ann"), (42, "42"), ("a" * 3000, "a" * MAX_NAME_LETTERS)])
def test_names_are_logged_as_they_were_proved(name, logged):
    """A session may have a number for a subject; nobody makes a line long with a name."""
    fields = json.loads(json_line(with_(subject=name, certificate=name), 0.0))

    assert (fields["subject"], fields["certificate"]) == (logged, logged)


@given(st.binary(), st.binary(), st.text())
def test_any_bytes_give_exactly_one_line(target, agent, subject):
    """No byte of a client can begin a second line or a terminal's escape sequence."""
    for render in (json_line, console_line):
        line = render(with_(target=target, user_agent=agent, subject=subject, certificate=subject), 0.0)

        assert line.count(b"\n") == 1
        assert all(32 <= byte < 127 for byte in line[:-1])


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, b"13:48:20 GET /api/orders/1?page=2 200 1.9ms orders/orders-1\n"),
        ({"attempts": 2}, b"13:48:20 GET /api/orders/1?page=2 200 1.9ms orders/orders-1 2 attempts\n"),
        ({"attempts": 2, "hedged": True}, b"13:48:20 GET /api/orders/1?page=2 200 1.9ms orders/orders-1 2 attempts, hedged\n"),
        (
            {"status": 503, "slug": "no_endpoint", "endpoint": None, "attempts": 0},
            b"13:48:20 GET /api/orders/1?page=2 503 1.9ms orders no_endpoint\n",
        ),
        (
            {"status": 404, "slug": "no_route", "service": None, "endpoint": None, "attempts": 0},
            b"13:48:20 GET /api/orders/1?page=2 404 1.9ms - no_route\n",
        ),
    ],
)
def test_people_get_a_short_line(changes, line):
    """Time, what was asked, what came back, how long, from whom."""
    assert console_line(with_(**changes), 1_000_000.0) == line


def test_an_exchange_that_is_not_traced_names_no_trace():
    """Neither its id nor its flags."""
    fields = json.loads(json_line(with_(trace_id=None), 0.0))

    assert (fields["trace_id"], fields["trace_flags"]) == (None, None)


def test_an_exchange_without_an_attempt_has_no_upstream_time():
    """Null, not zero: nobody was asked."""
    assert json.loads(json_line(with_(upstream_s=None), 0.0))["upstream_ms"] is None

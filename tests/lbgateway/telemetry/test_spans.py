"""Spans of records: names, parents, times and attributes, as OpenTelemetry's conventions for HTTP have them."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from lbgateway.telemetry.span_records import AttemptRecord, PickRecord, TraceRecord
from lbgateway.telemetry.spans import Spans

TRACE, PARENT, SPAN = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7", b"1" * 16


def attempt(number: int = 1, *, status: int = 200, outcome: str = "ok", slug: str | None = None) -> AttemptRecord:
    made = AttemptRecord(b"%016x" % (number + 100), 10.0 + number, f"orders-{number}", "10.0.0.7", 9000 + number)
    made.status, made.outcome, made.slug, made.ended_s = status, outcome, slug, 10.5 + number
    return made


def record(**changes: Any) -> TraceRecord:
    """An exchange that went well, but for what is said."""
    picks = (PickRecord(b"2" * 16, 10.25, 10.5, "ewma", 3, False, "orders-1"),)
    good = TraceRecord(
        TRACE, SPAN, PARENT, 3, b"a=1,b=2", 10.0, 12.0, b"r-1", "192.0.2.7", "GET", True, "https", b"shop.example",
        b"/api/orders/1?x=2&token=abc", b"curl/8", "/api/{service}", "orders", 200, None, picks, (attempt(),),
    )  # fmt: skip
    return good._replace(**changes)


def spans_of(given: TraceRecord, offset_s: float = 1_000_000.0) -> Any:
    return Spans("1.2.3", "host:1").of(given, offset_s)


def test_an_exchange_is_a_server_span_with_its_picks_and_attempts_below():
    """One trace, the ids that were told to others, the times of the calendar."""
    server, pick, client = spans_of(record())

    assert [(span.name, span.kind) for span in (server, pick, client)] == [
        ("GET /api/{service}", SpanKind.SERVER), ("pick", SpanKind.INTERNAL), ("GET", SpanKind.CLIENT),
    ]  # fmt: skip
    assert {f"{span.context.trace_id:032x}".encode() for span in (server, pick, client)} == {TRACE}
    assert [f"{span.context.span_id:016x}".encode() for span in (server, pick, client)] == [SPAN, b"2" * 16, b"%016x" % 101]
    assert [f"{span.parent.span_id:016x}".encode() for span in (server, pick, client)] == [PARENT, SPAN, SPAN]
    assert (server.start_time, server.end_time) == (1_000_010_000_000_000, 1_000_012_000_000_000)
    assert (client.start_time, client.end_time) == (1_000_011_000_000_000, 1_000_011_500_000_000)
    assert server.parent.is_remote
    assert not client.parent.is_remote
    assert server.context.trace_state.to_header() == "a=1,b=2"
    assert all(span.status.status_code is StatusCode.UNSET for span in (server, pick, client))


def test_a_trace_that_begins_here_has_no_parent():
    """Its id is the one that was drawn for it."""
    server, *_ = spans_of(record(parent_id=None, state=b"", flags=1))

    assert server.parent is None
    assert f"{server.context.trace_id:032x}".encode() == TRACE


def test_attributes_have_the_names_of_the_conventions():
    """What does not apply is not there, and credentials in a query are redacted as in the log."""
    server, pick, client = spans_of(record())

    assert dict(server.attributes) == {
        "http.request.method": "GET", "http.response.status_code": 200, "http.route": "/api/{service}", "url.scheme": "https",
        "url.path": "/api/orders/1", "url.query": "x=2&token=[redacted]", "server.address": "shop.example", "client.address": "192.0.2.7",
        "user_agent.original": "curl/8", "lbgateway.service": "orders", "lbgateway.request_id": "r-1", "lbgateway.attempts": 1,
    }  # fmt: skip
    assert dict(pick.attributes) == {
        "lbgateway.service": "orders", "lbgateway.endpoint": "orders-1", "lbgateway.balancer": "ewma", "lbgateway.ready": 3,
        "lbgateway.panic": False,
    }  # fmt: skip
    assert dict(client.attributes) == {
        "http.request.method": "GET", "http.response.status_code": 200, "server.address": "10.0.0.7", "server.port": 9001,
        "lbgateway.service": "orders", "lbgateway.endpoint": "orders-1", "lbgateway.outcome": "ok",
    }  # fmt: skip
    assert dict(server.resource.attributes).items() >= {"service.name": "lbgateway", "service.version": "1.2.3"}.items()


def test_an_attempt_that_failed_says_what_of_and_which_one_it_was():
    """A number for each after the first; the slug, or the status as a word."""
    attempts = (attempt(1, status=0, outcome="failed_local", slug="connect_failed"), attempt(2, status=503, outcome="failed_remote"))
    _, _, one, other = spans_of(record(attempts=(*attempts,), status=503))

    assert (one.attributes["error.type"], other.attributes["error.type"]) == ("connect_failed", "503")
    assert "http.response.status_code" not in one.attributes
    assert ("http.request.resend_count" in one.attributes, other.attributes["http.request.resend_count"]) == (False, 1)
    assert {one.status.status_code, other.status.status_code} == {StatusCode.ERROR}


@pytest.mark.parametrize(
    ("status", "slug", "error", "failed"),
    [
        (200, None, None, False),
        (404, None, None, False),
        (404, "no_route", "no_route", False),
        (429, "rate_limited", "rate_limited", False),
        (499, "client_gone", "client_gone", False),
        (500, None, "500", True),
        (503, "no_endpoint", "no_endpoint", True),
        (200, "upstream_closed", "upstream_closed", True),
    ],
)
def test_an_exchange_has_failed_if_it_was_the_servers_fault(status: int, slug: str | None, error: str | None, failed: bool):
    """A client's mistake is none of the server's; an answer that was cut off is, whatever its status."""
    server, *_ = spans_of(record(status=status, slug=slug))

    assert server.attributes.get("error.type") == error
    assert (server.status.status_code is StatusCode.ERROR) is failed


def test_a_pick_that_found_nobody_has_failed():
    """It names nobody."""
    picks = (PickRecord(b"2" * 16, 10.0, 10.0, "ewma", 0, False, None),)
    _, pick = spans_of(record(picks=picks, attempts=(), status=503, slug="no_endpoint"))

    assert "lbgateway.endpoint" not in pick.attributes
    assert pick.status.status_code is StatusCode.ERROR


def test_names_are_no_clients_to_choose():
    """A method that HTTP does not define is an attribute, and never a name; neither is a path."""
    server, _, client = spans_of(record(method="PROPFIND", known_method=False, route=None))

    assert (server.name, client.name) == ("HTTP", "HTTP")
    assert server.attributes["http.request.method"] == "_OTHER"
    assert server.attributes["http.request.method_original"] == "PROPFIND"


@pytest.mark.parametrize("state", [b"a=1,=", b"nonsense", b"\xff=\xff", b"a=1," * 100])
def test_a_state_that_is_none_is_no_mistake(state: bytes):
    """What OpenTelemetry does not take is left out of the span; what was passed on was passed on."""
    assert len(spans_of(record(state=state))) == 3


def test_each_record_gives_its_own_spans():
    """None stays behind for the next."""
    spans = Spans("1", "i")

    assert [len(spans.of(record(), 0.0)) for _ in range(3)] == [3, 3, 3]

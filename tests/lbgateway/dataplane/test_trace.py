"""Traces in playbooks: what instances are told of them, and what is noted of the way."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from lbgateway.dataplane.trace import Tracing
from lbgateway.telemetry.span_records import TraceRecord
from tests.support.playbook import World, get, ok, post, request

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"traceparent: 00-{TRACE}-{SPAN}-01"
UNSAMPLED = f"traceparent: 00-{TRACE}-{SPAN}-00"
LINE = re.compile(rb"^traceparent: 00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})\r$", re.MULTILINE)
HEDGE = "services: {orders: {hedge: {after: 1s, at_most: 1.0}}}\n"


def traced(text: str = "", *, sample: float = 1.0, **services: int) -> tuple[World, list[TraceRecord]]:
    """A world where traces are recorded into a list."""
    world, records = World(text, **services), []
    world.plane.tracing = Tracing(sample, records.append)
    return world, records


def told(message: bytes) -> tuple[str, str, str]:
    """Trace, span and flags that an instance has been told, exactly once."""
    assert message.lower().count(b"traceparent:") == 1
    [found] = LINE.findall(message)
    return tuple(part.decode() for part in found)


# -- what instances are told ------------------------------------------------------------------------


def test_an_instance_is_told_no_other_trace_behind_the_body():
    """Where the gateway continues it; some services merge trailers into the head."""
    chunked = request("POST", "/api/orders/", "Transfer-Encoding: chunked", GIVEN)
    for tracing in (True, False):
        world, _ = traced(orders=1) if tracing else (World(orders=1), [])
        world.client().sends(chunked + f"0\r\nX-Sum: 1\r\n{UNSAMPLED}\r\n\r\n".encode())
        assert (UNSAMPLED.encode() in world.connects().got()) is not tracing


def test_without_tracing_what_a_client_says_passes_as_it_came():
    """Whatever it is, byte by byte; and nothing is added where nothing came."""
    world = World(orders=1)
    client = world.client().sends(get("/api/orders/1", "TraceParent: anything", "tracestate: a=1", "traceparent: b"))
    upstream = world.connects()
    message = upstream.got()
    assert (b"TraceParent: anything\r\ntracestate: a=1\r\ntraceparent: b\r\n") in message
    upstream.sends(ok())
    client.sends(get("/api/orders/1"))
    assert b"trace" not in upstream.got().lower()


@pytest.mark.parametrize(("given", "flags"), [(GIVEN, "01"), (UNSAMPLED, "00")])
def test_a_trace_goes_on_as_its_parent_decided(given: str, flags: str):
    """The same trace, the gateway's own span, the state untouched; the share is for traces that begin here."""
    world, records = traced(sample=0.0 if flags == "01" else 1.0, orders=1)
    world.client().sends(get("/api/orders/1", given, "tracestate: a=1, b=2", "TraceState: c=3"))
    upstream = world.connects()
    message = upstream.got()
    trace_id, span_id, said = told(message)
    assert (trace_id, said) == (TRACE, flags)
    assert span_id != SPAN
    assert b"tracestate: a=1, b=2\r\nTraceState: c=3\r\n" in message
    upstream.sends(ok())
    assert len(records) == (flags == "01")


@pytest.mark.parametrize("given", [(), ("traceparent: nonsense",), (GIVEN, GIVEN)])
def test_what_belongs_to_no_trace_begins_one(given: tuple[str, ...]):
    """A new trace; the state of another one does not come along."""
    world, records = traced(orders=1)
    world.client().sends(get("/api/orders/1", *given, "tracestate: a=1"))
    upstream = world.connects()
    message = upstream.got()
    trace_id, span_id, flags = told(message)
    assert (len(trace_id), len(span_id), flags) == (32, 16, "01")
    assert trace_id != TRACE
    assert b"tracestate" not in message
    upstream.sends(ok())
    [record] = records
    assert (record.trace_id.decode(), record.parent_id, record.state) == (trace_id, None, b"")


def test_a_trace_that_is_not_recorded_is_passed_on_all_the_same():
    """Or the traces of those in front and behind would be torn."""
    world, records = traced(sample=0.0, orders=1)
    world.client().sends(get("/api/orders/1"))
    upstream = world.connects()
    assert told(upstream.got())[2] == "00"
    upstream.sends(ok())
    assert records == []


@pytest.mark.parametrize("given", [(), (GIVEN,), (UNSAMPLED,)])
def test_heads_that_repeat_themselves_get_spans_of_their_own(given: tuple[str, ...]):
    """What is remembered of a head holds nothing of one request alone."""
    world, _ = traced(orders=1)
    client = world.client().sends(get("/api/orders/1", *given))
    upstream = world.connects()
    seen = [told(upstream.got())]
    for _ in range(3):
        upstream.sends(ok())
        client.sends(get("/api/orders/1", *given))
        seen.append(told(upstream.got()))
    assert len({span for _, span, _ in seen}) == 4
    assert len({trace for trace, _, _ in seen}) == (1 if given else 4)


def test_each_attempt_has_a_span_of_its_own():
    """And the rest of the head is the same."""
    world, records = traced(orders=2)
    world.client().sends(get("/api/orders/1", GIVEN, "tracestate: a=1"))
    first = world.connects()
    one = first.got()
    first.sends(ok(status="503 Service Unavailable"))
    second = world.connects()
    other = second.got()
    second.sends(ok())
    assert told(one)[1] != told(other)[1]
    assert LINE.sub(b"", one) == LINE.sub(b"", other)
    [record] = records
    assert [attempt.span_id.decode() for attempt in record.attempts] == [told(one)[1], told(other)[1]]
    assert [(attempt.status, attempt.outcome, attempt.endpoint) for attempt in record.attempts] == [
        (503, "failed_remote", "orders-1"),
        (200, "ok", "orders-2"),
    ]


def test_two_attempts_at_the_same_time_keep_apart():
    """Who wins keeps its span, and the overtaken one is told as such; the first connects last here."""
    world, records = traced(HEDGE, orders=2)
    world.hurries = False
    world.client().sends(get("/api/orders/1"))
    [first] = world.asked
    world.passes()
    second = next(each for each in world.asked if each is not first).succeeds()
    one, other = first.succeeds(), second
    spans = [told(peer.got())[1] for peer in (one, other)]
    other.sends(ok())
    [record] = records
    assert {attempt.span_id.decode(): (attempt.outcome, attempt.status) for attempt in record.attempts} == {
        spans[0]: ("abandoned", 0),
        spans[1]: ("ok", 200),
    }
    assert [pick.endpoint for pick in record.picks] == ["orders-1", "orders-2"]
    assert world.left == []


def test_a_body_and_a_deadline_change_nothing():
    """The field stands in the head, before whatever follows."""
    world, _ = traced("server: {deadline_header: X-Left, trusted_proxies: [192.0.2.0/24]}\n", orders=1)
    world.client().sends(post("/api/orders/1", b"hello", GIVEN, "X-Left: 5000"))
    message = world.connects().got()
    head, _, body = message.partition(b"\r\n\r\n")
    assert told(head + b"\r\n")[0] == TRACE
    assert (b"\r\nX-Left: " in head or b"\r\nx-left: " in head, body) == (True, b"hello")


# -- what is noted ----------------------------------------------------------------------------------


def test_the_record_of_an_exchange():
    """Who asked what, where it went, in order of time."""
    world, records = traced(orders=1)
    client = world.client(sslcontext=object(), peercert={})
    client.sends(get("/api/orders/1?x=2", GIVEN, "tracestate: a=1", "User-Agent: curl/8"))
    world.connects().sends(ok())
    [record] = records
    assert (record.trace_id.decode(), (record.parent_id or b"").decode(), record.flags, record.state) == (TRACE, SPAN, 1, b"a=1")
    assert (record.method, record.known_method, record.scheme, record.host, record.target) == (
        "GET", True, "https", b"shop.example", b"/api/orders/1?x=2",
    )  # fmt: skip
    assert (record.client, record.user_agent, record.route, record.service) == ("192.0.2.7", b"curl/8", "/api/{service}", "orders")
    assert (record.status, record.slug) == (200, None)
    [pick], [attempt] = record.picks, record.attempts
    assert (pick.balancer, pick.ready, pick.panic, pick.endpoint) == ("round_robin", 1, False, "orders-1")
    assert (attempt.endpoint, attempt.address, attempt.port, attempt.status, attempt.outcome) == ("orders-1", "10.0.0.1", 9001, 200, "ok")
    moments = (record.began_s, pick.began_s, pick.ended_s, attempt.began_s, attempt.ended_s, record.ended_s)
    assert all(before <= after for before, after in pairwise(moments))
    assert len({record.span_id, pick.span_id, attempt.span_id}) == 3


@pytest.mark.parametrize(
    ("message", "status", "slug", "service"),
    [
        (get("/nowhere"), 404, "no_route", None),
        (get("/api/nobody/"), 404, "no_route", None),
        (get("/api/orders/"), 503, "no_endpoint", "orders"),
        (request("PROPFIND", "/nowhere"), 404, "no_route", None),
    ],
)
def test_what_the_gateway_answers_itself_is_recorded(message: bytes, status: int, slug: str, service: str | None):
    """With the slug, and the pick that found nobody."""
    world, records = traced(orders=0)
    world.client().sends(message)
    [record] = records
    assert (record.status, record.slug, record.service, record.attempts) == (status, slug, service, ())
    assert [pick.endpoint for pick in record.picks] == ([None] if service else [])
    assert record.known_method is not message.startswith(b"PROPFIND")


def test_a_failed_connect_is_an_attempt():
    """Nothing was sent; it ended with its error."""
    world, records = traced(orders=2)
    world.client().sends(get("/api/orders/1"))
    world.connect.fails()
    world.connects().sends(ok())
    [record] = records
    assert [(attempt.outcome, attempt.slug, attempt.status) for attempt in record.attempts] == [
        ("failed_local", "connect_failed", 0),
        ("ok", None, 200),
    ]


def test_who_leaves_is_recorded():
    """With the status that only logs know."""
    world, records = traced(orders=1)
    client = world.client().sends(get("/api/orders/1"))
    world.connects()
    client.resets()
    [record] = records
    assert (record.status, record.slug, [attempt.outcome for attempt in record.attempts]) == (499, "client_gone", ["abandoned"])


def test_waiting_for_room_is_part_of_the_pick():
    """The one thing that can make a pick long: it ends with the instance that had room."""
    world, records = traced("services: {orders: {limits: {max_active: 1, max_pending: 10}}}\n", orders=1)
    first = world.client().sends(get("/api/orders/1"))
    upstream = world.connects()
    world.client().sends(get("/api/orders/2"))
    upstream.sends(ok())
    upstream.sends(ok())
    assert first.got()
    waited = records[1]
    assert [pick.endpoint for pick in waited.picks] == ["orders-1"]
    assert waited.picks[0].began_s <= records[0].ended_s <= waited.picks[0].ended_s
    assert world.left == []


def test_an_upgrade_is_an_attempt_of_101():
    """For as long as the tunnel is open."""
    world, records = traced(orders=1)
    client = world.client().sends(get("/api/orders/1", "Connection: Upgrade", "Upgrade: websocket"))
    upstream = world.connects()
    assert told(upstream.got())
    upstream.sends(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert records == []
    upstream.ends()
    client.ends()
    [record] = records
    assert (record.status, [(attempt.status, attempt.outcome) for attempt in record.attempts]) == (101, [(101, "ok")])


def test_the_access_log_names_the_trace():
    """And says nothing of one where nothing is traced."""
    world, _ = traced(orders=1)
    world.plane.access_log = records = []  # type: ignore[assignment]  # `append` is all that is called
    client = world.client().sends(get("/api/orders/1", GIVEN))
    upstream = world.connects().sends(ok())
    world.plane.tracing = None
    client.sends(get("/api/orders/1", GIVEN))
    upstream.sends(ok())
    assert [record[21:] for record in records] == [(TRACE.encode(), 1), (None, 0)]

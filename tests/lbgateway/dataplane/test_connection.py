"""Where a response ends, and whether its connection may carry another one: bytes in, events out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from lbgateway.dataplane.connection import UpstreamConnection
from lbgateway.dataplane.head import MAX_RESPONSE_HEAD_BYTES, ResponseHead
from lbgateway.dataplane.pool import Pool
from lbgateway.errors import GatewayError
from tests.support.transports import FakeTransport, Later

DATE = b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"


@dataclass
class Sink:
    """Takes the events of responses, as an exchange does, and writes them down."""

    connection: UpstreamConnection
    events: list[str] = field(default_factory=list)
    body: bytes = b""
    trailers: list[bytes] | None = None
    head: ResponseHead | None = None
    error: GatewayError | None = None
    rest: bytes = b""

    def on_informational(self, head: ResponseHead) -> None:
        self.events.append(f"{head.status}")

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """The same as its parts."""
        self.on_response_head(head)
        self.on_response_end([body], None)

    def on_response_head(self, head: ResponseHead) -> None:
        self.head = head
        self.events.append(f"{head.status}")

    def on_response_body(self, pieces: list[bytes]) -> None:
        self.body += b"".join(pieces)
        self.events.append("body")

    def on_response_end(self, pieces: list[bytes], trailers: list[bytes] | None) -> None:
        self.body += b"".join(pieces)
        self.trailers = trailers
        self.events.append("end")
        self.connection.exchange = None  # as the pool does with each release

    def on_switched(self, head: ResponseHead, rest: bytes) -> None:
        self.rest = rest
        self.events.append("switched")

    def on_upstream_error(self, error: GatewayError) -> None:
        self.error = error
        self.events.append(error.slug)

    def on_upstream_paused(self) -> None:
        self.events.append("paused")

    def on_upstream_resumed(self) -> None:
        self.events.append("resumed")


class Line:
    """A leased connection, its transport, and the sink of its exchange."""

    def __init__(self, *, head: bool = False, upgrade: bool = False) -> None:
        self.later = Later()
        pool = Pool("10.0.0.1", 9001, 4.0, None)  # type: ignore[arg-type]  # no connect in these tests
        self.connection = UpstreamConnection(pool)
        self.transport = FakeTransport(self.later)
        self.transport.start(self.connection)
        pool.active = 1
        self.lease(head=head, upgrade=upgrade)

    def lease(self, *, head: bool = False, upgrade: bool = False) -> Sink:
        self.sink = Sink(self.connection)
        self.connection.exchange = self.sink
        if head or upgrade:
            self.connection.expect(bodyless=head, upgrade=upgrade)
        return self.sink

    def gets(self, *reads: Any) -> Sink:
        for data in reads:
            self.transport.arrive(data)
            self.later.turn()
        return self.sink

    @property
    def reusable(self) -> bool:
        """Whether the pool would take it back."""
        return self.connection.keep_alive and not self.transport.is_closing()


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("reads", "events", "body", "reusable"),
    [
        ([OK + b"Content-Length: 4\r\n\r\nfine"], ["200", "end"], b"fine", True),
        ([OK + b"Content-Length: 4\r\n\r\n", b"fi", b"ne"], ["200", "body", "body", "end"], b"fine", True),
        ([OK + b"Content-Length: 0\r\n\r\n"], ["200", "end"], b"", True),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nfi\r\n2\r\nne\r\n0\r\n\r\n"], ["200", "end"], b"fine", True),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nfi", b"ne\r\n0\r\n\r\n"], ["200", "body", "end"], b"fine", True),
        ([OK + b"\r\nfi", b"ne", None], ["200", "body", "body", "end"], b"fine", False),
        ([OK + b"Connection: close\r\nContent-Length: 4\r\n\r\nfine"], ["200", "end"], b"fine", False),
        ([b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nfine"], ["200", "end"], b"fine", False),
        ([b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nfine"], ["200", "end"], b"fine", True),
        ([b"HTTP/1.1 204 No\r\n\r\n"], ["204", "end"], b"", True),
        ([b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n"], ["304", "end"], b"", True),
        ([b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\n", OK + b"Content-Length: 0\r\n\r\n"], ["103", "200", "end"], b"", True),
        ([b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\na"], ["100", "200", "end"], b"a", True),
        # the end comes too early
        ([None], ["upstream_closed"], b"", False),
        ([OK, None], ["upstream_closed"], b"", False),
        ([OK + b"Content-Length: 9\r\n\r\nfine", None], ["200", "body", "upstream_closed"], b"fine", False),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nfi\r\n", None], ["200", "body", "upstream_closed"], b"fi", False),
        ([OK + b"\r\nfi", ConnectionResetError()], ["200", "body", "upstream_closed"], b"fi", False),
        # no HTTP, or not for sure
        ([b"SSH-2.0\r\n"], ["upstream_malformed"], b"", False),
        ([b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"], ["upstream_malformed"], b"", False),
        ([OK + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nfine"], ["upstream_malformed"], b"", False),
        ([OK + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], ["upstream_malformed"], b"", False),
        ([OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"], ["upstream_malformed"], b"", False),
        ([OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], ["upstream_malformed"], b"", False),
        ([b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], ["upstream_malformed"], b"", False),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nfi\r\nzz\r\n"], ["200", "body", "upstream_malformed"], b"fi", False),
        ([OK + b"A b: c\r\n\r\n"], ["upstream_malformed"], b"", False),
        ([b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"], ["upstream_malformed"], b"", False),
        # more than a response
        ([OK + b"Content-Length: 4\r\n\r\nfineX"], ["200", "end"], b"fine", False),
        ([OK + b"Content-Length: 4\r\n\r\nfine" + OK + b"Content-Length: 4\r\n\r\nevil"], ["200", "end"], b"fine", False),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + OK], ["200", "end"], b"", False),
        ([b"HTTP/1.1 204 No\r\n\r\nbody"], ["204", "end"], b"", False),
    ],
)
def test_what_comes_out_of_bytes(reads, events, body, reusable):
    """Each response ends where both sides must agree that it ends, or it is none."""
    line = Line()
    sink = line.gets(*reads)
    assert (sink.events, sink.body, line.reusable) == (events, body, reusable)


@pytest.mark.parametrize(
    ("response", "reusable"),
    [
        (OK + b"Content-Length: 4\r\n\r\n", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", True),
        (OK + b"\r\n", False),
        (OK + b"Content-Length: 4\r\n\r\nfine", False),
    ],
)
def test_an_answer_to_head_has_no_body_whatever_it_declares(response, reusable):
    """And bytes behind it end the connection; a clean one carries the next exchange, which is an ordinary one."""
    line = Line(head=True)
    sink = line.gets(response)
    assert (sink.events, sink.body, line.reusable) == (["200", "end"], b"", reusable)
    if reusable:
        line.lease()
        assert line.gets(OK + b"Content-Length: 4\r\n\r\nfine").body == b"fine"


def test_a_switch_hands_over_what_came_behind_it():
    """The first bytes of the new protocol are not lost."""
    line = Line(upgrade=True)
    sink = line.gets(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\nhello")
    assert (sink.events, sink.rest) == (["switched"], b"hello")


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: chat\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
    ],
)
def test_half_a_switch_is_malformed(response):
    """It needs both fields (RFC 9110, 7.8); otherwise nobody knows what comes next."""
    assert Line(upgrade=True).gets(response).events == ["upstream_malformed"]


def test_a_refused_switch_is_an_ordinary_answer():
    """The connection is not kept: who knows what the upstream expects now."""
    line = Line(upgrade=True)
    sink = line.gets(OK + b"Content-Length: 2\r\n\r\nno")
    assert (sink.events, sink.body, line.reusable) == (["200", "end"], b"no", False)


def test_trailers_come_with_the_end():
    """Those that may pass."""
    line = Line()
    sink = line.gets(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\nX-Request-Id: 7\r\nSet-Cookie: a=b\r\n\r\n")
    assert (sink.trailers, line.reusable) == ([b"X-Sum", b": ", b"1", b"\r\n"], True)
    line.lease()
    assert line.gets(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n").trailers is None


def test_the_head_tells_what_framing_and_policies_need():
    """Fields of the hop are apart from those that pass."""
    head = Line().gets(OK + b"A: 1\r\nConnection: X-Hop\r\nContent-Length: 0\r\n" + DATE + b"Keep-Alive: 5\r\n\r\n").head
    assert head is not None
    assert head.lines[:4] == [b"A", b": ", b"1", b"\r\n"]
    assert (len(head.lines), head.connection, head.content_length, head.dated) == (8, b"X-Hop", 0, True)


@pytest.mark.parametrize("field_count", [1, 3000])
def test_an_endless_head_is_refused(field_count):
    """Whether it is one long field or many."""
    line = Line()
    value = b"a" * (MAX_RESPONSE_HEAD_BYTES // field_count)
    sink = line.gets(OK, *[b"A: " + value + b"\r\n"] * field_count, b"B: 1\r\n")
    assert (sink.events, line.transport.is_closing()) == (["upstream_malformed"], True)


def test_endless_trailers_are_refused():
    """The body has ended, the message does not."""
    line = Line()
    sink = line.gets(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", *[b"A: %b\r\n" % (b"a" * 60_000)] * 6)
    assert (sink.events[0], sink.events[-1], line.transport.is_closing()) == ("200", "upstream_malformed", True)


def test_bytes_that_nobody_asked_for_end_the_connection():
    """Between two exchanges: they must never reach the next one."""
    line = Line()
    line.connection.exchange = None
    line.gets(OK + b"Content-Length: 0\r\n\r\n")
    assert line.transport.is_closing()


def test_back_pressure_is_told():
    """To the exchange that it has now, if any."""
    line = Line()
    line.transport.stall()
    line.connection.write(b"a")
    line.transport.flow()
    assert line.sink.events == ["paused", "resumed"]
    line.connection.exchange = None
    line.connection.pause_writing()
    line.connection.resume_writing()
    assert line.sink.events == ["paused", "resumed"]


def test_it_shows_its_state():
    """Where it leads, whether it is busy, how often it served."""
    line = Line()
    assert repr(line.connection) == "<UpstreamConnection 10.0.0.1:9001 busy uses=0>"
    line.connection.exchange = None
    assert repr(line.connection) == "<UpstreamConnection 10.0.0.1:9001 idle uses=0>"


RESPONSES = [
    OK + b"Content-Length: 4\r\n\r\nfine", OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nfi\r\n2;x=y\r\nne\r\n0\r\nX-Sum: 1\r\n\r\n",
    b"HTTP/1.1 103 Early\r\n\r\n" + OK + b"Content-Length: 4\r\n\r\nfine", b"HTTP/1.1 204 No\r\n\r\n",
]  # fmt: skip


@hypothesis.given(
    responses=st.lists(st.sampled_from(RESPONSES), min_size=1, max_size=4), cuts=st.lists(st.integers(1, 30), min_size=1, max_size=8)
)
def test_where_the_network_cuts_makes_no_difference(responses, cuts):
    """Each response is the same however its bytes arrive, and the connection carries the next one."""
    line = Line()
    for response in responses:
        whole = Line().gets(response)
        line.lease()
        left, turn = response, 0
        while left:
            line.gets(left[: cuts[turn % len(cuts)]])
            left, turn = left[cuts[turn % len(cuts)] :], turn + 1
        assert (line.sink.body, line.sink.trailers, line.reusable) == (whole.body, whole.trailers, True)
        assert [event for event in line.sink.events if event != "body"] == [event for event in whole.events if event != "body"]


@hypothesis.given(response=st.sampled_from(RESPONSES), at=st.integers(0, 200), junk=st.binary(max_size=12), cut=st.integers(1, 40))
def test_whatever_an_upstream_sends_nothing_is_raised_and_it_ends_once(response, at, junk, cut):
    """One end, or one error, and then silence."""
    line = Line()
    data = response[:at] + junk + response[at:]
    line.gets(*(data[start : start + cut] for start in range(0, len(data), cut)), None)
    ends = [event for event in line.sink.events if event in ("end", "upstream_closed", "upstream_malformed")]
    assert len(ends) == 1
    assert line.transport.lost

"""The trace of one exchange: its place among the spans of others, and what is noted of its way.

There is one only where `tracing` is configured, or where a request is to be explained (`explanation`). Each attempt has a
span of its own, and tells the instance its id; a request whose trace is not recorded passes the trace on all the same, or
it would be torn.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from lbgateway.dataplane.access_records import client_of, user_agent
from lbgateway.dataplane.request_ids import draw
from lbgateway.dataplane.trace_context import SAMPLED, TRACEPARENT, TRACESTATE, bound_of, is_below, parent_line, parent_of
from lbgateway.telemetry.metrics import METHOD_LABELS
from lbgateway.telemetry.span_records import AttemptRecord, PickRecord, TraceRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from balancers.endpoint import Outcome
    from lbgateway.dataplane.exchange import Exchange
    from lbgateway.dataplane.head import RequestHead
    from lbgateway.dataplane.history import Pick
    from lbgateway.dataplane.route import Route
    from lbgateway.dataplane.trace_context import Parent
    from lbgateway.dataplane.upstream import Upstream
    from lbgateway.errors import GatewayError

    Sink = Callable[[TraceRecord], None]
    """Takes what is to be exported; never waits, never fails."""


class Tracing:
    """Which requests are traced, and where what is recorded goes. `sample` (0..1): the share of traces that begin here."""

    __slots__ = ("_bound", "_sink")

    def __init__(self, sample: float, sink: Sink) -> None:
        self._bound = bound_of(sample)
        self._sink = sink

    def begin(self, head: RequestHead) -> Trace:
        """Go on with the trace that a request belongs to, as its parent decided; or begin one."""
        parent = parent_of(head.lines)
        if parent is not None:
            return Trace(parent.trace_id, parent, parent.flags, self._sink)
        trace_id = draw()
        return Trace(trace_id, None, SAMPLED if is_below(trace_id, self._bound) else 0, self._sink)


class Trace:
    """Of one exchange."""

    __slots__ = (
        "_head",
        "_parent",
        "_picking_since_s",
        "_sink",
        "attempts",
        "explained",
        "flags",
        "picks",
        "reasons",
        "replaced",
        "span_id",
        "trace_id",
    )

    def __init__(self, trace_id: bytes | None, parent: Parent | None, flags: int, sink: Sink | None) -> None:
        # for life
        self.trace_id = trace_id
        """None where nothing is traced, and the request only explained."""
        self.flags = flags
        self.explained = False
        self.span_id = draw()[:16]
        """Of the exchange as a whole."""
        self.replaced = () if trace_id is None else (TRACEPARENT,) if parent is not None else (TRACEPARENT, TRACESTATE)
        """Fields of the client's that do not pass."""
        self._parent = parent
        self._sink = sink
        # as it goes
        self._head = b""
        """The request head that all attempts have in common."""
        self._picking_since_s = 0.0
        self.picks: list[PickRecord] = []
        self.reasons: list[Pick | None] = []
        """Of the picks, where they are to be explained; those of hedges are nobody's to give."""
        self.attempts: list[AttemptRecord] = []

    def __repr__(self) -> str:
        return f"<Trace {(self.trace_id or b'-').decode()} flags={self.flags:02x} picks={len(self.picks)} attempts={len(self.attempts)}>"

    @property
    def is_picking(self) -> bool:
        """Whether an instance is wanted, and none found yet."""
        return bool(self._picking_since_s)

    def picking(self, exchange: Exchange) -> None:
        """An instance is being chosen; that may have to wait."""
        self._picking_since_s = self._picking_since_s or monotonic()
        if self.explained:
            exchange.upstream.recorder.tick()

    def picked(self, exchange: Exchange) -> None:
        """It has been: an attempt begins, whose span the instance shall know as its parent."""
        span_id, endpoint = draw()[:16], exchange.endpoint
        if self.trace_id is not None:
            self._head = self._head or exchange.request_bytes
            exchange.request_bytes = self._head[:-2] + parent_line(self.trace_id, span_id, self.flags) + b"\r\n"
        if self.explained:
            known = endpoint.remembers().picks
            self.reasons.append(known[-1] if known and known[-1].at_s == exchange.sent_at_s else None)
        if self.flags & SAMPLED or self.explained:
            self._note_pick(exchange, endpoint.id)
            pool = endpoint.pool
            exchange.attempt = AttemptRecord(span_id, monotonic(), endpoint.id, pool.host, pool.port)

    def _note_pick(self, exchange: Exchange, chosen: str | None) -> None:
        now_s, upstream, endpoints = monotonic(), exchange.upstream, exchange.upstream.endpoints
        began_s, self._picking_since_s = self._picking_since_s or now_s, 0.0
        ready = len(endpoints.ready)
        self.picks.append(PickRecord(draw()[:16], began_s, now_s, upstream.balancer_name, ready, endpoints.panic, chosen))

    def end_attempt(self, attempt: AttemptRecord, outcome: Outcome, error: GatewayError | None, now_s: float) -> None:
        """An attempt has ended, whatever has become of it."""
        attempt.ended_s = now_s
        attempt.outcome = outcome.value
        attempt.slug = None if error is None else error.slug
        self.attempts.append(attempt)

    def end(self, exchange: Exchange, now_s: float) -> None:
        """The exchange is settled."""
        if self._sink is None or self.trace_id is None or not self.flags & SAMPLED:
            return
        if self._picking_since_s:
            self._note_pick(exchange, None)
        self._sink(self._record(exchange, self.trace_id, now_s))

    def _record(self, exchange: Exchange, trace_id: bytes, now_s: float) -> TraceRecord:
        head, error, parent, client = exchange.head, exchange.error, self._parent, exchange.downstream
        route: Route | None = exchange.route
        upstream: Upstream | None = exchange.upstream
        return TraceRecord(
            trace_id, self.span_id, None if parent is None else parent.span_id, self.flags,
            b"" if parent is None else parent.state, exchange.started_s, now_s, exchange.request_id, client_of(client, head),
            head.method.decode(), head.method in METHOD_LABELS, "https" if exchange.secure else "http", head.hosts or b"", head.target,
            user_agent(head), None if route is None else route.label, None if upstream is None else upstream.name,
            exchange.status, None if error is None else error.slug, tuple(self.picks), tuple(self.attempts),
        )  # fmt: skip

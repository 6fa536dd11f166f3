"""Records of exchanges as OpenTelemetry spans: one for the exchange, below it one for each pick and each attempt.

Names and attributes follow OpenTelemetry's stable semantic conventions for HTTP; what only the gateway knows begins with
``lbgateway.``. Imported only where `tracing` is configured, by the thread that exports: it takes a while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from lbgateway.telemetry.access_line import MAX_AGENT_BYTES, safe_target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan

    from lbgateway.telemetry.span_records import AttemptRecord, PickRecord, TraceRecord

    Attributes = Mapping[str, str | int | bool | None]

NANOSECONDS = 1_000_000_000
OTHER = "_OTHER"
"""What the conventions say for a method that HTTP does not define: names must not be a client's to choose."""


class Spans:
    """Makes spans; `version` and `instance_id` say whose they are."""

    def __init__(self, version: str, instance_id: str) -> None:
        self._ids = _GivenIds()
        self._ended = _Ended()
        resource = Resource.create({"service.name": "lbgateway", "service.version": version, "service.instance.id": instance_id})
        provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False, id_generator=self._ids)
        provider.add_span_processor(self._ended)
        self._tracer = provider.get_tracer("lbgateway", version)

    def of(self, record: TraceRecord, wall_offset_s: float) -> list[ReadableSpan]:
        """All spans of one exchange. `wall_offset_s` turns monotonic into epoch seconds."""
        self._ids.trace_id = int(record.trace_id, 16)
        method = record.method if record.known_method else "HTTP"
        name = f"{method} {record.route}" if record.route else method
        span = _Span(name, SpanKind.SERVER, record.span_id, record.began_s, record.ended_s)
        failed = record.slug or (str(record.status) if record.status >= 500 else None)
        bad = record.status >= 500 or (record.slug is not None and not 400 <= record.status < 500)
        below = self._make(span, _parent(record), _exchange_attributes(record, failed), wall_offset_s, failed=bad)
        for pick in record.picks:
            span = _Span("pick", SpanKind.INTERNAL, pick.span_id, pick.began_s, pick.ended_s)
            self._make(span, below, _pick_attributes(record, pick), wall_offset_s, failed=pick.endpoint is None)
        for number, attempt in enumerate(record.attempts):
            span = _Span(method, SpanKind.CLIENT, attempt.span_id, attempt.began_s, attempt.ended_s)
            failed = attempt.slug or (str(attempt.status) if attempt.status >= 400 else None)
            self._make(span, below, _attempt_attributes(record, attempt, number, failed), wall_offset_s, failed=failed is not None)
        return self._ended.take()

    def _make(self, span: _Span, parent: Context, attributes: Attributes, wall_offset_s: float, *, failed: bool) -> Context:
        self._ids.span_id = int(span.span_id, 16)
        known = {name: value for name, value in attributes.items() if value is not None}
        made = self._tracer.start_span(
            span.name, parent, span.kind, known, start_time=round((span.began_s + wall_offset_s) * NANOSECONDS)
        )  # fmt: skip
        if failed:
            made.set_status(StatusCode.ERROR)
        made.end(round((max(span.ended_s, span.began_s) + wall_offset_s) * NANOSECONDS))
        return set_span_in_context(made)


class _Span(NamedTuple):
    name: str
    kind: SpanKind
    span_id: bytes
    began_s: float
    ended_s: float


class _GivenIds(IdGenerator):
    """Gives out the ids that the gateway has drawn already, and has told to others."""

    def __init__(self) -> None:
        self.trace_id = self.span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class _Ended(SpanProcessor):
    """Keeps what has ended until somebody takes it."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)

    def take(self) -> list[ReadableSpan]:
        spans, self._spans = self._spans, []
        return spans


def _parent(record: TraceRecord) -> Context:
    """The span of whoever has asked. None is not the same as no context: that would be the thread's current one."""
    if record.parent_id is None:
        return set_span_in_context(NonRecordingSpan(SpanContext(0, 0, is_remote=False)))
    state = TraceState.from_header([record.state.decode("latin-1")]) if record.state else None
    ids = (int(record.trace_id, 16), int(record.parent_id, 16))
    return set_span_in_context(NonRecordingSpan(SpanContext(*ids, is_remote=True, trace_flags=TraceFlags(record.flags), trace_state=state)))


def _exchange_attributes(record: TraceRecord, failed: str | None) -> Attributes:
    path, _, query = safe_target(record.target).decode("latin-1").partition("?")
    return {
        "http.request.method": record.method if record.known_method else OTHER,
        "http.request.method_original": None if record.known_method else record.method,
        "http.response.status_code": record.status,
        "http.route": record.route,
        "url.scheme": record.scheme,
        "url.path": path,
        "url.query": query or None,
        "server.address": record.host.decode("latin-1") or None,
        "client.address": record.client,
        "user_agent.original": record.user_agent[:MAX_AGENT_BYTES].decode("latin-1") or None,
        "error.type": failed,
        "lbgateway.service": record.service,
        "lbgateway.request_id": record.request_id.decode("latin-1"),
        "lbgateway.attempts": len(record.attempts),
    }


def _pick_attributes(record: TraceRecord, pick: PickRecord) -> Attributes:
    return {
        "lbgateway.service": record.service,
        "lbgateway.endpoint": pick.endpoint,
        "lbgateway.balancer": pick.balancer,
        "lbgateway.ready": pick.ready,
        "lbgateway.panic": pick.panic,
    }


def _attempt_attributes(record: TraceRecord, attempt: AttemptRecord, number: int, failed: str | None) -> Attributes:
    return {
        "http.request.method": record.method if record.known_method else OTHER,
        "http.request.resend_count": number or None,
        "http.response.status_code": attempt.status or None,
        "server.address": attempt.address,
        "server.port": attempt.port,
        "error.type": failed,
        "lbgateway.service": record.service,
        "lbgateway.endpoint": attempt.endpoint,
        "lbgateway.outcome": attempt.outcome,
    }

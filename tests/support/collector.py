"""A collector of spans: a real OTLP/HTTP server in a thread of the test's process, which reads OpenTelemetry's own messages."""

from __future__ import annotations

import gzip
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.http_thread import HttpThread, Quiet
from tests.support.launch import wait_until

WITHIN_S = 15.0
KINDS = {Span.SPAN_KIND_SERVER: "server", Span.SPAN_KIND_CLIENT: "client", Span.SPAN_KIND_INTERNAL: "internal"}


class Received(NamedTuple):
    """One span, as a test wants to read it; ids in hexadecimal."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    """Empty for the root of a trace."""
    state: str
    began_ns: int
    ended_ns: int
    failed: bool
    attributes: dict[str, Any]
    resource: dict[str, Any]


class Collector(HttpThread):
    """Takes what comes to ``/v1/traces``, at `url`; `status` is what it answers."""

    def __init__(self) -> None:
        super().__init__()
        self.url = f"http://127.0.0.1:{self.port}"
        self.status = 200
        self.spans: list[Received] = []
        self.headers: list[dict[str, str]] = []
        self.messages = 0

    def gets(self, count: int) -> list[Received]:
        """Wait for so many spans; all that have come."""
        wait_until(lambda: len(self.spans) >= count, WITHIN_S, lambda: f"{len(self.spans)} of {count} spans have come: {self.spans}")
        return self.spans

    def named(self, kind: str) -> list[Received]:
        """Those of one kind, in the order in which they began."""
        return sorted((span for span in self.spans if span.kind == kind), key=lambda span: span.began_ns)

    def take(self, message: ExportTraceServiceRequest) -> None:
        for resource in message.resource_spans:
            about = _plain(resource.resource.attributes)
            self.spans += [_received(span, about) for scope in resource.scope_spans for span in scope.spans]

    def handler(self) -> type[Quiet]:
        collector = self

        class Handler(Quiet):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # noqa: N802 as http.server calls it
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.messages += 1
                collector.open.wait(30)
                right = (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/x-protobuf")
                status = collector.status if right else 404
                if status == 200:
                    collector.headers.append(dict(self.headers))
                    plain = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
                    collector.take(ExportTraceServiceRequest.FromString(plain))
                self.answer(ExportTraceServiceResponse().SerializeToString(), "application/x-protobuf", status)

        return Handler


def _received(span: Span, resource: dict[str, Any]) -> Received:
    return Received(
        span.name,
        KINDS[span.kind],
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.trace_state,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code == 2,
        _plain(span.attributes),
        resource,
    )


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}

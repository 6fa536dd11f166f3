"""Spans on their way to a collector: a bounded queue on the request path, all the rest on a thread of its own.

Making the spans of an exchange costs some 40 us, an append 0.1 us. The thread shares the interpreter with the event
loop, so it works in small batches and naps between them. A collector that is away costs the requests nothing: what it
does not take in time is dropped and counted.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
import uuid
from collections import deque
from contextvars import copy_context
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import ReadableSpan

    from lbgateway.telemetry.span_records import TraceRecord
    from lbgateway.telemetry.spans import Spans

log = structlog.get_logger("lbgateway")

QUEUE_SIZE = 4096
"""Exchanges; some 10 MiB at most."""
BATCH = 10
"""Exchanges between two naps: about half a millisecond of work."""
NAP_S = 0.001
IDLE_S = 0.5
MOST_SPANS = 512
"""In one message to the collector, or a few more: those of an exchange stay together."""
TIMEOUT_S = 3.0
"""So long a message is tried again before it is dropped."""

PATH = "/v1/traces"
OUTCOMES = ("exported", "not_exported", "queue_full")
"""What may become of a span: `not_exported` is the collector's doing, `queue_full` its slowness, or too much for one thread."""


class SpanExport:
    """Takes records from one event loop and sends spans to the OTLP/HTTP collector at `url`, its base or its path for traces.

    `counts` gets a number for each of `OUTCOMES`. Headers, certificates and compression are what OpenTelemetry's own
    variables say (``OTEL_EXPORTER_OTLP_HEADERS`` and the like).
    """

    def __init__(
        self,
        url: str,
        counts: dict[str, int],
        version: str,
        *,
        size: int = QUEUE_SIZE,
        timeout_s: float = TIMEOUT_S,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        # for life
        self.url = url.rstrip("/") if url.rstrip("/").endswith(PATH) else url.rstrip("/") + PATH
        self._version = version
        self._size = size
        self._timeout_s = timeout_s
        self._monotonic = monotonic
        self._wall = wall
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._exporter: OTLPSpanExporter | None = None
        # `queue_full` is written by the loop's thread only, the others by the export's
        self._counts = counts
        counts.update({outcome: counts.get(outcome, 0) for outcome in OUTCOMES})
        self._queue: deque[TraceRecord] = deque()
        # the export's thread only
        self._failing = False
        self._heard = _Heard()

    def __repr__(self) -> str:
        return f"<SpanExport {self.url} queued={len(self._queue)}{' failing' if self._failing else ''}>"

    def append(self, record: TraceRecord) -> None:
        """Queue one finished exchange; never waits, never fails."""
        if len(self._queue) >= self._size:
            self._counts["queue_full"] += 1 + len(record.picks) + len(record.attempts)
        else:
            self._queue.append(record)

    def start(self) -> None:
        """Begin to export."""
        # In the context of whoever starts it: what is logged names the worker, too.
        self._thread = threading.Thread(target=copy_context().run, args=(self._run,), name="span-export", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 2.0) -> None:
        """Send what is queued and stop; gives up after `timeout_s`, for a collector that is away. Blocks: not for an event loop."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive() and self._exporter is not None:
                self._exporter.shutdown()  # type: ignore[no-untyped-call]  # it is not annotated
            self._thread = None

    def _run(self) -> None:
        # Here and not above: who traces nothing needs none of it, and who does should not wait for it.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 as said

        from lbgateway.telemetry.spans import Spans  # noqa: PLC0415 as said

        spans = Spans(self._version, f"{socket.gethostname()}:{uuid.uuid4().hex[:8]}")
        self._exporter = OTLPSpanExporter(endpoint=self.url, timeout=self._timeout_s)
        said = logging.getLogger(OTLPSpanExporter.__module__)
        said.addFilter(self._heard)
        try:
            while not self._stopping.wait(IDLE_S):
                self._export_queued(spans, self._exporter)
            self._export_queued(spans, self._exporter)
        finally:
            said.removeFilter(self._heard)
            self._exporter.shutdown()  # type: ignore[no-untyped-call]  # as above

    def _export_queued(self, spans: Spans, exporter: OTLPSpanExporter) -> None:
        """Empty the queue, message by message."""
        while self._queue:
            # The wall clock may be set; the offset is taken anew for each message, so spans follow it.
            offset_s = self._wall() - self._monotonic()
            made: list[ReadableSpan] = []
            while self._queue and len(made) < MOST_SPANS:
                for _ in range(min(BATCH, len(self._queue))):
                    made += spans.of(self._queue.popleft(), offset_s)
                time.sleep(NAP_S)
            self._settle(len(made), exported=exporter.export(made).name == "SUCCESS")

    def _settle(self, count: int, *, exported: bool) -> None:
        self._counts["exported" if exported else "not_exported"] += count
        if exported and self._failing:
            log.info("spans are exported again", url=self.url)
        elif not exported and not self._failing:
            log.warning("spans cannot be exported, and are dropped", url=self.url, reason=self._heard.last)
        self._failing = not exported


class _Heard(logging.Filter):
    """Keeps to itself what the exporter says with each message that fails: `SpanExport` tells it once."""

    last = ""

    def filter(self, record: logging.LogRecord) -> bool:
        self.last = record.getMessage()
        return False

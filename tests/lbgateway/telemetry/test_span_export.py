"""The way of spans to a collector: a real one, one that is away, slow or unwilling."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.testing import capture_logs

from lbgateway.telemetry.span_export import MOST_SPANS, OUTCOMES, SpanExport
from tests.lbgateway.telemetry.test_spans import PARENT, SPAN, TRACE, record
from tests.support.collector import Collector
from tests.support.launch import wait_until


def export_to(url: str, **more: float) -> tuple[SpanExport, dict[str, int]]:
    counts: dict[str, int] = {}
    return SpanExport(url, counts, "1.2.3", **more), counts  # type: ignore[arg-type]  # `size` and `timeout_s`


@pytest.mark.parametrize("path", ["", "/", "/v1/traces", "/v1/traces/"])
def test_a_collector_gets_every_span_of_what_was_appended(path: str):
    """At its base address or its path for traces, in OpenTelemetry's own message."""
    with Collector() as collector:
        export, counts = export_to(collector.url + path)
        export.start()
        for _ in range(10):
            export.append(record())
        collector.gets(30)
        export.close()

    [server, *_] = collector.named("server")
    assert (server.trace_id.encode(), server.span_id.encode(), server.parent_id.encode()) == (TRACE, SPAN, PARENT)
    assert (server.name, server.state, server.failed) == ("GET /api/{service}", "a=1,b=2", False)
    assert server.attributes["http.response.status_code"] == 200
    assert (server.resource["service.name"], server.resource["service.version"]) == ("lbgateway", "1.2.3")
    assert counts == {"exported": 30, "not_exported": 0, "queue_full": 0}


def test_closing_sends_what_is_queued():
    """In messages of a bounded size."""
    count = MOST_SPANS // 3 + 100
    with Collector() as collector:
        export, counts = export_to(collector.url)
        for _ in range(count):
            export.append(record())
        export.start()
        export.close(10.0)

        assert len(collector.spans) == counts["exported"] == 3 * count
        assert collector.messages == 2


def test_a_full_queue_drops_and_counts():
    """Memory stays bounded; appending never waits."""
    export, counts = export_to("http://127.0.0.1:1", size=2)

    for _ in range(5):
        export.append(record())

    assert counts == {"exported": 0, "not_exported": 0, "queue_full": 9}
    assert "queued=2" in repr(export)


def test_a_collector_that_is_away_is_told_of_once_and_used_again_when_it_is_back():
    """Meanwhile its spans are dropped and counted. What is told names the process, as everything does that it logs."""
    with bound_contextvars(worker=1), capture_logs([merge_contextvars]) as events, Collector() as collector:
        collector.stop()
        export, counts = export_to(collector.url, timeout_s=0.2)
        export.start()
        export.append(record())
        wait_until(lambda: counts["not_exported"] == 3, 15, lambda: str(counts))
        export.append(record())
        wait_until(lambda: counts["not_exported"] == 6, 15, lambda: str(counts))
        assert "failing" in repr(export)
        collector.start()
        export.append(record())
        collector.gets(3)
        export.close()

    told = [event for event in events if "spans" in event["event"]]
    assert [event["log_level"] for event in told] == ["warning", "info"]
    assert told[0]["url"] == collector.url + "/v1/traces"
    assert told[0]["reason"]
    assert [event.get("worker") for event in told] == [1, 1]
    assert counts == {"exported": 3, "not_exported": 6, "queue_full": 0}


def test_a_collector_that_refuses_gets_each_message_once():
    """What it says is no matter of time is not tried again."""
    with Collector() as collector:
        collector.status = 400
        export, counts = export_to(collector.url)
        export.start()
        export.append(record())
        wait_until(lambda: counts["not_exported"] == 3, 15, lambda: str(counts))
        export.close()

        assert (collector.messages, collector.spans) == (1, [])


def test_a_collector_that_stands_still_holds_nobody_up():
    """Neither who appends nor who closes: the rest is dropped."""
    with Collector() as collector:
        collector.open.clear()
        export, _ = export_to(collector.url, size=10)
        export.start()
        export.append(record())
        wait_until(lambda: collector.messages == 1, 15, lambda: "nothing has come")
        for _ in range(20):
            export.append(record())
        closing = threading.Thread(target=export.close, args=(0.1,))
        closing.start()
        closing.join(10)

        assert not closing.is_alive()


def test_its_headers_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    """OpenTelemetry's own variables say what a collector wants beside spans: a key, say."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=abc")
    with Collector() as collector:
        export, _ = export_to(collector.url)
        export.start()
        export.append(record())
        collector.gets(3)
        export.close()

        assert {name.lower(): value for name, value in collector.headers[0].items()}["x-key"] == "abc"


def test_opentelemetry_is_imported_by_who_exports_alone():
    """A gateway that traces nothing starts without its exporter, and what that brings along."""
    code = (
        "import sys, lbgateway.runtime\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.exporter', 'google', 'lbgateway.telemetry.spans'))])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_outcomes_are_all_there_from_the_beginning():
    """An alert needs a series that exists; a reload counts on."""
    counts = {"exported": 5}
    SpanExport("http://127.0.0.1:1", counts, "1")

    assert counts == {"exported": 5, **dict.fromkeys(OUTCOMES[1:], 0)}

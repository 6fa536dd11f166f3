"""Traces of a gateway process at a real collector: over SIGHUP, beside the access log, and while the collector is away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.collector import Collector
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.upstream_server import UpstreamServer, UpstreamThread, answer, echo, scripted

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=opaque"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


def config(upstream: UpstreamServer, *others: UpstreamServer, otlp: str | None = None, sample: float = 1.0, **more: Any) -> dict[str, Any]:
    instances = [each.address for each in (upstream, *others)]
    tracing = {"tracing": {"otlp": otlp, "sample": sample}} if otlp is not None else {}
    services = {"orders": {"instances": instances, "balancer": "round_robin", **more}}
    return {"discovery": {"provider": "static"}, "auth": {"default": "none"}, "services": services, **tracing}


def heard(body: bytes) -> list[str]:
    """The ``traceparent`` fields that the instance got."""
    return [value for name, value in json.loads(body)["headers"] if name.lower() == "traceparent"]


def spans_counted(gateway: GatewayProcess) -> dict[str, float]:
    lines = [line for line in gateway.get("/metrics")[1].decode().splitlines() if line.startswith("lbgateway_spans_total{")]
    return {line.partition('outcome="')[2].partition('"')[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_a_request_is_one_trace_from_its_client_to_its_instance(collector: Collector) -> None:
    """The collector gets the span that the instance was told of, below the client's; the access log names the trace."""
    with UpstreamThread(echo) as upstream, GatewayProcess(config(upstream, otlp=collector.url)) as gateway:
        status, body = gateway.get("/api/orders/1?x=2", GIVEN)
        collector.gets(3)
        [server], [pick], [client] = (collector.named(kind) for kind in ("server", "internal", "client"))
        assert status == 200
        assert heard(body) == [f"00-{TRACE}-{client.span_id}-01"]
        assert ("tracestate", "vendor=opaque") in upstream.requests[0].headers
        assert {span.trace_id for span in (server, pick, client)} == {TRACE}
        assert (server.parent_id, pick.parent_id, client.parent_id) == (SPAN, server.span_id, server.span_id)
        assert server.state == "vendor=opaque"
        assert server.began_ns <= client.began_ns <= client.ended_ns <= server.ended_ns
        assert (client.attributes["server.port"], client.attributes["http.response.status_code"]) == (upstream.port, 200)
        assert spans_counted(gateway) == {"exported": 3, "not_exported": 0, "queue_full": 0}
        wait_until(lambda: TRACE in gateway.log(), 5, gateway.log)
        [line] = [json.loads(line) for line in gateway.log().splitlines() if TRACE in line]
        assert (line["trace_id"], line["trace_flags"], line["status"]) == (TRACE, "01", 200)


def test_another_attempt_is_another_span(collector: Collector) -> None:
    """Both below the exchange's, which went well in the end."""
    bad = answer(b"", status="503 Service Unavailable")
    with UpstreamThread(scripted(bad)) as one, UpstreamThread(echo) as other:
        with GatewayProcess(config(one, other, otlp=collector.url)) as gateway:
            while not one.requests:
                assert gateway.get("/api/orders/1")[0] == 200
            told = one.requests[0].header("traceparent") or ""
            wait_until(lambda: any(span.span_id == told.split("-")[2] for span in collector.spans), 15, lambda: str(collector.spans))
        failed = next(span for span in collector.spans if span.span_id == told.split("-")[2])
        tried = [span for span in collector.named("client") if span.trace_id == failed.trace_id]
        server = next(span for span in collector.named("server") if span.trace_id == failed.trace_id)
        assert [(span.failed, span.attributes["http.response.status_code"]) for span in tried] == [(True, 503), (False, 200)]
        assert tried[1].attributes["http.request.resend_count"] == 1
        assert (server.failed, server.attributes["lbgateway.attempts"]) == (False, 2)
        assert server.parent_id == ""


def test_stopping_sends_what_has_been_recorded(collector: Collector) -> None:
    """The last requests of a gateway are in the traces, too."""
    with UpstreamThread(echo) as upstream, GatewayProcess(config(upstream, otlp=collector.url)) as gateway:
        for _ in range(20):
            gateway.get("/api/orders/1")
        assert gateway.stop() == 0
    assert len(collector.spans) == 60


def test_tracing_comes_and_goes_with_the_configuration(collector: Collector) -> None:
    """By SIGHUP; without it nothing is added, and what a client says passes as it came."""
    with UpstreamThread(echo) as upstream, GatewayProcess(config(upstream)) as gateway:
        assert heard(gateway.get("/api/orders/1")[1]) == []
        assert heard(gateway.get("/api/orders/1", GIVEN)[1]) == [GIVEN["traceparent"]]
        assert spans_counted(gateway) == {}
        gateway.reload(config(upstream, otlp=collector.url, sample=0.0))
        wait_until(lambda: len(heard(gateway.get("/api/orders/1")[1])) == 1, 10, gateway.story)
        assert heard(gateway.get("/api/orders/1")[1])[0].endswith("-00")
        gateway.reload(config(upstream))
        wait_until(lambda: heard(gateway.get("/api/orders/1")[1]) == [], 10, gateway.story)
    assert collector.spans == []


def test_a_collector_that_is_away_costs_spans_and_nothing_else(collector: Collector) -> None:
    """Requests are answered, the log says so once, the metrics count what is lost, and the gateway stops as ever."""
    collector.stop()
    with UpstreamThread(echo) as upstream, GatewayProcess(config(upstream, otlp=collector.url)) as gateway:
        assert all(gateway.get("/api/orders/1")[0] == 200 for _ in range(10))
        wait_until(lambda: spans_counted(gateway)["not_exported"] > 0, 20, gateway.story)
        assert gateway.get("/api/orders/1")[0] == 200
        assert [event["event"] for event in gateway.events() if "spans" in event["event"]] == ["spans cannot be exported, and are dropped"]
        assert gateway.stop() == 0


def test_services_that_httpx_reaches_are_told_too(collector: Collector) -> None:
    """Also where the connection is made for the request."""
    with UpstreamThread(echo) as upstream:
        with GatewayProcess(config(upstream, otlp=collector.url, transport="httpx")) as gateway:
            told = [heard(gateway.get("/api/orders/1")[1]) for _ in range(3)]
            collector.gets(9)
        assert [[value.split("-")[2] for value in each] for each in told] == [[span.span_id] for span in collector.named("client")]

"""A service in a few numbers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from balancers.endpoint import EndpointState
from discovery.instance import InstanceState, Snapshot, SnapshotState
from discovery.static import static_instance
from lbgateway.config import load_text
from lbgateway.runtime import Gateway

FILE = "{auth: {default: none}, discovery: {provider: static}, services: {orders: {}}}"


async def test_a_summary_is_what_the_instances_come_to():
    """Counts and sums over all of them, and latencies of their attempts together; beside what the service's head says."""
    gateway = Gateway(load_text(FILE, "gateway.yaml", {}), asyncio.get_running_loop())
    instances = [static_instance("orders", "10.0.0.7", port, id=f"orders-{port}") for port in (9001, 9002, 9003)]
    instances[2] = replace(instances[2], state=InstanceState.CRITICAL)
    upstream = gateway.plane.upstreams["orders"]
    upstream.take(Snapshot("orders", 1, tuple(instances), 182, time.monotonic(), SnapshotState.FRESH), time.monotonic())
    upstream.requests_total, upstream.failures_total = 9, 2
    for number, endpoint in enumerate(upstream.endpoints.endpoints.values(), 1):
        endpoint.active = number
        endpoint.series.ejections["consecutive"] = number
        for _ in range(number):
            endpoint.series.record("ok", 0.001 if number < 3 else 1.0)

    summary, head = gateway.view.summary("orders"), gateway.view.service("orders")

    assert summary is not None
    assert head is not None
    assert summary.items() >= head.items()
    assert summary["states"] == {EndpointState.READY.value: 2, EndpointState.CRITICAL.value: 1}
    assert (summary["active_requests"], summary["ejections_total"]) == (6, 6)
    assert (summary["requests_total"], summary["failures_total"]) == (9, 2)
    latency = summary["latency_ms"]
    assert latency["p50"] is not None
    assert latency["p99"] is not None
    assert latency["p50"] <= 1.0
    assert latency["p99"] > 500.0
    assert gateway.view.summary("nobody") is None


async def test_a_service_without_instances_has_a_summary_too():
    """Zeros, and no latencies."""
    gateway = Gateway(load_text(FILE, "gateway.yaml", {}), asyncio.get_running_loop())
    summary = gateway.view.summary("orders")
    assert summary is not None
    assert (summary["states"], summary["active_requests"]) == ({}, 0)
    assert summary["latency_ms"] == {"p50": None, "p99": None}

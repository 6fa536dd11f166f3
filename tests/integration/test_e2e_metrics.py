"""``/metrics`` beside real traffic: names, counts, and labels that no client can make up."""

from __future__ import annotations

import http.client
import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.consul_server import ConsulServer
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.traffic import Instance, config_for
from tests.support.upstream_server import UpstreamThread, answer, fixed, hang

NAMES = {
    "lbgateway_requests_total",
    "lbgateway_request_duration_seconds_bucket",
    "lbgateway_requests_active",
    "lbgateway_upstream_requests_total",
    "lbgateway_upstream_duration_seconds_bucket",
    "lbgateway_upstream_seconds_total",
    "lbgateway_upstream_active",
    "lbgateway_upstream_connections",
    "lbgateway_retries_total",
    "lbgateway_breaker_state",
    "lbgateway_instances",
    "lbgateway_discovery_state",
    "lbgateway_discovery_age_seconds",
    "lbgateway_discovery_updates_total",
    "lbgateway_discovery_errors_total",
    "lbgateway_errors_total",
    "lbgateway_loop_lag_seconds",
    "lbgateway_build_info",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def gateway(consul_server: ConsulServer) -> Iterator[GatewayProcess]:
    with GatewayProcess(config_for(consul_server.url, services={"named": {}, "slow": {"timeout": {"response": "200ms"}}})) as process:
        yield process


def scrape(gateway: GatewayProcess) -> Samples:
    """Every sample; parsing refuses what Prometheus would."""
    status, text = gateway.get("/metrics")
    assert status == 200
    families = list(text_string_to_metric_families(text.decode()))
    names = [family.name for family in families]
    assert len(names) == len(set(names)), "a family appears twice"
    samples: Samples = {}
    for sample in (sample for family in families for sample in family.samples):
        key = (sample.name, frozenset(sample.labels.items()))
        assert key not in samples, f"twice: {key}"
        samples[key] = sample.value
    return samples


def value(samples: Samples, name: str, **labels: str) -> float | None:
    """The sum over all samples that have these labels, None if there are none."""
    found = [number for (each, pairs), number in samples.items() if each == name and labels.items() <= dict(pairs).items()]
    return sum(found) if found else None


def eventually(gateway: GatewayProcess, condition: Callable[[], object]) -> None:
    wait_until(lambda: bool(condition()), 5, gateway.story)


def test_counts_are_those_of_the_traffic(consul_server, gateway):
    """Requests by status, attempts by instance, times, retries and the gateway's own refusals."""
    breaking = fixed(answer(b"no", status="500 Broken"))
    with UpstreamThread(Instance("well")) as well, UpstreamThread(breaking) as broken, UpstreamThread(hang) as slow:
        consul_server.register("orders", well.port)
        consul_server.register("broken", broken.port)
        consul_server.register("slow", slow.port)
        dead_id = consul_server.register("dying", 1)
        eventually(gateway, lambda: [gateway.get(f"/api/{name}/")[0] for name in ("orders", "broken", "dying")] == [200, 500, 502])
        before = scrape(gateway)
        for _ in range(25):
            assert gateway.get("/api/orders/x")[0] == 200
        for _ in range(3):
            assert gateway.get("/api/broken/x")[0] == 500
        assert [gateway.get(f"/api/{name}/x")[0] for name in ("named", "absent", "slow", "dying")] == [503, 404, 504, 502]
        after = scrape(gateway)

        def grown(name: str, **labels: str) -> float:
            return (value(after, name, **labels) or 0) - (value(before, name, **labels) or 0)

        assert grown("lbgateway_requests_total", service="orders", method="GET", status="200") == 25
        assert grown("lbgateway_request_duration_seconds_count", service="orders") == 25
        assert grown("lbgateway_upstream_requests_total", endpoint=f"orders-{well.port}", outcome="ok") == 25
        assert grown("lbgateway_upstream_duration_seconds_count", service="orders") == 25
        assert 0 < grown("lbgateway_upstream_seconds_total", service="orders", endpoint=f"orders-{well.port}") < 5
        assert grown("lbgateway_requests_total", service="broken", status="500") == 3
        assert grown("lbgateway_upstream_requests_total", service="broken", outcome="failed_remote") >= 3
        assert grown("lbgateway_errors_total", reason="no_endpoint") == 1
        assert grown("lbgateway_errors_total", reason="no_route") == 1
        assert grown("lbgateway_requests_total", service="", method="GET", status="404") == 1
        assert grown("lbgateway_errors_total", reason="connect_failed") == 1
        assert grown("lbgateway_errors_total", reason="response_timeout") == 1
        assert grown("lbgateway_upstream_requests_total", endpoint=dead_id, outcome="failed_local") >= 1
        assert value(after, "lbgateway_instances", service="orders", state="ready") == 1
        assert value(after, "lbgateway_instances", service="named", state="ready") == 0
        assert value(after, "lbgateway_discovery_state", service="orders", state="fresh") == 1
        assert value(after, "lbgateway_requests_active") == 0
        assert value(after, "lbgateway_upstream_active", service="orders") == 0
        assert value(after, "lbgateway_upstream_connections", endpoint=f"orders-{well.port}", state="idle") == 1
        assert {name for name, _ in after} >= NAMES


def test_what_the_gateway_refuses_is_counted_wherever_it_is_refused():
    """By a policy for a service, without a route, as no request, and on the gateway's own paths; with the reason in the log."""
    config = {
        "auth": {"jwt": {"algorithms": ["HS256"], "secret": "a secret of thirty-two bytes or more"}},
        "discovery": {"provider": "static"},
        "services": {"orders": {"instances": ["127.0.0.1:1"]}},
    }
    refused = {"unauthenticated": 1, "no_route": 2, "bad_request": 1, "method_not_allowed": 1}
    with GatewayProcess(config) as gateway:
        assert gateway.get("/api/orders/")[0] == 401
        assert gateway.get("/nowhere")[0] == 404
        assert gateway.get("/a%2fb")[0] == 400
        assert gateway.get("/admin/nowhere")[0] == 404
        odd(gateway, "DELETE", "/health")
        samples = scrape(gateway)
        wait_until(lambda: "/metrics" in gateway.log(), 5, gateway.story)
        lines = [json.loads(line) for line in gateway.log().splitlines() if '"request_id"' in line]
    assert value(samples, "lbgateway_requests_total", route="/api/{service}", service="orders", method="GET", status="401") == 1
    assert value(samples, "lbgateway_requests_total", route="", service="", method="GET", status="404") == 1
    assert value(samples, "lbgateway_requests_total", route="", service="", method="GET", status="400") == 1
    assert {reason: value(samples, "lbgateway_errors_total", reason=reason) for reason in refused} == refused
    assert Counter(line["error"] for line in lines if line.get("error")) == refused


def test_the_series_of_an_instance_disappear_with_it(consul_server, gateway):
    """A deploy a day must not grow a scrape for ever; what the service has done as a whole is kept."""
    with UpstreamThread(Instance("stays")) as stays, UpstreamThread(Instance("goes")) as goes:
        consul_server.register("orders", stays.port)
        going = consul_server.register("orders", goes.port)
        eventually(gateway, lambda: {gateway.get("/api/orders/")[1] for _ in range(8)} == {b"stays", b"goes"})
        assert [name for name, labels in scrape(gateway) if ("endpoint", going) in labels]
        total = value(scrape(gateway), "lbgateway_requests_total", service="orders")
        consul_server.deregister(going)
        eventually(gateway, lambda: not [name for name, labels in scrape(gateway) if ("endpoint", going) in labels])
        assert value(scrape(gateway), "lbgateway_requests_total", service="orders") == total
        assert [name for name, labels in scrape(gateway) if ("endpoint", f"orders-{stays.port}") in labels]


def test_no_label_holds_what_a_client_made_up(consul_server, gateway):
    """Methods, hosts, paths, service names, header values: thousands of them leave no series behind."""
    with UpstreamThread(Instance("well")) as well:
        consul_server.register("orders", well.port)
        eventually(gateway, lambda: gateway.get("/api/orders/")[0] == 200)
        gateway.get("/api/nobody/")
        odd(gateway, "PROPFIND", "/api/orders/first")
        odd(gateway, "GET", "/api/orders/first", Host="madeup.example")
        odd(gateway, "CONNECT", "madeup.example:443")
        raw(gateway, b"MADEUP / HTTP/1.1\r\nHost: a b\r\n\r\n")
        series = len(scrape(gateway))
        for turn in range(50):
            odd(gateway, f"MADEUP{turn}", "/api/orders/")
            odd(gateway, "GET", f"/api/orders/madeup{turn}?madeup", Host=f"madeup{turn}.example", X_Request_Id=f"madeup{turn}")
            odd(gateway, "GET", f"/api/madeup{turn}/x")
            odd(gateway, "GET", f"/madeup{turn}")
            raw(gateway, b"MADEUP%d / HTTP/1.1\r\nHost: a b\r\n\r\n" % turn)
        samples = scrape(gateway)
        assert not [labels for _, labels in samples if any("madeup" in text.lower() for _, text in labels)]
        # The same kinds of answers again: more of each, no further kind.
        assert len(samples) <= series + 5
        assert value(samples, "lbgateway_requests_total", service="orders", method="other") is not None


def odd(gateway: GatewayProcess, method: str, path: str, **headers: str) -> None:
    """A request that http.client would rather not send."""
    fields = {"Host": "a", **{name.replace("_", "-"): text for name, text in headers.items()}, "Connection": "close"}
    lines = "".join(f"{name}: {text}\r\n" for name, text in fields.items())
    raw(gateway, f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode())


def raw(gateway: GatewayProcess, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as connection:
        connection.sendall(data)
        answered = http.client.HTTPResponse(connection)
        answered.begin()
        answered.read()

"""What a scrape shows, read back with Prometheus's own parser."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from discovery.errors import KINDS
from lbgateway.telemetry import exposition
from lbgateway.telemetry.exposition import BREAKER_STATES, EndpointNumbers, ServiceNumbers, render, slices
from lbgateway.telemetry.metrics import BOUNDS_S, EndpointSeries, Histogram, Metrics, RouteSeries


def answered(series: RouteSeries, method: str, status: int, seconds: float) -> None:
    """As an exchange does."""
    series.fresh.append((method, status))
    series.duration.fresh.append(seconds)


class View:
    """Numbers that a test has set."""

    version = "1.2.3"

    def __init__(self, *services: ServiceNumbers) -> None:
        self.metrics = Metrics()
        self._services = services

    def services(self) -> Sequence[ServiceNumbers]:
        return self._services


def endpoint(id: str, *, node: str = "n1", outcomes: dict[str, int] | None = None, **numbers: int) -> EndpointNumbers:  # noqa: A002 the registry's word
    series = EndpointSeries()
    series.add(outcomes or {}, [], 1.5)
    values = {"active": 0, "idle_connections": 0, "active_connections": 0} | numbers
    return EndpointNumbers(id=id, unique_id=f"{node}:{id}", series=series, **values)


def service(name: str, *endpoints: EndpointNumbers, **changes) -> ServiceNumbers:
    values = {"states": {"ready": len(endpoints)}, "duration": Histogram(), "breaker": "closed"}
    values |= {"discovery_state": "fresh", "discovery_age_s": 1.25}
    return ServiceNumbers(name=name, endpoints=endpoints, **(values | changes))


def samples(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample once; two with the same labels are an error, as they are to Prometheus."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"twice: {key}"
            found[key] = sample.value
    return found


def value(text: bytes, name: str, **labels: str) -> float:
    return samples(text)[name, frozenset(labels.items())]


def test_the_process_numbers_have_their_contract_names():
    """Counters end in _total, gauges do not, and the version is a label."""
    view = View()
    view.metrics.requests_active = 3
    view.metrics.loop_lag_s = 0.25
    view.metrics.connections_accepted = 9
    view.metrics.errors["no_route"] = 4
    view.metrics.auth_failures["expired"] = 5
    view.metrics.discovery_errors["timeout"] = 6

    text = render(view)

    assert value(text, "lbgateway_build_info", version="1.2.3") == 1
    assert value(text, "lbgateway_requests_active") == 3
    assert value(text, "lbgateway_loop_lag_seconds") == 0.25
    assert value(text, "lbgateway_connections_accepted_total") == 9
    assert value(text, "lbgateway_errors_total", reason="no_route") == 4
    assert value(text, "lbgateway_auth_failures_total", reason="expired") == 5
    assert value(text, "lbgateway_discovery_errors_total", kind="timeout") == 6


def test_consuls_connections_are_shown_where_there_is_a_consul():
    """A gauge that is always 0 would be a lie elsewhere."""
    view = View()
    assert b"lbgateway_discovery_slots_in_use" not in render(view)
    view.metrics.discovery_slots, view.metrics.discovery_swept = 81, True
    text = render(view)
    assert value(text, "lbgateway_discovery_slots_in_use") == 81
    assert value(text, "lbgateway_discovery_swept") == 1


def test_a_route_shows_its_answers_and_a_cumulative_histogram():
    """Buckets are counted one by one on the request path and become cumulative here."""
    view = View()
    series = view.metrics.route("/api/{service}", "orders")
    answered(series, "GET", 200, 0.0007)
    answered(series, "GET", 200, 0.3)
    answered(series, "other", 503, 100.0)
    labels = {"route": "/api/{service}", "service": "orders"}

    text = render(view)

    assert value(text, "lbgateway_requests_total", **labels, method="GET", status="200") == 2
    assert value(text, "lbgateway_requests_total", **labels, method="other", status="503") == 1
    name = "lbgateway_request_duration_seconds"
    assert value(text, f"{name}_bucket", **labels, le="0.0005") == 0
    assert value(text, f"{name}_bucket", **labels, le="0.001") == 1
    assert value(text, f"{name}_bucket", **labels, le="60") == 2
    assert value(text, f"{name}_bucket", **labels, le="+Inf") == 3
    assert value(text, f"{name}_count", **labels) == 3
    assert value(text, f"{name}_sum", **labels) == pytest.approx(100.3007)


def test_an_endpoint_shows_its_attempts_its_time_and_its_connections():
    """One series per endpoint and outcome, labelled with the instance's id."""
    one = endpoint("o-1", outcomes={"ok": 7, "failed_local": 2}, active=1, idle_connections=3, active_connections=1)
    view = View(service("orders", one))
    labels = {"service": "orders", "endpoint": "o-1"}

    text = render(view)

    assert value(text, "lbgateway_upstream_requests_total", **labels, outcome="ok") == 7
    assert value(text, "lbgateway_upstream_requests_total", **labels, outcome="failed_local") == 2
    assert value(text, "lbgateway_upstream_seconds_total", **labels) == 1.5
    assert value(text, "lbgateway_upstream_active", **labels) == 1
    assert value(text, "lbgateway_upstream_connections", **labels, state="idle") == 3
    assert value(text, "lbgateway_upstream_connections", **labels, state="active") == 1


def test_a_service_shows_every_state_even_those_that_no_instance_is_in():
    """An alert on ready == 0 works from the first scrape on."""
    text = render(View(service("orders", states={"critical": 2}, discovery_state="stale", discovery_age_s=12.5)))

    assert value(text, "lbgateway_instances", service="orders", state="critical") == 2
    assert value(text, "lbgateway_instances", service="orders", state="ready") == 0
    assert value(text, "lbgateway_discovery_state", service="orders", state="stale") == 1
    assert value(text, "lbgateway_discovery_state", service="orders", state="fresh") == 0
    assert value(text, "lbgateway_discovery_age_seconds", service="orders") == 12.5
    assert [value(text, "lbgateway_breaker_state", service="orders", state=each) for each in BREAKER_STATES] == [1, 0, 0]


def test_ejections_are_counted_by_their_reason():
    """A series appears with the first of them."""
    calm, bad = endpoint("o-1"), endpoint("o-2")
    bad.series.ejections["success_rate"] = 3
    text = render(View(service("orders", calm, bad)))

    assert value(text, "lbgateway_ejections_total", service="orders", endpoint="o-2", reason="success_rate") == 3
    assert b'lbgateway_ejections_total{endpoint="o-1"' not in text


def test_a_service_that_nothing_was_ever_heard_of_has_no_age():
    """No number is better than a made-up one."""
    text = render(View(service("orders", discovery_state=None, discovery_age_s=None)))

    assert ("lbgateway_discovery_age_seconds", frozenset({("service", "orders")})) not in samples(text)
    assert value(text, "lbgateway_discovery_state", service="orders", state="fresh") == 0


def test_every_kind_of_discovery_error_is_shown_before_it_happens():
    """A rate over a series that begins with 1 is 0."""
    view = View()
    view.metrics.discovery_errors["unreachable"] = 3

    text = render(view)

    shown = {dict(labels)["kind"]: number for (name, labels), number in samples(text).items() if name == "lbgateway_discovery_errors_total"}
    assert shown == {**dict.fromkeys(KINDS, 0), "unreachable": 3}


def test_retries_hedges_and_updates_are_counted_by_service():
    """They are kept in the process's numbers and shown with the service as label; updates of those that exist."""
    view = View(service("orders"), service("quiet"))
    view.metrics.discovery_updates["gone"] = 1
    view.metrics.retries["orders", "connect"] = 2
    view.metrics.hedges["orders"] = 4
    view.metrics.discovery_updates["orders"] = 8

    text = render(view)

    assert value(text, "lbgateway_retries_total", service="orders", reason="connect") == 2
    assert value(text, "lbgateway_hedges_total", service="orders") == 4
    assert value(text, "lbgateway_hedges_total", service="quiet") == 0
    assert value(text, "lbgateway_discovery_updates_total", service="orders") == 8
    assert value(text, "lbgateway_discovery_updates_total", service="quiet") == 0
    assert ("lbgateway_discovery_updates_total", frozenset({("service", "gone")})) not in samples(text)


def test_two_nodes_with_the_same_instance_id_get_two_series():
    """Prometheus refuses a scrape with a duplicate; only the ambiguous ids are made longer."""
    view = View(service("orders", endpoint("o-1", node="a", active=1), endpoint("o-1", node="b", active=2), endpoint("o-2")))

    text = render(view)

    assert value(text, "lbgateway_upstream_active", service="orders", endpoint="a:o-1") == 1
    assert value(text, "lbgateway_upstream_active", service="orders", endpoint="b:o-1") == 2
    assert value(text, "lbgateway_upstream_active", service="orders", endpoint="o-2") == 0


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from('\n"\\{}=,'), min_size=1))
def test_no_name_from_the_registry_can_break_the_text(name):
    """Whatever a service calls itself comes back from the parser unchanged."""
    text = render(View(service(name, endpoint(name, active=4))))

    assert value(text, "lbgateway_upstream_active", service=name, endpoint=name) == 4


def test_many_endpoints_come_in_slices_and_are_still_one_family():
    """HELP and TYPE appear once, no endpoint is lost, and no slice holds more than its share."""
    count = exposition.SLICE_ENDPOINTS * 2 + 1
    view = View(service("orders", *(endpoint(f"o-{n}", active=n) for n in range(count))))

    pieces = list(slices(view))
    text = b"".join(pieces)

    assert text.count(b"# TYPE lbgateway_upstream_active gauge\n") == 1
    assert text.count(b"\nlbgateway_upstream_active{") == count
    assert len(samples(text)) > count
    assert max(piece.count(b"\nlbgateway_upstream_active{") for piece in pieces) <= exposition.SLICE_ENDPOINTS


def test_an_idle_gateway_still_names_its_endpoint_families():
    """A scrape before the first service describes what will come."""
    text = render(View())

    assert b"# TYPE lbgateway_upstream_requests_total counter\n" in text
    assert b"# TYPE lbgateway_upstream_connections gauge\n" in text


def test_the_buckets_are_the_bounds_in_seconds():
    """Each bound of the histograms is one label, and one more holds the rest."""
    view = View(service("orders"))

    bounds = {dict(labels)["le"] for name, labels in samples(render(view)) if name == "lbgateway_upstream_duration_seconds_bucket"}

    assert sorted(map(float, bounds)) == [*BOUNDS_S, float("inf")]

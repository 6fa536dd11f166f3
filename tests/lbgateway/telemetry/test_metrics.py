"""Plain numbers: what is counted where, and what a quantile makes of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.telemetry.metrics import BOUNDS_S, METHOD_LABELS, METHODS, EndpointSeries, Histogram, Metrics, quantile


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.0, 0), (0.0005, 0), (0.00051, 1), (0.001, 1), (60.0, len(BOUNDS_S) - 1), (60.1, len(BOUNDS_S)), (1e9, len(BOUNDS_S))],
)
def test_a_bound_belongs_to_its_own_bucket(seconds, bucket):
    """Prometheus's ``le`` is less or equal; what is beyond all bounds has a bucket too."""
    histogram = Histogram()

    histogram.observe(seconds)

    assert histogram.counts.index(1) == bucket
    assert (histogram.count, histogram.sum_s) == (1, seconds)


@given(st.lists(st.floats(0, 120), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(samples, q):
    """As exact as the bounds are, never further off."""
    histogram = Histogram()
    for seconds in samples:
        histogram.observe(seconds)

    estimate = histogram.quantile(q)
    rank = max(0, -int(-(q * len(samples)) // 1) - 1)
    true = sorted(samples)[rank]
    low = max((bound for bound in BOUNDS_S if bound < true), default=0.0)
    high = min((bound for bound in BOUNDS_S if bound >= true), default=BOUNDS_S[-1])

    assert min(low, high) - 1e-9 <= estimate <= high + 1e-9


def test_no_samples_have_no_quantile():
    """None, not zero: nothing is known."""
    assert quantile([0] * 17, 0.5) is None
    assert Histogram().quantile(0.99) is None
    assert EndpointSeries().quantile(0.5) is None


def test_a_quantile_is_interpolated_within_its_bucket():
    """Half of the samples of the bucket from 10 to 25 ms lie below its middle."""
    histogram = Histogram()
    for _ in range(10):
        histogram.observe(0.02)

    assert histogram.quantile(0.5) == pytest.approx(0.0175)


def test_a_route_counts_by_method_and_status():
    """One histogram for all of them."""
    series = Metrics().route("/api/{service}", "orders")

    series.record("GET", 200, 0.002)
    series.record("GET", 200, 0.002)
    series.record("POST", 503, 0.002)

    assert series.requests == {("GET", 200): 2, ("POST", 503): 1}
    assert series.duration.count == 3
    assert series.duration.sum_s == pytest.approx(0.006)


def test_a_route_keeps_its_series_over_reloads():
    """Counters that start again would look like a restart."""
    metrics = Metrics()

    assert metrics.route("/a", "orders") is metrics.route("/a", "orders")
    assert metrics.route("/a", "orders") is not metrics.route("/a", "users")


def test_a_route_that_is_gone_takes_its_series_along():
    """A dashboard must not show it for ever."""
    metrics = Metrics()
    kept = metrics.route("/a", "orders")
    metrics.route("/b", "orders")
    metrics.keep_routes({"/a", "/c"})
    assert metrics.routes == {("/a", "orders"): kept}


def test_an_endpoint_s_latencies_are_forgotten_and_its_totals_are_not():
    """After two rotations nothing old is left in the window."""
    series = EndpointSeries()
    series.record("ok", 0.02)

    series.rotate()
    within = series.quantile(0.5)
    series.rotate()
    after = series.quantile(0.5)

    assert within == pytest.approx(0.0175)
    assert after is None
    assert (series.total, series.outcomes, series.seconds_sum) == (1, {"ok": 1}, 0.02)


def test_methods_become_labels_only_if_they_are_known():
    """A client must not be able to make up series."""
    assert set(METHOD_LABELS.values()) == METHODS
    assert b"BREW" not in METHOD_LABELS

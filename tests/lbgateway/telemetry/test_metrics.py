"""Plain numbers: what is counted where, and what a quantile makes of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.telemetry.metrics import BOUNDS_S, FEW, METHOD_LABELS, METHODS, EndpointSeries, Histogram, Metrics, RouteSeries, quantile


def answered(series: RouteSeries, method: str, status: int, seconds: float) -> None:
    """As an exchange does."""
    series.fresh.append((method, status))
    series.duration.fresh.append(seconds)


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.0, 0), (0.0005, 0), (0.00051, 1), (0.001, 1), (60.0, len(BOUNDS_S) - 1), (60.1, len(BOUNDS_S)), (1e9, len(BOUNDS_S))],
)
def test_a_bound_belongs_to_its_own_bucket(seconds, bucket):
    """Prometheus's ``le`` is less or equal; what is beyond all bounds has a bucket too."""
    histogram = Histogram()

    histogram.fresh.append(seconds)

    assert histogram.counts.index(1) == bucket
    assert (histogram.count, histogram.sum_s) == (1, seconds)


@given(st.lists(st.floats(0, 120), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(samples, q):
    """As exact as the bounds are, never further off."""
    histogram = Histogram()
    for seconds in samples:
        histogram.fresh.append(seconds)

    estimate = histogram.quantile(q)
    rank = max(0, -int(-(q * len(samples)) // 1) - 1)
    true = sorted(samples)[rank]
    low = max((bound for bound in BOUNDS_S if bound < true), default=0.0)
    high = min((bound for bound in BOUNDS_S if bound >= true), default=BOUNDS_S[-1])

    assert min(low, high) - 1e-9 <= estimate <= high + 1e-9


@given(st.lists(st.one_of(st.floats(0, 120), st.sampled_from(BOUNDS_S)), max_size=3 * FEW))
def test_many_samples_at_once_are_counted_like_one_after_the_other(samples):
    """Whoever looks in between, and however many have come by then."""
    at_once, looked_at = Histogram(), Histogram()
    at_once.fresh.extend(samples)
    for seconds in samples:
        looked_at.fresh.append(seconds)
        assert looked_at.count > 0

    assert at_once.counts == looked_at.counts
    assert at_once.count == len(samples)
    assert at_once.sum_s == pytest.approx(looked_at.sum_s)
    assert at_once.fresh == []


def test_an_endpoint_counts_its_answers_when_somebody_looks():
    """Total, outcomes, seconds and the window are one and the same samples; those of others are added."""
    series = EndpointSeries()
    series.answered += [0.002] * 20
    series.record("failed_local", 0.5)
    series.add({"ok": 2, "abandoned": 1}, [[2, 3]], 0.006)

    assert series.total == 24
    assert dict(series.outcomes) == {"ok": 22, "failed_local": 1, "abandoned": 1}
    assert series.seconds_sum == pytest.approx(0.546)
    assert (sum(series.recent), series.recent[2], sum(series.window())) == (24, 23, 24)
    assert series.answered == []


def test_no_samples_have_no_quantile():
    """None, not zero: nothing is known."""
    assert quantile([0] * 17, 0.5) is None
    assert Histogram().quantile(0.99) is None
    assert EndpointSeries().quantile(0.5) is None


def test_a_quantile_is_interpolated_within_its_bucket():
    """Half of the samples of the bucket from 10 to 25 ms lie below its middle."""
    histogram = Histogram()
    for _ in range(10):
        histogram.fresh.append(0.02)

    assert histogram.quantile(0.5) == pytest.approx(0.0175)


def test_a_route_counts_by_method_and_status():
    """One histogram for all of them."""
    series = Metrics().route("/api/{service}", "orders")

    answered(series, "GET", 200, 0.002)
    answered(series, "GET", 200, 0.002)
    answered(series, "POST", 503, 0.002)

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

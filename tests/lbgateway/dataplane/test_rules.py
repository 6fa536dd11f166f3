"""What an operator wants of one upstream."""

from __future__ import annotations

from lbgateway.dataplane.rules import UpstreamRules
from lbgateway.errors import BreakerOpen


def test_the_defaults_guard_nothing():
    """An upstream that nobody has configured behaves like a plain list of endpoints."""
    rules = UpstreamRules()
    assert (rules.outlier, rules.panic_threshold, rules.breaker) == (None, 0.0, None)
    assert (rules.fallback_service, rules.when_open) == (None, BreakerOpen)
    assert (rules.max_active, rules.max_connections, rules.max_pending, rules.hedge) == (None, None, 0, None)

"""Settings of a service as the rules that guard it."""

from __future__ import annotations

from balancers.outlier import OutlierRules
from lbgateway.dataplane.rules import CheckRules, UpstreamRules
from lbgateway.errors import BreakerOpen
from lbgateway.guarding import upstream_rules
from lbgateway.policies.circuit_breaker import BreakerRules
from lbgateway.policies.hedge import HedgeRules
from tests.lbgateway.config.reading import settings_of


def rules_of(text: str) -> UpstreamRules:
    return upstream_rules(settings_of(f"auth: {{default: none}}\nservices: {{orders: {{{text}}}}}").service("orders"))


def test_the_defaults_are_the_contracts():
    """The rules' own defaults are the same numbers, so that `balancers` can be used without a file."""
    rules = rules_of("")
    assert (rules.outlier, rules.panic_threshold, rules.breaker) == (OutlierRules(), 0.5, BreakerRules())
    assert (rules.fallback_service, rules.when_open) == (None, BreakerOpen)
    assert (rules.max_active, rules.max_connections, rules.max_pending, rules.hedge) == (None, 512, 0, None)


def test_every_key_arrives():
    """In seconds and shares."""
    rules = rules_of(
        "outlier: {consecutive_failures: 1, eject_for: 2s, max_eject_for: 3s, max_ejected: 0.4, success_rate: false}, panic_threshold: 0.1,"
        "breaker: {failure_ratio: 0.2, min_requests: 3, window: 4s, open_for: 5s, half_open_requests: 6, fallback: {service: archive}},"
        "hedge: {after: p99.5, at_most: 0.1}, slow_start: 9s, limits: {max_active: 7, max_connections: null, max_pending: 8}"
    )
    assert rules.outlier == OutlierRules(1, 2.0, 3.0, 0.4, success_rate=False)
    assert (rules.panic_threshold, rules.breaker) == (0.1, BreakerRules(0.2, 3, 4.0, 5.0, 6))
    assert rules.fallback_service == "archive"
    assert (rules.max_active, rules.max_connections, rules.max_pending) == (7, None, 8)
    assert (rules.slow_start_s, rules.hedge) == (9.0, HedgeRules(0.1, quantile=0.995))
    assert rules_of("hedge: {after: 50ms}").hedge == HedgeRules(0.05, after_s=0.05)


def test_a_health_check_is_asked_for_and_has_the_contract_s_numbers():
    """None without the key; without a path it is a TCP connection."""
    assert rules_of("").check is None
    assert rules_of("health_check: {}").check == CheckRules()
    given = "health_check: {path: /healthz, interval: 1s, timeout: 2s, unhealthy_after: 4, healthy_after: 5, expect: [200, 204]}"
    assert rules_of(given).check == CheckRules("/healthz", 1.0, 2.0, 4, 5, 200, 204)


def test_an_answer_of_the_operators_is_an_error_of_its_own():
    """The same one for the same answer, so that reloads do not pile them up."""
    text = "breaker: {fallback: {status: 200, body: '[]', content_type: text/plain}}"
    answer = rules_of(text).when_open
    assert (answer.status, answer.slug, answer.instead) == (200, "breaker_open", ("text/plain", b"[]"))
    assert rules_of(text).when_open is answer


def test_no_breaker_is_no_rule():
    """`breaker: null`."""
    assert rules_of("breaker: null").breaker is None

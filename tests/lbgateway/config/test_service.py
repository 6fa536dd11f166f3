"""`services`."""

import pytest

from tests.lbgateway.config.reading import errors_of, settings_of

BUILT = ("round_robin", "weighted", "least_connections", "random", "p2c", "ewma", "peak_ewma")


def test_the_defaults_are_the_contracts_where_the_feature_is_built():
    """Seconds and bytes."""
    service = settings_of("auth: {default: none}").service("orders")

    assert (service.scheme, service.transport, service.balancer) == ("http", "native", "ewma")
    assert service.timeout.model_dump() == {
        "connect": "1s", "response": "30s", "total": "1m", "idle": "1m", "tunnel_idle": "1h", "pool_idle": "4s",
    }  # fmt: skip
    assert service.panic_threshold == 0.5
    assert service.outlier.model_dump() == {
        "consecutive_failures": 5, "eject_for": "1s", "max_eject_for": "30s", "max_ejected": 0.5, "success_rate": True,
    }  # fmt: skip
    assert service.limits.model_dump() == {"max_active": None, "max_pending": None, "max_connections": 512, "adaptive": False}
    assert service.breaker is not None
    assert service.breaker.model_dump() == {
        "failure_ratio": 0.5, "min_requests": 20, "window": "10s", "open_for": "5s", "half_open_requests": 3, "fallback": None,
    }  # fmt: skip
    assert service.retry.model_dump() == {
        "attempts": 2, "on": ("connect", "reset", "timeout", "malformed", "500", "502", "503", "504"), "methods": "idempotent",
        "budget": 0.2, "min_per_second": 10, "backoff": "25ms", "per_try_timeout": None, "replay_body_up_to": "64KiB",
    }  # fmt: skip


def test_an_instance_is_a_text_or_a_map():
    """Short where there is nothing to say."""
    text = """
        auth: {default: none}
        discovery: {provider: static}
        services:
          orders:
            instances: ["127.0.0.1:9001", {address: "[::1]:9002", weight: 3, tags: [canary], meta: {a: 1}, zone: a}]
    """
    first, second = settings_of(text).services["orders"].instances

    assert (first.host, first.port, first.weight) == ("127.0.0.1", 9001, 1)
    assert (second.host, second.port, second.weight, second.tags, second.meta, second.zone) == (
        "::1",
        9002,
        3,
        ("canary",),
        {"a": "1"},
        "a",
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{instances: [9001]}", "services.orders.instances[0]: must be a map, such as {key: value}"),
        ("{instances: [nowhere]}", "services.orders.instances[0]: must be host:port, such as 127.0.0.1:9001"),
        ('{instances: [{address: "a:1", weight: -1}]}', "services.orders.instances[0].weight: must be at least 0"),
        ("{instances: [{weight: 1}]}", "services.orders.instances[0].address: is required"),
        (
            "{balancer: ewwma}",
            f"services.orders.balancer: must be one of {', '.join(BUILT)}; did you mean `ewma`?",
        ),
        ("{timeout: {conect: 1s}}", "services.orders.timeout.conect: unknown key; did you mean `connect`?"),
        ("{retry: {attempts: -1}}", "services.orders.retry.attempts: must be at least 0"),
        ("{retry: {methods: all}}", "services.orders.retry.methods: must be idempotent"),
        ("{health_check: {expect: [399, 200]}}", "services.orders.health_check: expect: the lowest status comes first: [200, 399]"),
        ("{health_check: {expect: [200]}}", "services.orders.health_check.expect[1]: is required"),
        ("{health_check: {expect: [200, 600]}}", "services.orders.health_check.expect[1]: must be at most 599"),
        ("{breaker: {fallback: {}}}", "services.orders.breaker.fallback: needs `service`, or `status` with `body`; not both"),
        ("{breaker: {fallback: {status: 204, body: x}}}", "services.orders.breaker.fallback: an answer of 204 has no body"),
        ("{breaker: {fallback: {status: 101}}}", "services.orders.breaker.fallback.status: must be at least 200"),
        ("{breaker: {fallback: {service: Orders}}}", "services.orders.breaker.fallback.service: a service cannot stand in for itself"),
        ("[]", "services.orders: must be a map, such as {key: value}"),
    ],
)
def test_mistakes_are_told(text, sentence):
    """One sentence, at the key."""
    assert errors_of(f"auth: {{default: none}}\nservices:\n  orders: {text}") == [f"gw.yaml:3: {sentence}"]


def test_a_service_needs_a_possible_name():
    """And two spellings of one name are one."""
    assert errors_of("auth: {default: none}\nservices: {a/b: {}}") == [
        "gw.yaml:2: services.a/b: not a service name: letters, digits, - _ . only"
    ]
    assert list(settings_of("auth: {default: none}\nservices: {Orders: {}}").services) == ["orders"]


@pytest.mark.parametrize("off", ["null", "false"])
def test_a_breaker_can_be_switched_off(off):
    """For one service, too, whatever holds for all."""
    settings = settings_of(f"auth: {{default: none}}\nservices: {{'*': {{breaker: {{window: 3s}}}}, orders: {{breaker: {off}}}}}")
    assert settings.service("orders").breaker is None
    assert settings.service("users").breaker is not None


@pytest.mark.parametrize("after", ["p50", "p95", "p99.9", "50ms", "1s"])
def test_a_second_attempt_begins_after_a_percentile_or_a_duration(after):
    """With the contract's defaults beside it; off is off."""
    hedge = settings_of(f"auth: {{default: none}}\nservices: {{orders: {{hedge: {{after: {after}}}}}}}").service("orders").hedge

    assert hedge is not None
    assert (hedge.after, hedge.at_most) == (after, 0.05)
    for off in ("null", "false"):
        assert settings_of(f"auth: {{default: none}}\nservices: {{orders: {{hedge: {off}}}}}").service("orders").hedge is None


@pytest.mark.parametrize(
    ("hedge", "key", "message"),
    [
        ("{after: p49}", "after", "a percentile must be from p50 to p99.9"),
        ("{after: p100}", "after", "a percentile must be from p50 to p99.9"),
        ("{after: 95}", "after", "must be a percentile of the service's latencies, such as p95, or a duration, such as 50ms"),
        ("{after: soon}", "after", "must be a percentile of the service's latencies, such as p95, or a duration, such as 50ms"),
        ("{after: 0s}", "after", "must be more than 0: with 0s every request would be sent twice"),
        ("{at_most: 1.5}", "at_most", "must be at most 1"),
    ],
)
def test_a_wrong_hedge_says_what_would_be_right(hedge, key, message):
    """At its line."""
    [error] = errors_of(f"auth: {{default: none}}\nservices:\n  orders:\n    hedge: {hedge}")

    assert f"gw.yaml:4: services.orders.hedge.{key}: " in error
    assert message in error

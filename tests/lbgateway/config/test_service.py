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
    assert (service.retry.attempts, service.retry.on, service.retry.replay_body_up_to) == (2, ("connect", "reset"), 65536)


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

"""Row by row: what is refused, and what says that the feature is off."""

import pytest

from lbgateway.config.availability import ROWS, Given, offered, unavailable, without_off
from tests.lbgateway.config.reading import errors_of, settings_of

SOME = {"any": "thing"}
OFF = (None, False, [], {}, "off")

EXAMPLES: dict[str, tuple[tuple[object, ...], tuple[object, ...]]] = {
    "server.workers": ((2, "auto"), (1, None)),
    "server.tls": ((SOME,), OFF),
    "server.proxy_protocol": ((True, "yes"), OFF),
    "server.deadline_header": (("X-Request-Timeout",), OFF),
    "discovery.provider": (("file", "dns"), ("consul", "static", "embedded", "nonsense")),
    "discovery.file": ((SOME,), OFF),
    "discovery.dns": ((SOME,), OFF),
    "discovery.consul.failover_datacenters": ((["dc2"],), OFF),
    "discovery.consul.snapshot": (("registry.json",), OFF),
    "discovery.consul.routes_from_tags": ((True,), OFF),
    "discovery.consul.allow_tag_keys": ((["auth"],), OFF),
    "discovery.consul.tag_prefixes": (({"orders": ["/shop"]},), OFF),
    "discovery.consul.feedback": ((SOME,), OFF),
    "discovery.consul.config_key": (("lbgateway/routes",), OFF),
    "discovery.consul.register": ((SOME,), OFF),
    "services.*.scheme": (("https",), ("http", "nonsense")),
    "services.*.transport": (("httpx",), ("native",)),
    "services.*.tls": ((SOME,), OFF),
    "services.*.balancer": (
        ("ring_hash", "maglev", "rendezvous", "prequal"),
        ("round_robin", "weighted", "least_connections", "random", "p2c", "ewma", "peak_ewma"),
    ),
    "services.*.hash_on": (("client",), OFF),
    "services.*.sticky": ((SOME,), OFF),
    "services.*.zone_aware": ((True,), OFF),
    "services.*.slow_start": (("10s",), ("0s", "0ms", None)),
    "services.*.probe_path": (("/probe",), OFF),
    "services.*.panic_threshold": ((0.5, 1), (0, 0.0, None)),
    "services.*.subsets": (([SOME],), OFF),
    "services.*.tiers": (([SOME],), OFF),
    "services.*.health_check": (({"path": "/healthz"},), OFF),
    "services.*.outlier": (
        ({"consecutive_failures": 5}, {"max_ejected": 0.5}, {"max_ejected": 0.5, "success_rate": False}),
        (*OFF, {"max_ejected": 0}, {"max_ejected": 0, "eject_for": "1s"}),
    ),
    "services.*.breaker": (({"failure_ratio": 0.5},), OFF),
    "services.*.limits.max_active": ((10,), OFF),
    "services.*.limits.max_pending": ((0, 10), OFF),
    "services.*.limits.max_connections": ((512,), OFF),
    "services.*.limits.adaptive": ((True,), OFF),
    "services.*.retry.on[]": (("timeout", "malformed", "500", "502", "503", "504", 503), ("connect", "reset", "nonsense")),
    "services.*.retry.budget": ((0.2,), OFF),
    "services.*.retry.min_per_second": ((10,), OFF),
    "services.*.retry.backoff": (("25ms",), OFF),
    "services.*.retry.per_try_timeout": (("1s",), OFF),
    "services.*.hedge": (({"after": "p95"},), OFF),
    "services.*.mirror": ((SOME,), OFF),
    "routes[].scopes": ((["orders:read"],), OFF),
    "routes[].rate_limit": (({"requests": 5},), OFF),
    "routes[].cors": ((SOME,), OFF),
    "routes[].cache": ((SOME,), OFF),
    "routes[].retry.on[]": (("timeout", "malformed", "500", "502", "503", "504"), ("connect", "reset")),
    "routes[].retry.budget": ((0.2,), OFF),
    "routes[].retry.min_per_second": ((10,), OFF),
    "routes[].retry.backoff": (("25ms",), OFF),
    "routes[].retry.per_try_timeout": (("1s",), OFF),
    "auth.jwt.algorithms[]": (("RS256", "PS512", "ES384", "EdDSA"), ("HS256", "HS384", "HS512", "none")),
    "auth.jwt.jwks_url": (("https://issuer.example/jwks",), OFF),
    "auth.jwt.public_key": (("-----BEGIN",), OFF),
    "auth.jwt.cookie": (("access_token",), OFF),
    "auth.session": ((SOME,), OFF),
    "auth.introspection": ((SOME,), OFF),
    "rate_limit.enabled": ((True, "on"), OFF),
    "rate_limit.store": (("redis://127.0.0.1",), ("memory",)),
    "rate_limit.on_store_failure": (("local", "open"), OFF),
    "rate_limit.default": (({"requests": 5},), OFF),
    "cors": ((SOME,), OFF),
    "security_headers": ((True, {}, SOME, None), (False, "no")),
    "cache": ((SOME,), OFF),
    "compression": ((SOME,), OFF),
    "oauth": ((SOME,), OFF),
    "spa": ((SOME,), OFF),
    "admin.listen": (("127.0.0.1:8081",), OFF),
    "logging.sample": ((0.5, 0), (1, 1.0)),
    "plugins": ((["package.module:Class"],), OFF),
    "tracing": ((SOME,), OFF),
}
"""By path: values that are refused, values that are accepted."""


def document(pattern: str, value: object) -> dict[str, object]:
    """The smallest document with `value` at a row's path."""
    root: object = value
    for step in reversed(pattern.replace("[]", ".[]").replace("*", "orders").split(".")):
        root = [root] if step == "[]" else {step: root}
    assert isinstance(root, dict)
    return root


def test_each_row_has_its_examples_and_stands_once():
    """A row that leaves the table takes its examples along."""
    assert [pattern for pattern, _ in ROWS] == list(EXAMPLES)


@pytest.mark.parametrize(("pattern", "value"), [(pattern, value) for pattern, (refused, _) in EXAMPLES.items() for value in refused])
def test_what_is_not_built_is_refused(pattern, value):
    """With the very words of the contract."""
    messages = [message for _, message in unavailable(document(pattern, value))]

    assert len(messages) == 1
    assert "not available in this version" in messages[0]


@pytest.mark.parametrize(("pattern", "value"), [(pattern, value) for pattern, (_, accepted) in EXAMPLES.items() for value in accepted])
def test_what_is_built_or_says_off_is_accepted(pattern, value):
    """Here; the schema may still have something to say."""
    assert list(unavailable(document(pattern, value))) == []


def test_the_path_of_a_refusal_leads_to_the_value():
    """Any service, any position."""
    root = {"services": {"*": {"breaker": {"window": "1s"}}, "b": {"retry": {"on": ["reset", "500"]}}}}

    assert list(unavailable(root)) == [
        (("services", "*", "breaker"), "not available in this version"),
        (("services", "b", "retry", "on", 1), "`500` is not available in this version"),
    ]


def test_values_are_named_only_where_they_come_from_a_list():
    """Anything else could be a secret."""
    assert all(isinstance(refuses, Given) == ("`" in message) for pattern, refuses in ROWS for message in [say(pattern)])


def say(pattern: str) -> str:
    return next(message for _, message in unavailable(document(pattern, EXAMPLES[pattern][0][0])))


def test_the_rate_limit_may_be_described_while_it_is_off():
    """`enabled: false` makes everything beside it harmless."""
    text = "auth: {default: none}\nrate_limit: {enabled: %s, store: redis://h, on_store_failure: open, default: {requests: 5}}"

    assert errors_of(text % "false") == []
    assert len(errors_of(text % "true")) == 4


def test_only_values_that_work_are_offered():
    """Advice that leads to the next refusal is none."""
    assert offered(("services", "orders", "balancer"), ["ewma", "maglev"]) == ["ewma"]
    assert offered(("routes", 3, "retry", "on", 0), ["connect", "timeout"]) == ["connect"]
    assert offered(("logging", "level"), ["info"]) == ["info"]


def test_the_effective_default_of_what_is_not_built_is_off():
    """Whatever the contract's default: settings never promise what does not happen."""
    settings = settings_of("auth: {default: none}")
    service = settings.service("any")

    assert (service.outlier, service.breaker, service.panic_threshold, service.retry.budget) == (None, None, 0.0, None)
    assert (settings.rate_limit.enabled, settings.security_headers, settings.discovery.consul.routes_from_tags) == (False, False, False)


@pytest.mark.parametrize("value", [None, False, [], {}, "off"])
def test_off_is_off_however_it_is_spelled(value):
    """An empty map does not become a feature with all its defaults; what stands beside it stays."""
    root = {
        "cors": value,
        "server": {"tls": value, "port": 1},
        "services": {"orders": {"breaker": value, "zone_aware": value, "balancer": "p2c", "outlier": {"max_ejected": 0}}},
        "routes": [{"cache": value, "prefix": "/"}],
        "auth": {"session": value},
    }

    assert without_off(root) == {
        "server": {"port": 1},
        "services": {"orders": {"balancer": "p2c", "outlier": {"max_ejected": 0}}},
        "routes": [{"prefix": "/"}],
        "auth": {},
    }


def test_an_empty_session_authenticates_nobody():
    """So a route that requires a token is still told to need one."""
    assert len(errors_of("auth: {session: {}}")) == 1
    assert settings_of("auth: {default: none, session: {}}").auth.session is None
    assert (
        settings_of("auth: {default: none}\ncors: false\nservices: {a: {breaker: {}, outlier: {max_ejected: 0}}}").service("a").breaker
        is None
    )


def test_the_shown_defaults_can_be_written_down():
    """No default is refused when an operator copies it from `/admin/config` into the file."""
    assert list(unavailable(settings_of("auth: {default: none}").masked())) == []

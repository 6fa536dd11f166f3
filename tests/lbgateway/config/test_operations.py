"""`admin`, `health`, `logging`, `metrics`, `tracing`."""

import pytest

from lbgateway.config.operations import TracingSettings
from tests.lbgateway.config.reading import errors_of, settings_of


def test_the_defaults_are_the_contracts():
    """Closed admin, JSON logs, public metrics."""
    settings = settings_of("auth: {default: none}")

    assert (settings.admin.token, settings.admin.scope, settings.admin.allow_loopback) == (None, "admin", False)
    assert (settings.logging.level, settings.logging.format, settings.logging.access_log) == ("info", "json", True)
    assert (settings.metrics.enabled, settings.metrics.path, settings.metrics.public) == (True, "/metrics", True)
    assert settings.health.required == ()
    assert TracingSettings.model_validate({"otlp": "http://127.0.0.1:4318"}).sample == 0.01


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("logging: {level: verbose}", "logging.level: must be one of debug, info, warning, error"),
        ("logging: {sample: 2}", "logging.sample: must be at most 1"),
        ("metrics: {path: metrics}", "metrics.path: must begin with a slash: /metrics"),
        ("admin: {allow_loopback: maybe}", "admin.allow_loopback: must be true or false"),
        ("health: {required: [a b]}", "health.required[0]: not a service name: letters, digits, - _ . only"),
        ("health: {required: orders}", "health.required: must be a list, such as [a, b]"),
    ],
)
def test_mistakes_are_told(text, sentence):
    """One sentence, at the key."""
    assert errors_of(f"auth: {{default: none}}\n{text}") == [f"gw.yaml:2: {sentence}"]


def test_a_required_service_is_found_in_any_case():
    """The registry knows services in lower case."""
    assert settings_of("auth: {default: none}\nhealth: {required: [Orders, redis]}").health.required == ("orders", "redis")

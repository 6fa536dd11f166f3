"""`discovery`."""

import pytest

from tests.lbgateway.config.reading import errors_of, settings_of


def test_consul_is_the_default_and_its_values_are_the_contracts():
    """Stale reads, ten minutes of patience, opt-in."""
    discovery = settings_of("auth: {default: none}").discovery

    assert discovery.provider == "consul"
    assert (discovery.consul.url, discovery.consul.consistency, discovery.consul.expose) == ("http://127.0.0.1:8500", "stale", "tagged")
    assert (discovery.consul.max_age, discovery.consul.wait, discovery.consul.empty_hold) == (600.0, 30.0, 10.0)


def test_exposed_names_are_in_lower_case():
    """As Consul compares them."""
    consul = settings_of("auth: {default: none}\ndiscovery: {consul: {expose: [Orders, users], token: abc, tls: {}}}").discovery.consul

    assert consul.expose == ("orders", "users")
    assert consul.token is not None
    assert consul.tls is not None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("provider: zookeeper", "discovery.provider: must be one of consul, static, embedded"),
        ("provider: consull", "discovery.provider: must be one of consul, static, embedded; did you mean `consul`?"),
        ("consul: {url: 127.0.0.1:8500}", "discovery.consul.url: not an address such as http://127.0.0.1:8500"),
        ("consul: {expose: some}", "discovery.consul.expose: must be tagged, all, or a list of service names"),
        ("consul: {tls: {ca: gone.pem}}", "discovery.consul.tls.ca: there is no file gone.pem"),
        ("consul: {wait: 30}", "discovery.consul.wait: a duration needs a unit: write 30s for seconds or 30ms for milliseconds"),
    ],
)
def test_mistakes_are_told(text, sentence):
    """One sentence, at the key."""
    assert errors_of(f"auth: {{default: none}}\ndiscovery:\n  {text}") == [f"gw.yaml:3: {sentence}"]

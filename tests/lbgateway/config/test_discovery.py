"""`discovery`."""

import pytest

from lbgateway.config import load
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


def test_the_snapshot_lies_beside_the_configuration_unless_its_path_is_absolute(tmp_path):
    """Like all files; it need not exist."""
    (tmp_path / "gateway.yaml").write_text("auth: {default: none}\ndiscovery: {consul: {snapshot: state/registry.json}}")

    assert load(tmp_path / "gateway.yaml", {}).discovery.consul.snapshot == str(tmp_path / "state" / "registry.json")
    assert settings_of("auth: {default: none}").discovery.consul.snapshot is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("provider: zookeeper", "discovery.provider: must be one of consul, static, file, dns, embedded"),
        ("provider: consull", "discovery.provider: must be one of consul, static, file, dns, embedded; did you mean `consul`?"),
        ("consul: {url: 127.0.0.1:8500}", "discovery.consul.url: not an address such as http://127.0.0.1:8500"),
        ("consul: {url: []}", "discovery.consul.url: must name at least one address, such as http://127.0.0.1:8500"),
        ("consul: {url: [http://a, b]}", "discovery.consul.url: not an address such as http://127.0.0.1:8500"),
        ("consul: {url: [http://a, http://a/]}", "discovery.consul.url: names an address twice"),
        ("consul: {url: {}}", "discovery.consul.url: not an address such as http://127.0.0.1:8500"),
        ("consul: {expose: some}", "discovery.consul.expose: must be tagged, all, or a list of service names"),
        ("consul: {tls: {ca: gone.pem}}", "discovery.consul.tls.ca: there is no file gone.pem"),
        ("consul: {snapshot: .}", "discovery.consul.snapshot: . is a folder; name a file in it, such as registry.json"),
        ("provider: dns", "discovery.provider: needs to know whom to ask: dns: {nameservers: [127.0.0.1:8600]}"),
        ("dns: {}", "discovery.dns.nameservers: is required"),
        ("dns: {nameservers: []}", "discovery.dns.nameservers: must have at least one item"),
        (
            "dns: {nameservers: [consul:8600]}",
            "discovery.dns.nameservers[0]: a nameserver is written as address and port, such as 127.0.0.1:8600",
        ),
        (
            "dns: {nameservers: ['127.0.0.1:8600'], name: orders.service.consul}",
            "discovery.dns.name: must have {service} once, such as {service}.service.consul",
        ),
        ("consul: {wait: 30}", "discovery.consul.wait: a duration needs a unit: write 30s for seconds or 30ms for milliseconds"),
    ],
)
def test_mistakes_are_told(text, sentence):
    """One sentence, at the key."""
    assert errors_of(f"auth: {{default: none}}\ndiscovery:\n  {text}") == [f"gw.yaml:3: {sentence}"]


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("{provider: dns, dns: {nameservers: ['127.0.0.1:8600', '[::1]:53']}}", "discovery.provider: no service is named"),
        ("{dns: {nameservers: ['127.0.0.1:8600']}}", "discovery.dns: is not used: discovery.provider is consul, not dns"),
        ("{provider: embedded, consul: {snapshot: x.json}}", "discovery.consul.snapshot: is not used: discovery.provider is embedded"),
    ],
)
def test_what_is_probably_not_meant(text, warned):
    """Allowed, and said."""
    [warning] = settings_of(f"auth: {{default: none}}\ndiscovery: {text}").warnings
    assert warned in warning


def test_several_agents_stand_in_for_each_other():
    """One address or a list of them; both are the same list in the end."""
    one = settings_of("auth: {default: none}\ndiscovery: {consul: {url: http://a:8500/}}").discovery.consul
    two = settings_of("auth: {default: none}\ndiscovery: {consul: {url: [http://a:8500, 'https://b/consul']}}").discovery.consul

    assert (one.url, one.agents) == ("http://a:8500", ("http://a:8500",))
    assert two.agents == ("http://a:8500", "https://b/consul")

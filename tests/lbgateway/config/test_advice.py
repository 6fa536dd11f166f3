"""What is allowed but probably not meant; the sections' own tests have the rest."""

import pytest

from tests.lbgateway.config.reading import settings_of
from tests.support.certificates import Authority

OPEN = "auth: {default: none}\n"


@pytest.mark.parametrize(("proxies", "warned"), [("[]", True), ("[10.0.0.0/8]", False)])
def test_a_deadline_that_nobody_may_give_is_warned_of(proxies, warned):
    """It is written for services all the same, so it is no error."""
    text = f"auth: {{default: none}}\nserver: {{deadline_header: X-Request-Timeout, trusted_proxies: {proxies}}}\n"
    assert any("server.deadline_header: is believed from nobody" in each for each in settings_of(text).warnings) is warned


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            "discovery: {provider: static}\nservices:\n  orders: {}",
            "gw.yaml:4: services.orders: has no instances: every request to it will be answered 503",
        ),
        (
            "services:\n  orders: {instances: ['a:1']}",
            "gw.yaml:3: services.orders.instances: is not used: discovery.provider is consul, not static",
        ),
        (
            "discovery:\n  embedded: {file: registry.json}",
            "gw.yaml:3: discovery.embedded.file: is not used: discovery.provider is consul, not embedded",
        ),
        ("discovery: {provider: embedded, embedded: {file: registry.json}}", None),
        (
            "routes:\n  - {prefix: /metrics/x, service: a}",
            "gw.yaml:3: routes[0].prefix: is never reached: /metrics belongs to the gateway itself",
        ),
        (
            "discovery:\n  consul:\n    register: {}",
            (
                "gw.yaml:4: discovery.consul.register: announces 127.0.0.1, where only this machine finds the gateway: "
                "set server.host, or `address` here"
            ),
        ),
        ("discovery: {consul: {register: {address: gw.example}}}", None),
        ("server: {host: 0.0.0.0}\ndiscovery: {consul: {register: {}}}", None),
        (
            "services: {a: {instances: ['a:1']}}\ndiscovery: {provider: static, consul: {config_key: k}}",
            "gw.yaml:3: discovery.consul.config_key: is not used: discovery.provider is static, not consul",
        ),
        ("discovery: {consul: {config_key: k}}", None),
        (
            "services:\n  orders: {hedge: {}, retry: {attempts: 0}}",
            "gw.yaml:3: services.orders: hedge has no effect: a hedge is one of retry.attempts, and the retry budget pays for it",
        ),
        (
            "services:\n  orders: {hedge: {}, retry: {budget: 0, min_per_second: 0}}",
            "gw.yaml:3: services.orders: hedge has no effect: a hedge is one of retry.attempts, and the retry budget pays for it",
        ),
        ("services:\n  orders: {hedge: {}}", None),
        ("routes:\n  - {prefix: /metricsx, service: a}", None),
        ("admin: {listen: 'localhost:8081'}\nroutes:\n  - {prefix: /metrics/x, service: a}", None),
        ("routes:\n  - {service: a}", None),
        ("metrics: {enabled: false}\nroutes:\n  - {prefix: /metrics/x, service: a}", None),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(text, warning):
    """It is allowed, and said."""
    assert settings_of(OPEN + text).warnings == (() if warning is None else (warning,))


def test_an_agent_that_cannot_come_in_is_warned_of():
    """Its check sends no preamble, so that the gateway would be critical for ever."""
    text = """
        discovery: {consul: {register: {address: 10.0.0.5}}}
        server: {host: 0.0.0.0, proxy_protocol: true, trusted_proxies: [10.0.0.0/8]}
        auth: {default: none}
        """
    [warning] = settings_of(text).warnings
    assert "discovery.consul.register: the agent's check finds a closed door" in warning


@pytest.mark.parametrize(("listen", "warned"), [("0.0.0.0:8081", True), ("127.0.0.1:8081", False), ("'[::1]:8081'", False)])
def test_a_token_in_the_open_is_warned_of(listen, warned, tmp_path):
    """Who speaks TLS on the public port may believe that it holds for both."""
    cert, key = Authority(tmp_path).issue("gw.example")
    text = f"server: {{tls: {{cert: {cert}, key: {key}}}}}\nadmin: {{listen: {listen}}}\n"
    told = "gw.yaml:3: admin.listen: speaks plain HTTP, whatever server.tls says: the admin token can be read on the way to this address"
    assert settings_of(OPEN + text).warnings == ((told,) if warned else ())

"""The schema's errors in our words."""

import pytest
from pydantic import ValidationError

from lbgateway.config.messages import explain
from lbgateway.config.settings import Settings


def said(root: dict[str, object]) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(root)
    return [
        explain(error, Settings, lambda _path, values: [value for value in values if value != "debug"]) for error in caught.value.errors()
    ]


@pytest.mark.parametrize(
    ("root", "path", "message"),
    [
        ({"sever": {}}, ("sever",), "unknown key; did you mean `server`?"),
        ({"zzzz": {}}, ("zzzz",), "unknown key"),
        ({"server": {"prot": 1}}, ("server", "prot"), "unknown key; did you mean `port`?"),
        (
            {"services": {"a": {"timeout": {"conect": "1s"}}}},
            ("services", "a", "timeout", "conect"),
            "unknown key; did you mean `connect`?",
        ),
        ({"routes": [{"prefx": "/"}]}, ("routes", 0, "prefx"), "unknown key; did you mean `prefix`?"),
        ({"auth": {"jwt": {"secrt": "x"}}}, ("auth", "jwt", "secrt"), "unknown key; did you mean `secret`?"),
        ({"discovery": {"consul": {"regster": {}}}}, ("discovery", "consul", "regster"), "unknown key; did you mean `register`?"),
        ({"port": 1}, ("port",), "unknown key here; there is `server.port`"),
        ({"discovery": {"url": "x"}}, ("discovery", "url"), "unknown key here; there is `discovery.consul.url`"),
        ({"routes": [{"balancer": "p2c"}]}, ("routes", 0, "balancer"), "unknown key here; there is `services.*.balancer`"),
        (
            {"services": {"a": {"strip_prefix": True}}},
            ("services", "a", "strip_prefix"),
            "unknown key here; there is `routes[].strip_prefix`",
        ),
        ({"secret": "x"}, ("secret",), "unknown key; did you mean `server`, or `auth.jwt.secret`?"),
        ({"server": {"port": 70000}}, ("server", "port"), "must be at most 65535"),
        ({"server": {"port": -1}}, ("server", "port"), "must be at least 0"),
        ({"server": {"port": 1.5}}, ("server", "port"), "must be a whole number"),
        ({"server": []}, ("server",), "must be a map, such as {key: value}"),
        ({"routes": {}}, ("routes",), "must be a list, such as [a, b]"),
        ({"server": {"proxy_protocol": "maybe"}}, ("server", "proxy_protocol"), "must be true or false"),
        ({"server": {"host": []}}, ("server", "host"), "must be text"),
        ({"logging": {"sample": "x"}}, ("logging", "sample"), "must be a number"),
        ({"logging": {"level": "infos"}}, ("logging", "level"), "must be one of info, warning, error; did you mean `info`?"),
        ({"tracing": {}}, ("tracing", "otlp"), "is required"),
        ({"services": {"a/b": {}}}, ("services", "a/b"), "not a service name: letters, digits, - _ . only"),
    ],
)
def test_each_error_has_a_path_and_a_sentence(root, path, message):
    """As few words as help."""
    assert said(root) == [(path, message)]


def test_no_message_repeats_a_value():
    """Whatever was put in the wrong place may be a password."""
    root = {
        "server": {"port": "hunter2", "keep_alive": "hunter2", "workers": "hunter2", "trusted_proxies": ["hunter2"]},
        "auth": {"default": "hunter2"},
    }

    assert not [message for _, message in said(root) if "hunter2" in message]

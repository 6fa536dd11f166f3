"""What the parts are told of the settings."""

from __future__ import annotations

import pytest

from lbgateway.config import Settings, load_text
from lbgateway.dataplane.reach import HttpxReach
from lbgateway.derived import (
    control_plane_settings,
    expose_of,
    limits_of,
    listed_services,
    needs_restart,
    own_prefixes_of,
    reaches_of,
    static_services,
)

STATIC = "discovery: {provider: static}\n"
DNS = "discovery: {provider: dns, dns: {nameservers: ['127.0.0.1:%d']}}\nservices: {orders: {}}\n"


def settings_of(text: str = STATIC) -> Settings:
    return load_text("auth: {default: none}\n" + text, "gateway.yaml", {})


@pytest.mark.parametrize(
    ("text", "expose"),
    [
        ("", "tagged"),
        ("discovery: {consul: {expose: all}}\n", "all"),
        ("discovery: {consul: {expose: [users]}}\n", frozenset({"users"})),
    ],
)
def test_the_rule_by_which_services_are_exposed(text, expose):
    """By their tags, all, or those of a list."""
    assert expose_of(settings_of(text)) == expose


def test_instances_of_the_file_keep_all_that_was_said_of_them():
    """Address, weight, tags, zone."""
    text = STATIC + "services: {orders: {instances: ['127.0.0.1:9001', {address: '127.0.0.1:9002', weight: 3, tags: [canary], zone: a}]}}\n"
    first, second = static_services(settings_of(text))["orders"]
    assert (first.address, first.port, first.weight) == ("127.0.0.1", 9001, 1)
    assert (second.port, second.weight, second.tags, second.zone) == (9002, 3, ("canary",), "a")


def test_listed_instances_have_their_states(tmp_path):
    """In the registry's words; ready is passing."""
    file = tmp_path / "instances.yaml"
    file.write_text("orders: [a:1, {address: 'b:2', id: b, state: draining, reason: why, weight: 2}]")
    first, second = listed_services(file)["orders"]
    assert (first.key.provider, first.id, first.state, first.consul_status) == ("file", "a:1", "passing", "passing")
    assert (second.id, second.state, second.reason, second.weight) == ("b", "draining", "why", 2)


@pytest.mark.parametrize(
    ("before", "after", "keys"),
    [
        ("server: {port: 1}\n", "server: {port: 1, keep_alive: 5s}\n", []),
        ("server: {port: 1}\n", "server: {port: 2, host: 127.0.0.2}\n", ["server.host", "server.port"]),
        ("", STATIC, ["discovery.provider"]),
        ("", "admin: {listen: '127.0.0.1:8081'}\n", ["admin.listen"]),
        ("", "discovery: {consul: {expose: all, routes_from_tags: false, allow_tag_keys: [auth], tag_prefixes: {a: [/a]}}}\n", []),
        ("", "discovery: {consul: {config_key: k}}\n", ["discovery.consul.config_key"]),
        (DNS % 1, DNS % 2, ["discovery.dns"]),
        ("", "discovery: {consul: {wait: 5s, token: x}}\n", ["discovery.consul.token", "discovery.consul.wait"]),
    ],
)
def test_what_a_running_process_cannot_change(before, after, keys):
    """Each key is named; what it can change is not."""
    assert needs_restart(settings_of(before), settings_of(after)) == keys


def test_the_gateways_own_paths_are_where_it_was_started_with_them():
    """A port of their own is bound at the start, or not at all; which paths they are may change."""
    here, apart = settings_of("metrics: {path: /numbers}\n"), settings_of("admin: {listen: '127.0.0.1:8081'}\n")
    assert own_prefixes_of(here, here) == own_prefixes_of(here, settings_of("")) == (b"/health", b"/admin", b"/numbers")
    assert own_prefixes_of(apart, settings_of("")) == (b"/health", b"/admin", b"/metrics")
    assert own_prefixes_of(here, apart) == ()


def test_a_token_that_is_followed_needs_no_restart(tmp_path):
    """Its file was changed, which the running process has seen; another file is another matter."""
    (tmp_path / "one").write_text("old")
    (tmp_path / "two").write_text("old")
    before, _ = (settings_of(f"discovery: {{consul: {{token: {{file: {tmp_path}/{name}}}}}}}\n") for name in ("one", "two"))
    (tmp_path / "one").write_text("new")
    (tmp_path / "two").write_text("new")
    same, other = (settings_of(f"discovery: {{consul: {{token: {{file: {tmp_path}/{name}}}}}}}\n") for name in ("one", "two"))
    assert needs_restart(before, same) == []
    assert needs_restart(before, other) == ["discovery.consul.token"]


def test_limits_are_those_of_the_server():
    """Seconds and bytes."""
    limits = limits_of(settings_of("server: {keep_alive: 1m, max_head: 8KiB, max_headers: 7, max_connections: 5}\n").server)
    assert (limits.keep_alive_s, limits.max_head_bytes, limits.max_headers, limits.max_connections) == (60.0, 8192, 7, 5)


def test_the_control_plane_learns_who_may_look():
    """Nobody by default."""
    closed = control_plane_settings(settings_of(), None)
    assert (closed.admin.token, closed.admin.allow_loopback, closed.admin.verify, closed.metrics_path) == (None, False, None, "/metrics")
    told = control_plane_settings(settings_of("admin: {token: abc, scope: ops, allow_loopback: true}\nmetrics: {public: false}\n"), None)
    assert (told.admin.token, told.admin.scope, told.admin.allow_loopback, told.metrics_public) == ("abc", "ops", True, False)


def test_the_way_to_each_service():
    """Ours by default; `*` for services that only the registry knows; the environment's proxies unless the file has a word on it."""
    text = """
discovery: {provider: consul}
services:
  "*": {transport: httpx}
  orders: {transport: native}
  users: {scheme: https, httpx: {http2: never, proxy: "http://proxy.example:3128"}, tls: {server_name: users.example}}
  direct: {httpx: {proxy: none}}
"""
    settings = load_text("auth: {default: none}" + text, "gateway.yaml", {"HTTPS_PROXY": "http://outside:1", "NO_PROXY": "10.0.0.0/8"})
    reaches = reaches_of(settings)

    assert (reaches["orders"], set(reaches)) == (None, {"*", "orders", "users", "direct"})
    assert reaches["*"] == HttpxReach(proxies=(("https", "http://outside:1"), ("no", "10.0.0.0/8")))
    assert reaches["direct"] == HttpxReach()
    users = reaches["users"]
    assert (users.scheme, users.http2, users.server_name, users.proxies) == (
        "https", "never", "users.example", (("all", "http://proxy.example:3128"),),
    )  # fmt: skip
    assert (users.context is not None, reaches["*"].context) == (True, None)
    assert reaches_of(settings, reaches)["users"] is users

"""What the parts are told of the settings."""

from __future__ import annotations

import pytest

from lbgateway.config import Settings, load_text
from lbgateway.derived import control_plane_settings, expose_of, limits_of, named_services, needs_restart, static_services

STATIC = "discovery: {provider: static}\n"


def settings_of(text: str = STATIC) -> Settings:
    return load_text("auth: {default: none}\n" + text, "gateway.yaml", {})


@pytest.mark.parametrize(
    ("text", "expose", "named"),
    [
        ("", "tagged", set()),
        ("discovery: {consul: {expose: all}}\nservices: {Orders: {}}\n", "all", {"orders"}),
        ("discovery: {consul: {expose: [users]}}\n", frozenset({"users"}), set()),
        ("routes: [{prefix: /shop, service: shop}, {prefix: '/api/{service}'}]\n", "tagged", {"shop"}),
    ],
)
def test_what_the_file_exposes(text, expose, named):
    """By rule, by name, and by a route that leads there."""
    settings = settings_of(text)
    assert (expose_of(settings), set(named_services(settings))) == (expose, named)


def test_instances_of_the_file_keep_all_that_was_said_of_them():
    """Address, weight, tags, zone."""
    text = STATIC + "services: {orders: {instances: ['127.0.0.1:9001', {address: '127.0.0.1:9002', weight: 3, tags: [canary], zone: a}]}}\n"
    first, second = static_services(settings_of(text))["orders"]
    assert (first.address, first.port, first.weight) == ("127.0.0.1", 9001, 1)
    assert (second.port, second.weight, second.tags, second.zone) == (9002, 3, ("canary",), "a")


@pytest.mark.parametrize(
    ("before", "after", "keys"),
    [
        ("server: {port: 1}\n", "server: {port: 1, keep_alive: 5s}\n", []),
        ("server: {port: 1}\n", "server: {port: 2, host: 127.0.0.2}\n", ["server.host", "server.port"]),
        ("", STATIC, ["discovery.provider"]),
        ("", "discovery: {consul: {expose: all}}\n", []),
        ("", "discovery: {consul: {wait: 5s, token: x}}\n", ["discovery.consul.token", "discovery.consul.wait"]),
    ],
)
def test_what_a_running_process_cannot_change(before, after, keys):
    """Each key is named; what it can change is not."""
    assert needs_restart(settings_of(before), settings_of(after)) == keys


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

"""Limits of a running gateway: what clients see, what operators see, and what a reload keeps."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.upstream_server import UpstreamServer, UpstreamThread, echo

HOURLY = {"requests": 3, "per": "1h"}


@pytest.fixture
def upstream() -> Iterator[UpstreamServer]:
    with UpstreamThread(echo) as server:
        yield server


def config_of(upstream: UpstreamServer, limit: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "auth": {"default": "none"},
        "discovery": {"provider": "static"},
        "services": {"orders": {"instances": [upstream.address]}},
        "rate_limit": {"default": limit},
        **more,
    }


def ask(gateway: GatewayProcess, path: str = "/api/orders/x", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=5)
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def test_clients_and_operators_are_told(upstream):
    """Headers on every answer, 429 as problem+json, a counter by route, and no request behind."""
    with GatewayProcess(config_of(upstream, HOURLY)) as gateway:
        answers = [ask(gateway) for _ in range(5)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
        assert answers[0].headers["RateLimit-Policy"] == '"default";q=3;w=3600'
        assert [answer.headers["RateLimit"].partition(";t=")[0] for answer in answers[:4]] == [
            f'"default";r={left}' for left in (2, 1, 0, 0)
        ]
        assert answers[3].headers["Content-Type"] == "application/problem+json"
        assert 0 < int(answers[3].headers["Retry-After"]) <= 1200
        metrics = gateway.get("/metrics")[1].decode()
        assert 'lbgateway_rate_limited_total{route="/api/{service}"} 2.0' in metrics
        assert 'lbgateway_rate_limit_store_state{state="up"} 1.0' in metrics
        assert "redis" not in gateway.json("/health")["checks"]
    assert len(upstream.requests) == 3


def test_a_reload_keeps_what_it_does_not_change(upstream):
    """Who was limited stays so where the limit is the same, and begins anew where it is another."""
    routes = [{"prefix": "/a", "service": "orders"}, {"prefix": "/b", "service": "orders", "rate_limit": {"requests": 1, "per": "1h"}}]
    with GatewayProcess(config_of(upstream, HOURLY, routes=routes)) as gateway:
        assert [ask(gateway, path).status for path in ("/a", "/a", "/a", "/a", "/b", "/b")] == [200, 200, 200, 429, 200, 429]

        changed = [routes[0], {**routes[1], "rate_limit": {"requests": 2, "per": "1h"}}]
        gateway.reload(config_of(upstream, HOURLY, routes=changed))
        wait_until(lambda: any(event["event"] == "reloaded" for event in gateway.events()), 5, gateway.story)

        assert [ask(gateway, path).status for path in ("/a", "/b", "/b", "/b")] == [429, 200, 200, 429]


def test_clients_behind_a_trusted_proxy_are_told_apart(upstream):
    """By the rightmost address that is none of the proxies'."""
    server = {"trusted_proxies": ["127.0.0.0/8"]}
    with GatewayProcess(config_of(upstream, {"requests": 1, "per": "1h"}, server=server)) as gateway:
        said = ["203.0.113.1", "203.0.113.1", "1.1.1.1, 203.0.113.1", "203.0.113.1, 127.0.0.9", "203.0.113.2"]
        assert [ask(gateway, X_Forwarded_For=each).status for each in said] == [200, 429, 429, 429, 200]
        assert ask(gateway, Forwarded="for=203.0.113.2").status == 429
        assert ask(gateway, Forwarded='for="[2001:db8::1]:80"').status == 200
        assert ask(gateway, Forwarded='for="[2001:db8::ffff]:80"').status == 429

"""Doors: admin data, tokens, protected routes. All from outside, with the command line as its users call it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.upstream_server import UpstreamServer, UpstreamThread, echo

SECRET = "a secret of thirty-two bytes or so"
ADMIN_TOKEN = "the-admin-token-for-this-test"


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamServer]:
    with UpstreamThread(echo) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(upstream: UpstreamServer) -> Iterator[GatewayProcess]:
    """Closed to everybody without a token, the loopback too."""
    with GatewayProcess(config_of(upstream, admin={"token": ADMIN_TOKEN, "allow_loopback": False})) as process:
        yield process


def config_of(upstream: UpstreamServer, **more: Any) -> dict[str, Any]:
    return {
        "auth": {"jwt": {"algorithms": ["HS256"], "secret": SECRET}, "public_paths": {"prefixes": ["/api/orders/public"]}},
        "discovery": {"provider": "static"},
        "server": {"max_connections": 500},
        "services": {"orders": {"instances": [upstream.address]}},
        **more,
    }


def token(**claims: Any) -> dict[str, str]:
    """An Authorization header."""
    claims = {"sub": "alice", "exp": int(time.time()) + 3600, **claims}
    return bearer(jwt.encode(claims, SECRET, algorithm="HS256"))


def bearer(credentials: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credentials}"}


def ask(gateway: GatewayProcess, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[http.client.HTTPResponse, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=5)
    connection.request(method, path, headers=headers or {})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, json.loads(body) if body else None


def lbgateway(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200", **environment}
    return subprocess.run([sys.executable, "-m", "lbgateway", *arguments], env=environment, capture_output=True, text=True, timeout=20)


# -- protected routes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("nonsense"),
        token(exp=int(time.time()) - 3600),
        bearer(jwt.encode({"sub": "alice", "exp": int(time.time()) + 3600}, "another secret of thirty-two bytes", algorithm="HS256")),
        bearer(jwt.encode({"sub": "alice", "exp": int(time.time()) + 3600}, None, algorithm="none")),
        bearer(jwt.encode({"sub": "alice"}, SECRET, algorithm="HS256")),
        {"Authorization": "Basic YWxpY2U6cGFzc3dvcmQ="},
    ],
    ids=["none", "nonsense", "expired", "another key", "unsigned", "without exp", "basic"],
)
def test_without_a_good_token_a_protected_route_is_401(gateway, upstream, headers):
    """With the challenge of RFC 6750, and nothing of it reaches the service."""
    before = len(upstream.requests)
    response, problem = ask(gateway, "GET", "/api/orders/items", headers)
    assert (response.status, problem["type"]) == (401, "urn:lbgateway:problem:unauthenticated")
    assert (response.getheader("WWW-Authenticate") or "").startswith("Bearer")
    assert len(upstream.requests) == before


def test_the_token_command_makes_tokens_that_are_accepted(gateway):
    """Subject and scope arrive at the service as headers; what a client claims itself does not."""
    made = lbgateway("token", "--subject", "alice", "--scope", "orders:read", "--config", str(gateway.file))
    assert made.returncode == 0, made.stderr
    headers = {**bearer(made.stdout.strip()), "X-User-Id": "mallory", "x-user-scope": "admin"}
    response, received = ask(gateway, "GET", "/api/orders/items", headers)
    assert response.status == 200
    told = [(name.lower(), value) for name, value in received["headers"] if name.lower().startswith("x-user-")]
    assert sorted(told) == [("x-user-id", "alice"), ("x-user-scope", "orders:read")]


def test_a_token_command_without_a_secret_says_what_is_missing(tmp_path):
    """Exit code 1."""
    file = tmp_path / "gateway.yaml"
    file.write_text("auth: {default: none}\n")
    made = lbgateway("token", "--subject", "alice", "--config", str(file))
    assert (made.returncode, made.stdout) == (1, "")
    assert "has no auth.jwt" in made.stderr


def test_public_paths_and_options_need_no_token(gateway):
    """Not even a good one: a stale token there is no 401. And nobody's headers are believed."""
    for headers in ({}, bearer("nonsense"), {"X-User-Id": "mallory"}):
        response, received = ask(gateway, "GET", "/api/orders/public/x", headers)
        assert response.status == 200
        assert not [name for name, _ in received["headers"] if name.lower() == "x-user-id"]
    assert ask(gateway, "OPTIONS", "/api/orders/items")[0].status == 200
    for path in ("/api/orders/publicity", "/api/orders/public/../items", "/api/orders/public/%2e%2e/items"):
        assert ask(gateway, "GET", path)[0].status in (400, 401), path


# -- admin ---------------------------------------------------------------------------------------

ADMIN_PATHS = ("/admin/upstreams", "/admin/upstreams/orders", "/admin/upstreams/orders/explain", "/admin/routes", "/admin/config")


def test_admin_data_is_closed_by_default(upstream):
    """Without a token of its own or any way to check one: 403 for everybody. Health and metrics stay open."""
    config = config_of(upstream, auth={"default": "none"}, admin={"allow_loopback": False})
    with GatewayProcess(config) as gateway:
        for path in ADMIN_PATHS:
            for headers in ({}, bearer(ADMIN_TOKEN), token(scope="admin"), {"X-Forwarded-For": "127.0.0.1"}):
                response, problem = ask(gateway, "GET", path, headers)
                assert (response.status, problem["type"]) == (403, "urn:lbgateway:problem:forbidden"), path
        for path in ("/health", "/health/live", "/health/ready", "/metrics"):
            assert gateway.get(path)[0] == 200
        told = lbgateway("upstreams", "--admin", gateway.url)
        assert (told.returncode, told.stdout) == (1, "")
        assert "admin.token" in told.stderr


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        (bearer("guess"), 401),
        (bearer(ADMIN_TOKEN + "x"), 401),
        (bearer(ADMIN_TOKEN), 200),
        (token(scope="orders:read admin"), 200),
        (token(scope="administrator"), 403),
        (token(), 403),
        (token(scope="admin", exp=int(time.time()) - 3600), 401),
    ],
    ids=["none", "guess", "longer", "admin token", "admin scope", "another scope", "no scope", "expired"],
)
def test_admin_data_needs_the_token_or_the_scope(gateway, headers, status):
    """And that is the same for every path."""
    for path in ADMIN_PATHS:
        assert ask(gateway, "GET", path, headers)[0].status == status, path


def test_the_command_line_presents_the_token(gateway):
    """As an option or from the environment; without it, what to do."""
    assert "orders" in lbgateway("upstreams", "--admin", gateway.url, "--token", ADMIN_TOKEN).stdout
    environment = {"LBGATEWAY_ADMIN_URL": gateway.url, "LBGATEWAY_ADMIN_TOKEN": ADMIN_TOKEN}
    routes = lbgateway("routes", **environment)
    assert (routes.returncode, "/api/{service}" in routes.stdout) == (0, True)
    instances = json.loads(lbgateway("upstreams", "orders", "--json", **environment).stdout)["instances"]
    assert len(instances) == 1
    closed = lbgateway("upstreams", "--admin", gateway.url)
    assert (closed.returncode, closed.stdout) == (1, "")
    assert "--token" in closed.stderr
    assert lbgateway("upstreams", "--admin", "http://127.0.0.1:1").returncode == 1
    assert lbgateway("check", str(gateway.file)).returncode == 0


def test_no_secret_is_ever_shown(gateway):
    """Neither in the configuration that operators read, nor in the log."""
    gateway.get("/api/orders/items", bearer("nonsense"))
    gateway.get("/api/orders/items?token=" + ADMIN_TOKEN, token())
    shown = gateway.get("/admin/config", bearer(ADMIN_TOKEN))[1].decode()
    assert json.loads(shown)["auth"]["jwt"]["secret"]
    wait_until(lambda: '"path":"/admin/config"' in gateway.log(), 3, gateway.log)
    for secret in (SECRET, ADMIN_TOKEN):
        assert secret not in shown
        assert secret not in gateway.log()

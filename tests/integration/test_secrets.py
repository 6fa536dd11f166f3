"""No secret leaves the gateway: not by an endpoint, a log line, an error or a command, however it was configured or went wrong."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.gateway_process import ROOT, GatewayProcess
from tests.support.jwks_server import JwksServer
from tests.support.launch import free_ports, wait_until
from tests.support.redis_server import RedisServer
from tests.support.tokens import jwk_of, private_key, token
from tests.support.upstream_server import Connection, Handler, Received, UpstreamThread, answer, echo

MARK = "s3cr3t"
"""In every secret of these tests, so that one search finds them all."""

SIGNING = f"{MARK}-signing-secret-of-thirty-two-bytes-or-more"
ADMIN = f"{MARK}-admin-token"
CONSUL = f"{MARK}-consul-token"
PASSWORD = f"{MARK}-password"
API_KEY = f"{MARK}-api-key"
CONDITION = f"{MARK}-condition"
CLIENT_SECRET = f"{MARK}-client-secret"
BASIC = base64.b64encode(f"gateway:{CLIENT_SECRET}".encode()).decode().rstrip("=")
CLIENTS_OWN = f"{MARK}-of-a-client"

PLENTY = {"requests": 1_000_000, "per": "1s", "key": "header:X-Api-Key"}
ADMIN_PATHS = ("/admin", "/admin/upstreams", "/admin/upstreams/orders", "/admin/upstreams/orders/explain", "/admin/routes", "/admin/config")
PATHS = (
    *ADMIN_PATHS, "/admin/nothing", "/health", "/health/live", "/health/ready", "/metrics", "/", "/api/nobody/",
    "/admin/", "/admin/assets/main.js", "/admin/assets/nothing.js", "/admin/assets/..%2f..%2fgateway.yaml",
    "/admin/upstreams?summary=true", "/admin/upstreams/nobody", "/orders/17", "/index.html", "/nothing.js", "/.env", "/consul.token",
    f"/oauth/authorize?code={CLIENTS_OWN}", "/oauth/", "/oauth/../admin/config",
)  # fmt: skip
VERBS = ("drain", "undrain", "eject", "uneject", "weight")
BODIES = (
    b"",
    json.dumps({"weight": 2, "for": "1s"}).encode(),
    json.dumps(dict.fromkeys(("for", "weight", "note"), CLIENTS_OWN)).encode(),
    json.dumps({"weight": CLIENTS_OWN}).encode(),
    json.dumps({"for": CLIENTS_OWN}).encode(),
    CLIENTS_OWN.encode(),
)


def config(jwks: JwksServer, upstream_port: int, consul_port: int, provider: str) -> dict[str, Any]:
    """Every kind of secret, given in every way: a text, a variable, a file, within an address, within a header."""
    instances = {"instances": [f"127.0.0.1:{upstream_port}"]} if provider == "static" else {}
    return {
        "discovery": {
            "provider": provider,
            "consul": {"url": f"http://ops:{PASSWORD}@127.0.0.1:{consul_port}", "token": {"file": "consul.token"}},
        },
        "services": {"orders": instances, "auth": instances},
        "routes": [
            {"prefix": "/api/{service}", "strip_prefix": True},
            {"prefix": "/keyed", "service": "orders", "headers": {"X-Api-Key": CONDITION}, "auth": "none",
             "request_headers": {"set": {"X-Backend-Token": API_KEY}}},
        ],
        "auth": {
            "jwt": {
                "algorithms": ["HS256", "ES256"],
                "secret": "${SIGNING_SECRET}",
                "jwks_url": jwks.url.replace("://", f"://keys:{PASSWORD}@"),
                "cookie": "access_token",
            },
        },
        "admin": {"token": ADMIN},
        "oauth": {"prefix": "/oauth", "service": "auth"},
        "spa": {"directory": "dist"},
        "rate_limit": {"store": f"redis://ops:{PASSWORD}@127.0.0.1:9/0", "default": PLENTY},
        "logging": {"level": "debug"},
        "tracing": {"otlp": f"http://spans:{PASSWORD}@127.0.0.1:{free_ports(1)[0]}", "sample": 1.0},
    }  # fmt: skip


class Observed:
    """Everything that anybody could see of a gateway, by its place."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def leaks(self) -> list[str]:
        secret = re.compile(rf".{{0,60}}(?:{MARK}|{BASIC}).{{0,40}}")
        return [f"{place}: …{found[0]}…" for place, text in self.texts.items() for found in secret.finditer(text)]


@pytest.fixture(scope="module")
def jwks() -> Iterator[JwksServer]:
    with JwksServer(jwk_of(private_key("ES256"), kid="a")) as made:
        yield made


def started(configuration: dict[str, Any]) -> GatewayProcess:
    gateway = GatewayProcess(configuration, environment={"SIGNING_SECRET": SIGNING, "CLIENT_SECRET": CLIENT_SECRET})
    (gateway.folder / "consul.token").write_text(CONSUL + "\n")
    page = gateway.folder / "dist"
    page.mkdir()
    (page / "index.html").write_text("<title>Shop</title>")
    (page / ".env").write_text(PASSWORD)
    (page / "consul.token").symlink_to(gateway.folder / "consul.token")
    return gateway.start()


def answered(gateway: GatewayProcess, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> str:
    """All that comes back: status, fields, and as much of the body as comes within a moment."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=5)
    try:
        connection.request(method, path, body or None, headers)
        got = connection.getresponse()
        text = f"{got.status} {got.getheaders()} "
        if not (got.getheader("Content-Type") or "").startswith("text/event-stream"):
            return text + got.read().decode(errors="replace")
        connection.sock.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            while part := got.read1():
                text += part.decode()
        return text
    finally:
        connection.close()


def look(gateway: GatewayProcess, observed: Observed, *headers: dict[str, str]) -> None:
    """Ask for everything, with each of these headers."""
    for number, given in enumerate(headers):
        for path in (*PATHS, "/admin/events"):
            observed.texts[f"{path} with credential {number}"] = answered(gateway, "GET", path, {"Accept": "text/html", **given})
            if "admin" in path:
                observed.texts[f"{path} with credential {number}, JSON"] = answered(gateway, "GET", path, given)


def act(gateway: GatewayProcess, observed: Observed, instance: str, *headers: dict[str, str]) -> None:
    """Each action of operators, with each of these headers, and sound and unsound bodies."""
    for number, given in enumerate(headers):
        for verb in VERBS:
            for which, body in enumerate(BODIES):
                told = {"Content-Type": "application/json", **given}
                place = f"/admin/upstreams/orders/{instance}/{verb}"
                observed.texts[f"{place} {which} with credential {number}"] = answered(gateway, "POST", place, told, body)
        undone = [answered(gateway, "POST", f"/admin/upstreams/orders/{instance}/{verb}", given) for verb in ("undrain", "uneject")]
        observed.texts[f"undone with credential {number}"] = str(undone)


def command(gateway: GatewayProcess, *arguments: str) -> str:
    """What a command says, on both its outputs."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SIGNING_SECRET": SIGNING, "CLIENT_SECRET": CLIENT_SECRET}
    done = subprocess.run([sys.executable, "-m", "lbgateway", *arguments], env=environment, capture_output=True, text=True, timeout=30)
    return done.stdout + done.stderr


def commands(gateway: GatewayProcess, observed: Observed, instance: str) -> None:
    """All that ask a gateway, for eyes and for programs; and one with a token that opens nothing."""
    asking = [("routes",), ("upstreams",), ("upstreams", "orders"), ("explain", "orders"), ("explain", "orders", instance), ("top",)]
    for words in (*asking, *((*words, "--json") for words in asking)):
        observed.texts[" ".join(("lbgateway", *words))] = command(gateway, *words, "--admin", gateway.url, "--token", ADMIN)
    observed.texts["lbgateway refused"] = command(gateway, "explain", "orders", "--admin", gateway.url, "--token", CLIENTS_OWN)
    observed.texts["lbgateway config schema"] = command(gateway, "config", "schema")
    observed.texts["lbgateway check"] = command(gateway, "check", str(gateway.file))


def test_a_working_gateway_shows_no_secret(jwks):
    """Driven through all its doors, with good credentials and bad ones, reloaded well and badly."""
    observed = Observed()
    with UpstreamThread(serves) as upstream:
        configuration = config(jwks, upstream.port, 9, "static")
        gateway = started(configuration)
        try:
            good, bad = token(key=SIGNING, scope="admin"), token(key=SIGNING + "!", jti=CLIENTS_OWN)
            credentials = [{}, *({"Authorization": f"Bearer {raw}"} for raw in (ADMIN, good, bad))]
            look(gateway, observed, *credentials)
            assert {each.header("Authorization") for each in upstream.requests} >= {f"Bearer {raw}" for raw in (ADMIN, good, bad)}
            loopback_shut = {**configuration, "admin": {"token": ADMIN, "allow_loopback": False}}
            gateway.reload(loopback_shut)
            wait_until(lambda: gateway.get("/admin/config")[0] == 401, 5, gateway.story)
            [instance] = [each["id"] for each in gateway.json("/admin/upstreams/orders", credentials[1])["instances"]]
            look(gateway, observed, *credentials)
            act(gateway, observed, instance, *credentials)
            commands(gateway, observed, instance)
            for headers in (*credentials, {"Cookie": f"access_token={CLIENTS_OWN}"}, {"Authorization": f"Bearer {CLIENTS_OWN}"}):
                status, body = gateway.get(f"/api/orders/?access_token={CLIENTS_OWN}", headers)
                assert status == 200 or MARK not in body.decode()
            wait_until(lambda: gateway.get("/api/orders/", credentials[2])[0] == 200, 5, gateway.story)
            for asking in (ADMIN, CLIENTS_OWN):
                _, body = gateway.get("/api/orders/", {**credentials[2], "X-Gateway-Explain": f"Bearer {asking}"})
                assert asking not in body.decode()
            wait_until(lambda: "spans cannot be exported" in gateway.log(), 15, gateway.story)
            assert gateway.get("/keyed", {"X-Api-Key": CONDITION})[0] == 200
            assert API_KEY in str(upstream.requests[-1].headers)
            secrets = (
                {"auth": {"jwt": {"secret": wrong}}} for wrong in (MARK, [SIGNING], {"path": SIGNING}, {"file": CLIENTS_OWN[len(MARK) :]})
            )
            places = (f"radis://:{PASSWORD}@127.0.0.1", {"password": PASSWORD}, f"redis://:{PASSWORD}@", f"redis://:{PASSWORD}#@127.0.0.1")
            for number, wrong in enumerate((*secrets, *({"rate_limit": {"store": place}} for place in places)), 1):
                gateway.reload({**configuration, **wrong})
                wait_until(lambda number=number: gateway.log().count("reload refused") == number, 5, gateway.story)
            before = gateway.log().count('"reloaded"')
            gateway.reload({**configuration, "auth": {"default": "none", **configuration["auth"]}})
            wait_until(lambda: gateway.log().count('"reloaded"') > before, 5, gateway.story)
            assert gateway.stop() == 0
            observed.texts["log"] = gateway.log()
        finally:
            gateway.close()
    assert '"keys fetched"' in observed.texts["log"]
    assert "the limits' store is down" in observed.texts["log"]
    assert '"***"' in observed.texts["/admin/config with credential 1, JSON"]
    assert "redis://***@127.0.0.1" in observed.texts["/admin/config with credential 1, JSON"]
    assert "event: " in observed.texts["/admin/events with credential 1, JSON"]
    assert '"balancer"' in observed.texts["lbgateway config schema"]
    assert "<title>Shop</title>" in observed.texts["/orders/17 with credential 0"]
    assert all(observed.texts[f"/admin/upstreams/orders/{instance}/{verb} 0 with credential 1"].startswith("200") for verb in VERBS[:4])
    assert instance in observed.texts["lbgateway top --json"]
    assert observed.leaks() == []


def test_a_gateway_in_trouble_shows_no_secret(jwks):
    """Consul away, keys away, a file that is no configuration: errors tell what and where, never with what."""
    observed = Observed()
    gateway = started(config(jwks, 9, free_ports(1)[0], "consul"))
    try:
        jwks.stop()
        look(gateway, observed, {}, {"Authorization": f"Bearer {ADMIN}"}, {"Authorization": f"Bearer {token('ES256', kid='b')}"})
        wait_until(lambda: "cannot be fetched" in gateway.log() or "keys fetched" in gateway.log(), 5, gateway.story)
        gateway.file.write_text(f"auth: {{jwt: {{secret: {SIGNING}")
        gateway.reload()
        wait_until(lambda: "reload refused" in gateway.log(), 5, gateway.story)
        observed.texts["check"] = command(gateway, "check", str(gateway.file))
        assert gateway.stop() == 0
        observed.texts["log"] = gateway.log()
    finally:
        gateway.close()
        jwks.start()
    assert "127.0.0.1" in observed.texts["log"]
    assert observed.leaks() == []


def test_sessions_show_no_secret():
    """Neither the store's password nor the name of a session, a token that a service inspects, or what it said of it."""
    observed = Observed()
    sid, opaque = f"{MARK}-session", f"{MARK}-opaque-token"
    options = ("--requirepass", PASSWORD)
    with RedisServer(options=options) as server, UpstreamThread(echo) as upstream, UpstreamThread(knows(opaque)) as auth:
        with redis.Redis(port=server.port, password=PASSWORD) as store:
            store.set(f"session:{sid}", json.dumps({"sub": "ann", "csrf": CLIENTS_OWN}))
        address = f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0"
        services = {"orders": {"instances": [f"127.0.0.1:{upstream.port}"]}, "auth": {"instances": [f"127.0.0.1:{auth.port}"]}}
        inspection = {"service": "auth", "cache": "100ms", "client_id": "gateway", "client_secret": "${CLIENT_SECRET}"}
        checks = {"session": {"store": address, "cache": "100ms"}, "introspection": inspection}
        configuration = {
            "discovery": {"provider": "static"}, "services": services, "auth": checks,
            "admin": {"token": ADMIN, "allow_loopback": False}, "logging": {"level": "debug"},
            "rate_limit": {"store": address, "default": PLENTY, "on_store_failure": "local"},
        }  # fmt: skip
        gateway = started(configuration)
        try:
            good = {"Authorization": f"Bearer {opaque}", "Cookie": f"sid={sid}"}
            bad = {"Authorization": f"Bearer {CLIENTS_OWN}", "Cookie": f"sid={MARK}:*"}
            wait_until(lambda: gateway.get("/api/orders/", good)[0] == 200, 5, gateway.story)
            assert gateway.get("/api/orders/", {**good, "X-Api-Key": API_KEY})[0] == 200
            with redis.Redis(port=server.port, password=PASSWORD) as store:
                wait_until(lambda: len(limits_in(store)) == 2, 5, gateway.story)
                observed.texts["keys of limits"] = str(limits_in(store))
            for stop in (lambda: None, server.kill, auth.cut):
                stop()
                time.sleep(0.2)  # longer than a good answer is remembered: they are asked, and cannot be
                look(gateway, observed, good, bad, {"Cookie": f"sid={MARK}-nobody"}, {"Authorization": f"Bearer {ADMIN}"})
                for word in ("upstreams", "routes", "top"):
                    observed.texts[f"lbgateway {word}"] = command(gateway, word, "--json", "--admin", gateway.url, "--token", ADMIN)
                for number, headers in enumerate((bad, {**good, "Cookie": f"sid={MARK}-nobody"})):
                    status, body = gateway.get("/api/orders/", headers)
                    assert status in (401, 503)
                    observed.texts[f"refusal {number}"] = str(body)
                assert observed.leaks() == []
            for number, wrong in enumerate((address.replace("redis", "radis"), {"password": PASSWORD}, f"redis://:{PASSWORD}@"), 1):
                gateway.reload({**configuration, "auth": {"session": {"store": wrong}}})
                wait_until(lambda number=number: gateway.log().count("reload refused") == number, 5, gateway.story)
            observed.texts["check"] = command(gateway, "check", str(gateway.file))
            observed.texts["drain"] = command(gateway, "drain", "orders", "nobody", "--admin", gateway.url, "--token", ADMIN)
            assert gateway.stop() == 0
            observed.texts["log"] = gateway.log()
        finally:
            gateway.close()
    log = observed.texts["log"]
    assert '"credentials cannot be checked' in log
    assert '"event": "admin access refused"' in log
    assert '"event": "admin call"' in log
    assert '"who": "admin token"' in log
    assert "the limits' store is down" in log
    assert observed.texts["/admin/config with credential 3, JSON"].count("***@127.0.0.1") == 2  # of sessions and of limits
    assert observed.leaks() == []


def limits_in(store: redis.Redis) -> list[str]:
    return [name.decode() for name in store.scan_iter("lbgateway:limit:*")]


async def serves(request: Received, connection: Connection) -> bool:
    """An echo, but for the one that logs people in: what that says is its own."""
    if request.target.startswith("/oauth"):
        await connection.send(answer(b"who are you?"))
        return True
    return await echo(request, connection)


def knows(token: str) -> Handler:
    """A service that inspects tokens, and says more than anybody should see."""

    async def handle(request: Received, connection: Connection) -> bool:
        assert BASIC in str(request.header("Authorization"))
        said = {"active": f"token={token}&" in request.body.decode(), "sub": "ann", "note": CLIENTS_OWN}
        await connection.send(answer(json.dumps(said).encode()))
        return True

    return handle


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_bug_shows_no_secret(tmp_path: Path, style: str):
    """A traceback has no local variables, and no password of an address."""
    program = tmp_path / "buggy.py"
    program.write_text(f"""
import structlog
from lbgateway.telemetry.logging import configure
configure("info", {style!r})
authorization = "Bearer {MARK}-token"
def fails(authorization):
    raise RuntimeError("cannot reach http://ops:" + authorization[7:] + "@consul:8500/")
try:
    fails(authorization)
except RuntimeError:
    structlog.get_logger("lbgateway").exception("a bug", url="http://ops:{MARK}@consul/")
""")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(program)], env=environment, capture_output=True, text=True, timeout=30)
    assert "cannot reach http://" in done.stderr
    assert MARK not in done.stderr + done.stdout

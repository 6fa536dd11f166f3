"""``docs/edge.md`` and the configuration of the README: each is run by a real gateway, and does what the page says."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lbgateway.config import ConfigErrors, load_text
from tests.support.gateway_process import GatewayProcess
from tests.support.jwks_server import JwksServer
from tests.support.live_gateway import LiveGateway
from tests.support.tokens import SECRET, jwk_of, private_key, token
from tests.support.upstream_server import Connection, Received, UpstreamServer, UpstreamThread, answer
from tests.support.wire import Message, Wire

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "docs" / "edge.md").read_text())
CORS, SECURITY, SPA, OAUTH = BLOCKS
(README,) = BLOCK.findall((ROOT / "README.md").read_text())
JWT = {"default": "required", "jwt": {"algorithms": ["HS256"], "secret": SECRET}}
PREVIEW, APP, STRANGER = "https://a-1.preview.example", "https://app.example", "https://a.preview.example.evil"


async def speaks(request: Received, connection: Connection) -> bool:
    """A service with a mind of its own about CORS, and a place to send people to."""
    lines = ("Access-Control-Allow-Origin: https://elsewhere.example", "X-Total: 7", "Set-Cookie: login=1; Path=/oauth")
    moved = "302 Found" if request.target.startswith("/oauth/") else "200 OK"
    await connection.send(answer(b"fine", status=moved, headers=(*lines, "Location: https://shop.example/back?code=1")))
    return True


@pytest.fixture
def service() -> Iterator[UpstreamServer]:
    with UpstreamThread(speaks) as made:
        yield made


def running(text: str, service: UpstreamServer, *names: str, **changes: Any) -> LiveGateway:
    """The page's words, and who is behind."""
    config: dict[str, Any] = {**yaml.safe_load(text), **changes}
    services = config.get("services", {})
    config["services"] = {name: {**services.get(name, {}), "instances": [service.address]} for name in names}
    return LiveGateway(config)


def ask(port: int, target: str, *lines: str, method: str = "GET", host: str = "shop.example") -> Message:
    with Wire.connect(port) as client:
        client.send("\r\n".join((f"{method} {target} HTTP/1.1", f"Host: {host}", *lines, "", "")).encode())
        return client.message()


def test_cors(service: UpstreamServer) -> None:
    """Who may read what, preflights and errors included; a route's words lie over the gateway's."""
    with running(CORS, service, "orders", "catalog", "legacy", auth=JWT) as gateway:

        def read(path: str, origin: str, *lines: str, method: str = "GET") -> tuple[int, str | None, str | None, Message]:
            got = ask(gateway.port, path, f"Origin: {origin}", *lines, method=method)
            return got.status, got.get("Access-Control-Allow-Origin"), got.get("Access-Control-Allow-Credentials"), got

        wants = "Access-Control-Request-Method: PUT"
        for origin in (APP, PREVIEW):
            status, allowed, credentials, preflight = read("/api/orders/1", origin, wants, method="OPTIONS")
            assert (status // 100, allowed, credentials, preflight.get("Access-Control-Max-Age")) == (2, origin, "true", "600")
        assert service.requests == []

        good = f"Authorization: Bearer {token()}"
        status, allowed, _, got = read("/api/orders/1", APP, good)
        assert (status, allowed, got.get("Access-Control-Expose-Headers")) == (200, APP, "X-Total")
        status, allowed, _, got = read("/api/orders/1", APP)
        assert (status, allowed) == (401, APP)
        for origin in (STRANGER, "https://APP.example.evil"):
            status, allowed, _, got = read("/api/orders/1", origin, good)
            assert (status, allowed, got.get("Vary")) == (200, None, "Origin")

        assert read("/api/public/1", STRANGER, good)[:3] == (200, "*", None)
        before = len(service.requests)
        assert read("/api/legacy/1", APP, wants, method="OPTIONS")[:2] == (200, "https://elsewhere.example")
        assert [each.method for each in service.requests[before:]] == ["OPTIONS"]


def test_everybody_with_credentials_is_an_error() -> None:
    """The combination that the page names, with its line."""
    with pytest.raises(ConfigErrors, match="allow_credentials"):
        load_text('auth: {default: none}\ncors: {allow_origins: ["*"], allow_credentials: true}\n', "gateway.yaml", {})


def test_security_headers(service: UpstreamServer) -> None:
    """Without a word, with the page's, and without any."""
    names = ("X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Permissions-Policy", "Strict-Transport-Security")
    expected = {
        "{}": ["nosniff", "SAMEORIGIN", "strict-origin-when-cross-origin", None, None],
        SECURITY: ["nosniff", "DENY", None, "camera=()", None],
        "security_headers: false": [None] * 5,
    }
    for text, values in expected.items():
        with running(text, service, "orders") as gateway:
            for path in ("/api/orders/", "/api/nobody/"):
                got = ask(gateway.port, path)
                assert [got.get(name) for name in names] == values, (text, path)
    with running("server: {trusted_proxies: [127.0.0.1/32]}", service, "orders") as gateway:
        assert ask(gateway.port, "/api/orders/", "X-Forwarded-Proto: https").get(names[-1]) == "max-age=31536000"


def test_a_single_page_application(service: UpstreamServer) -> None:
    """In the folder of the configuration: index, files, compressed neighbours, what is missing, and what is nobody's business."""
    config = {**yaml.safe_load(SPA), "auth": {"default": "none"}, "discovery": {"provider": "static"}}
    gateway = GatewayProcess({**config, "services": {"orders": {"instances": [service.address]}}})
    dist = gateway.folder / "frontend" / "dist"
    dist.mkdir(parents=True)
    (dist / "index.html").write_text("<title>Shop</title>")
    (dist / "app-BqX1yz12.js").write_text("shop()")
    (dist / "app-BqX1yz12.js.gz").write_bytes(gzip.compress(b"shop()"))
    (dist / ".env").write_text("hidden")
    (dist / "outside").symlink_to(gateway.file)
    with gateway:
        html = "Accept: text/html"
        index = ask(gateway.port, "/orders/17", html)
        assert (index.status, index.body, index.get("Cache-Control")) == (200, b"<title>Shop</title>", "no-cache")
        script = ask(gateway.port, "/app-BqX1yz12.js")
        assert (script.body, "max-age=31536000" in str(script.get("Cache-Control"))) == (b"shop()", True)
        packed = ask(gateway.port, "/app-BqX1yz12.js", "Accept-Encoding: gzip")
        assert (packed.get("Content-Encoding"), gzip.decompress(packed.body)) == ("gzip", b"shop()")
        part = ask(gateway.port, "/app-BqX1yz12.js", "Range: bytes=0-3")
        assert (part.status, part.body) == (206, b"shop")
        assert ask(gateway.port, "/other.js").status == 404
        for path in ("/.env", "/outside"):
            got = ask(gateway.port, path)
            assert got.status == 404 or got.body == b"<title>Shop</title>", path
        assert ask(gateway.port, "/api/nobody/", html).status == 404
        assert ask(gateway.port, "/api/orders/", html).body == b"fine"


def test_oauth(service: UpstreamServer) -> None:
    """Below the prefix everything passes as it is and without a token; elsewhere the provider's keys decide."""
    key = private_key("RS256")
    with JwksServer(jwk_of(key, kid="a")) as jwks:
        text = OAUTH.replace("https://login.example/oauth/jwks", jwks.url)
        assert text != OAUTH
        config = yaml.safe_load(text)
        with running(text, service, "auth", "orders", auth={"default": "required", **config["auth"]}) as gateway:
            got = ask(gateway.port, "/oauth/authorize?state=a%20b", "Authorization: Basic c2hvcDpz", "Cookie: login=0")
            assert (got.status, got.get("Location")) == (302, "https://shop.example/back?code=1")
            assert got.get("Set-Cookie") == "login=1; Path=/oauth"
            seen = service.requests[-1]
            assert (seen.target, seen.header("Host")) == ("/oauth/authorize?state=a%20b", "shop.example")
            assert (seen.header("Authorization"), seen.header("Cookie")) == ("Basic c2hvcDpz", "login=0")
            assert ask(gateway.port, "/api/orders/").status == 401
            signed = f"Authorization: Bearer {token('RS256', key, kid='a')}"
            assert ask(gateway.port, "/api/orders/", signed).status == 200


def test_every_configuration_of_the_page_is_here() -> None:
    """A new one takes a test along."""
    assert len(BLOCKS) == 4


def test_the_configuration_of_the_readme(service: UpstreamServer) -> None:
    """Its two routes, its token, and its balancer."""
    with running(README.replace("${JWT_SECRET}", SECRET), service, "orders", auth=JWT) as gateway:
        good = f"Authorization: Bearer {token()}"
        assert ask(gateway.port, "/api/orders/7", good, host="other.example").status == 200
        assert service.requests[-1].target == "/7"
        assert ask(gateway.port, "/v1/orders/8", good).status == 200
        assert service.requests[-1].target == "/8"
        assert ask(gateway.port, "/v1/orders/8", good, method="DELETE").status == 405
        assert ask(gateway.port, "/v1/orders/8", good, host="other.example").status == 404
        assert ask(gateway.port, "/v1/orders/8").status == 401
        assert gateway.call(lambda root: root.settings.service("orders").balancer) == "ewma"

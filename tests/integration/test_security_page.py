"""``docs/security.md``: each of its configurations is run, and does what the page says."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from tests.support.jwks_server import JwksServer
from tests.support.live_gateway import LiveGateway
from tests.support.redis_server import RedisServer
from tests.support.tokens import SECRET, jwk_of, pem_of, private_key, token
from tests.support.upstream_server import Connection, Received, UpstreamServer, UpstreamThread, answer, echo

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
CLIENT_SECRET = "the-client-secret-of-these-tests"
ADMIN = "the-admin-token-of-these-tests"
ISSUED: dict[str, Any] = {"iss": "https://issuer.example", "aud": "shop"}
LINK = "https://issuer.example/.well-known/jwks.json"


def configurations() -> dict[str, str]:
    """Heading -> its YAML."""
    sections = re.split(r"^## (.+)$", PAGE, flags=re.MULTILINE)[1:]
    found: dict[str, str] = {}
    for heading, text in zip(sections[::2], sections[1::2], strict=True):
        blocks = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        assert len(blocks) <= 1, heading
        if blocks:
            found[heading] = blocks[0]
    return found


class Visitor:
    """Sends requests, and knows what the service saw of the last one."""

    def __init__(self, gateway: LiveGateway, service: UpstreamServer) -> None:
        self.gateway = gateway
        self.service = service

    def __call__(self, path: str = "/api/orders/", raw: str | None = None, *lines: str, method: str = "GET") -> int:
        fields = ["Host: shop.example", *lines, *([f"Authorization: Bearer {raw}"] if raw is not None else [])]
        with self.gateway.connect() as client:
            return client.send("\r\n".join((f"{method} {path} HTTP/1.1", *fields, "", "")).encode()).message().status

    @property
    def seen(self) -> Received:
        return self.service.requests[-1]


def shared_secret(ask: Visitor) -> None:
    assert [ask(), ask(raw=token()), ask(raw=token(exp=None)), ask(raw=token(exp=1))] == [401, 200, 401, 401]


def public_key(ask: Visitor) -> None:
    good = token("ES256", **ISSUED)
    assert [ask(raw=good), ask(raw=token("ES256")), ask(raw=token("ES256", sub=None, **ISSUED)), ask(raw=token())] == [200, 401, 401, 401]


def published_keys(ask: Visitor) -> None:
    good, unknown = token("RS256", kid="a", **ISSUED), token("RS256", private_key("RS256", "b"), kid="b", **ISSUED)
    assert [ask(raw=good), ask(raw=unknown)] == [200, 401]


def cookie(ask: Visitor) -> None:
    both = f"Cookie: access_token={token()}"
    assert [ask("/api/orders/", None, both), ask(raw=token()), ask("/api/orders/", token(), both)] == [200, 200, 401]


def sessions(ask: Visitor) -> None:
    given = [ask("/api/orders/", None, f"Cookie: sid={name}") for name in ("ann", "cart", "gone")]
    assert [ask(), *given] == [401, 200, 401, 401]
    assert ask("/api/orders/", None, "Cookie: sid=ann") == 200
    assert (ask.seen.header("X-User-Id"), ask.seen.header("X-User-Scope")) == ("ann", "orders:read")


def both(ask: Visitor) -> None:
    assert [ask(raw=token(sid=name)) for name in ("ann", "cart", "bob", "gone")] == [200, 200, 401, 401]
    assert ask("/api/orders/", token(), "Cookie: sid=ann") == 200
    assert [ask("/api/orders/", token(sid="ann"), "Cookie: sid=cart"), ask(raw=token())] == [401, 401]


def session_service(ask: Visitor) -> None:
    assert [ask("/api/orders/", None, f"Cookie: sid={name}") for name in ("ann", "gone")] == [200, 401]
    assert ask.seen.header("X-User-Id") == "ann"


def inspected(ask: Visitor) -> None:
    assert [ask(raw="ann"), ask(raw="gone"), ask()] == [200, 401, 401]
    assert ask.seen.header("X-User-Id") == "ann"


def inspected_as_client(ask: Visitor) -> None:
    assert [ask(raw="ann"), ask(raw="gone"), ask()] == [200, 401, 401]


async def knows_ann(request: Received, connection: Connection) -> bool:
    """A service that is asked: by RFC 7662, and about sessions."""
    basic = "Basic " + base64.b64encode(f"gateway:{CLIENT_SECRET}".encode()).decode()
    if request.target == "/oauth/introspect" and request.header("Authorization") != basic:
        await connection.send(answer(b"", status="401 Unauthorized"))
        return True
    known = request.header("Cookie") == "sid=ann" or "token=ann&" in request.body.decode()
    said = {"active": True, "sub": "ann"} if known else {"active": False}
    await connection.send(answer(json.dumps(said).encode()))
    return True


def scopes(ask: Visitor) -> None:
    read, write = token(scope="orders:read"), token(scope="orders:read orders:write")
    assert [ask("/orders", read), ask("/orders", read, method="POST"), ask("/orders", token())] == [200, 403, 403]
    assert ask("/orders", write, "Content-Length: 0", method="POST") == 200


def public_paths(ask: Visitor) -> None:
    assert [ask("/api/orders/status"), ask("/api/orders/docs/a"), ask("/api/orders/docs", "stale")] == [200, 200, 200]
    assert [ask("/api/orders/docs2"), ask("/api/orders/status/a"), ask("/api/orders/", method="OPTIONS")] == [401, 401, 200]


def forwarded(ask: Visitor) -> None:
    assert ask("/api/orders/", token(tenant="north", scope="a b"), "X_Tenant: south", "X-User-Id: root") == 200
    told = {name.lower(): value for name, value in ask.seen.headers if name.lower().startswith("x-") and "forwarded" not in name.lower()}
    told.pop("x-request-id")
    assert told == {"x-user-id": "ann", "x-user-scope": "a b", "x-tenant": "north"}


def operators(ask: Visitor) -> None:
    asked = (None, ADMIN, token(scope="admin"), token(scope="other"))
    assert [ask("/admin/routes", raw) for raw in asked] == [401, 200, 200, 403]
    assert [ask("/health"), ask("/metrics")] == [200, 200]


STORIES: dict[str, Callable[[Visitor], None]] = {
    "A shared secret": shared_secret,
    "A public key": public_key,
    "Published keys": published_keys,
    "A token in a cookie": cookie,
    "Sessions in Redis": sessions,
    "A token and its session": both,
    "A service that knows sessions": session_service,
    "A service that inspects tokens": inspected,
    "A service that asks who is asking": inspected_as_client,
    "Scopes": scopes,
    "Public paths": public_paths,
    "What services learn": forwarded,
    "The operators' door": operators,
}


def test_every_configuration_of_the_page_has_its_story() -> None:
    """A new one needs a new one here."""
    assert set(configurations()) == set(STORIES)


@pytest.fixture(scope="module")
def store() -> Iterator[RedisServer]:
    """With the sessions of the page: one of Ann, one of nobody, one of Bob."""
    with RedisServer() as running, redis.Redis(port=running.port) as client:
        client.set("session:ann", json.dumps({"sub": "ann", "scope": "orders:read"}))
        client.set("session:cart", json.dumps({"cart": [1, 2]}))
        client.set("session:bob", json.dumps({"sub": "bob"}))
        yield running


@pytest.mark.parametrize("heading", STORIES)
def test_a_configuration_does_what_the_page_says(heading: str, tmp_path: Path, store: RedisServer) -> None:
    """As it is written there: only the secrets and the addresses of others are this machine's."""
    (tmp_path / "issuer.pem").write_text(pem_of(private_key("ES256")))
    provided = JwksServer(jwk_of(private_key("RS256"), kid="a", use="sig", alg="RS256"))
    with provided as provider, UpstreamThread(echo) as service, UpstreamThread(knows_ann) as auth:
        given = {"${JWT_SECRET}": SECRET, "${ADMIN_TOKEN}": ADMIN, "file: issuer.pem": f"file: {tmp_path}/issuer.pem", LINK: provider.url}
        given["${INTROSPECTION_SECRET}"] = CLIENT_SECRET
        given |= {"127.0.0.1:6379": f"127.0.0.1:{store.port}", "https://sessions.example": f"http://127.0.0.1:{auth.port}"}
        text = configurations()[heading]
        for written, meant in given.items():
            text = text.replace(written, meant)
        config = yaml.safe_load(text)
        config["auth"].setdefault("default", "required")
        with LiveGateway(config, orders=[service.port], auth=[auth.port]) as gateway:
            STORIES[heading](Visitor(gateway, service))
            gateway.disconnect_all()
            gateway.assert_settled()


def test_every_reason_of_a_refusal_is_on_the_page() -> None:
    """An operator who sees a label finds it here."""
    policies = Path(__file__).parents[2] / "lbgateway" / "policies"
    names = ("token", "claims", "testimony", "authority", "session_auth")
    code = "".join((policies / f"{name}.py").read_text() for name in names)
    elsewhere = {"signature", "unknown_key", "missing", "scope", "unavailable", "ambiguous", "scheme", "inactive"}
    reasons = elsewhere.union(re.findall(r'(?:InvalidToken|Fails|refusal)\("(\w+)"', code))
    assert {"session", "subject", "expired"} <= reasons
    table = PAGE.partition("## What a refusal looks like")[2]
    assert {reason for reason in reasons if f"`{reason}`" not in table} == set()

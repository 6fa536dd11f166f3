"""Sessions in a real Redis and at a real service, and tokens that another service inspects: over real sockets, through trouble."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import redis

from tests.support.consul_server import ConsulServer
from tests.support.launch import wait_until
from tests.support.live_gateway import LiveGateway
from tests.support.redis_server import RedisServer
from tests.support.tokens import SECRET, token
from tests.support.upstream_server import Connection, Received, UpstreamServer, UpstreamThread, answer, echo
from tests.support.wire import Message

CACHE_S = 0.6
BACK_WITHIN_S = 10.0
JWT = {"secret": SECRET}


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture
def store(server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis(port=server.port) as client:
        client.flushall()
        yield client


@pytest.fixture
def service() -> Iterator[UpstreamServer]:
    with UpstreamThread(echo) as running:
        yield running


def stored(server: RedisServer, **more: Any) -> dict[str, Any]:
    return {"session": {"store": server.url, "cache": f"{int(CACHE_S * 1000)}ms"}, **more}


def gateway_with(service: UpstreamServer, auth: dict[str, Any], auth_ports: tuple[int, ...] = (), **more: Any) -> LiveGateway:
    services = {"orders": [service.port], **({"auth": list(auth_ports)} if auth_ports else {})}
    return LiveGateway({"auth": {"default": "required", **auth}, **more}, **services)


def ask(gateway: LiveGateway, *fields: str, path: str = "/api/orders/") -> Message:
    with gateway.connect() as client:
        return client.get(path, *fields).message()


def status(gateway: LiveGateway, *fields: str, path: str = "/api/orders/") -> int:
    return ask(gateway, *fields, path=path).status


def check(gateway: LiveGateway, name: str) -> tuple[str, str]:
    """The status of ``/health``, and the state of one check."""
    body = json.loads(ask(gateway, path="/health").body)
    return body["status"], body["checks"][name]["state"]


def settled(gateway: LiveGateway) -> None:
    gateway.disconnect_all()
    gateway.assert_settled()


def told(service: UpstreamServer, name: str) -> str | None:
    return service.requests[-1].header(name)


def test_a_session_says_who_is_asking(server, store, service):
    """What the application wrote becomes claims; for services, and for scopes."""
    store.set("session:ann", json.dumps({"sub": "ann", "scope": "a b"}))
    store.set("session:bob", json.dumps({"sub": "bob", "scope": ["b"]}))
    routes = [{"prefix": "/api/{service}", "strip_prefix": True}, {"prefix": "/a", "service": "orders", "scopes": ["a"]}]
    with gateway_with(service, stored(server), routes=routes) as gateway:
        assert status(gateway, "Cookie: theme=dark; sid=ann", "X-User-Id: root") == 200
        assert (told(service, "X-User-Id"), told(service, "X-User-Scope")) == ("ann", "a b")
        assert told(service, "Cookie") == "theme=dark; sid=ann"
        assert [status(gateway, f"Cookie: sid={name}", path="/a") for name in ("ann", "bob")] == [200, 403]
        refused = ask(gateway, "Cookie: sid=nobody")
        assert (refused.status, refused.get("WWW-Authenticate")) == (401, 'Bearer error="invalid_token"')
        assert status(gateway) == 401
        settled(gateway)
        failures = gateway.call(lambda made: dict(made.plane.metrics.auth_failures))
        assert failures == {"scope": 1, "session": 1, "missing": 1}


def test_a_session_that_ends_is_noticed_when_its_time_in_memory_is_up(server, store, service):
    """Not before, and Redis is asked once for many requests; one that ends by itself is not believed any longer."""
    store.set("session:ann", json.dumps({"sub": "ann"}))
    store.set("session:bob", json.dumps({"sub": "bob"}), px=200)
    with gateway_with(service, stored(server)) as gateway:
        began_s = time.monotonic()
        assert [status(gateway, "Cookie: sid=ann") for _ in range(5)] == [200] * 5
        assert status(gateway, "Cookie: sid=bob") == 200
        store.delete("session:ann")
        wait_until(lambda: status(gateway, "Cookie: sid=ann") == 401, BACK_WITHIN_S, lambda: "the session is still believed")
        assert time.monotonic() - began_s >= CACHE_S
        assert status(gateway, "Cookie: sid=bob") == 401
        store.set("session:ann", json.dumps({"sub": "ann"}))
        wait_until(lambda: status(gateway, "Cookie: sid=ann") == 200, BACK_WITHIN_S, lambda: "the new session is not believed")
        settled(gateway)


def test_beside_a_token_the_session_must_be_there_too(server, store, service):
    """Named by the claim or by the cookie; that of somebody else does not do. The operators' door asks the same."""
    store.set("session:ann", json.dumps({"sub": "ann"}))
    store.set("session:bob", json.dumps({"sub": "bob"}))
    store.set("session:plain", b"not even JSON")

    def bearer(**claims: Any) -> str:
        return f"Authorization: Bearer {token(**claims)}"

    with gateway_with(service, stored(server, jwt=JWT)) as gateway:
        assert status(gateway, bearer(sid="ann")) == 200
        assert status(gateway, bearer(), "Cookie: sid=ann") == 200
        assert status(gateway, bearer(sid="plain")) == 200
        assert told(service, "X-User-Id") == "ann"
        refused = [(bearer(),), (bearer(sid="gone"),), (bearer(sid="bob"),), (bearer(), "Cookie: sid=bob"), ("Cookie: sid=ann",)]
        refused += [(bearer(sid="ann", exp=1),), (bearer(sid="ann"), "Cookie: sid=bob")]
        assert [status(gateway, *fields) for fields in refused] == [401] * len(refused)
        doors = [bearer(scope="admin", sid="ann"), bearer(scope="admin", sid="gone"), bearer(scope="admin"), bearer(sid="ann")]
        assert [status(gateway, door, path="/admin/config") for door in doors] == [200, 401, 401, 403]
        settled(gateway)


def test_redis_away_and_back(server, store, service):
    """Killed and started again, frozen and thawed: 503, never 401; what is remembered counts; nothing has to be done by hand."""
    auth = {**stored(server), "public_paths": {"exact": ["/api/orders/open"]}}
    auth["session"]["cache"] = "2s"
    routes = [{"prefix": "/api/{service}", "strip_prefix": True}, {"prefix": "/maybe", "service": "orders", "auth": "optional"}]
    with gateway_with(service, auth, routes=routes, health={"required": []}) as gateway:
        for leave, come_back in ((server.kill, server.start), (server.pause, server.resume)):
            store.set("session:ann", json.dumps({"sub": "ann"}))
            wait_until(lambda: status(gateway, "Cookie: sid=ann") == 200, BACK_WITHIN_S, lambda: "it does not come back")
            wait_until(lambda: check(gateway, "session") == ("ok", "up"), BACK_WITHIN_S, lambda: "/health does not see it")
            seen_s = time.monotonic()
            leave()
            away = ask(gateway, "Cookie: sid=carl")
            assert (away.status, away.get("Retry-After")) == (503, "1")
            assert b"auth_unavailable" in away.body
            if time.monotonic() - seen_s < 1.5:  # a slow machine may be late
                assert status(gateway, "Cookie: sid=ann") == 200
            assert [status(gateway, "Cookie: sid=ann", path="/api/orders/open"), status(gateway, path="/maybe")] == [200, 200]
            assert [status(gateway, "Cookie: sid=carl", path="/maybe"), status(gateway)] == [503, 401]
            assert check(gateway, "session") == ("degraded", "down")
            wait_until(lambda: status(gateway, "Cookie: sid=ann") == 503, BACK_WITHIN_S, lambda: "it is believed for ever")
            come_back()
        wait_until(lambda: status(gateway, "Cookie: sid=ann") == 200, BACK_WITHIN_S, lambda: "it does not come back")
        settled(gateway)


def test_a_frozen_redis_holds_nobody_up_for_long(server, store, service):
    """The breaker opens: most are answered at once. A crowd of new sessions costs Redis few round trips afterwards."""
    with gateway_with(service, stored(server)) as gateway:
        wait_until(lambda: check(gateway, "session")[1] == "up", BACK_WITHIN_S, lambda: "Redis is not seen")
        server.pause()
        try:
            with ThreadPoolExecutor(8) as pool:
                assert set(pool.map(lambda n: status(gateway, f"Cookie: sid=s{n}"), range(40))) == {503}
            began_s = time.monotonic()
            assert {status(gateway, f"Cookie: sid=t{n}") for n in range(10)} == {503}
            assert time.monotonic() - began_s < 5.0
        finally:
            server.resume()
        wait_until(lambda: status(gateway, "Cookie: sid=s1") == 401, BACK_WITHIN_S, lambda: "it does not come back")
        settled(gateway)


def test_health_may_require_redis(server, store, service):
    """Then its absence is a failure of the gateway."""
    with gateway_with(service, stored(server), health={"required": ["redis"]}) as gateway:
        wait_until(lambda: check(gateway, "session") == ("ok", "up"), BACK_WITHIN_S, lambda: "Redis is not seen")
        server.kill()
        try:
            assert status(gateway, "Cookie: sid=ann") == 503
            assert check(gateway, "session") == ("failing", "down")
        finally:
            server.start()
        settled(gateway)


def test_a_reload_keeps_what_it_can(server, store, service):
    """The connection and what is under way stay; other settings for sessions take effect at once."""
    store.set("session:ann", json.dumps({"sub": "ann"}))
    store.set("other:ann", json.dumps({"sub": "ann"}))
    with gateway_with(service, stored(server)) as gateway:
        assert status(gateway, "Cookie: sid=ann") == 200
        before = gateway.call(lambda made: made.authentication.in_force)
        gateway.reload({"auth": {"forward_claims": {"scope": None}}})
        after = gateway.call(lambda made: made.authentication.in_force)
        assert before.session is after.session
        assert status(gateway, "Cookie: sid=ann") == 200
        gateway.reload({"auth": {"session": {"key_prefix": "other:", "cookie": "id"}}})
        assert [status(gateway, "Cookie: sid=ann"), status(gateway, "Cookie: id=ann")] == [401, 200]
        gateway.reload({"auth": {"session": None, "default": "none"}})
        assert status(gateway) == 200
        settled(gateway)


class AuthService:
    """Knows the tokens and sessions in `good`; each answer is for `lasts_s` at most. While `open` is clear, answers wait."""

    def __init__(self, *good: str) -> None:
        self.good = set(good)
        self.plain = False
        self.lasts_s: float | None = None
        self.open = threading.Event()
        self.open.set()
        self.asked: list[Received] = []

    async def __call__(self, request: Received, connection: Connection) -> bool:
        self.asked.append(request)
        await asyncio.to_thread(self.open.wait, 10)
        shown = f"{request.header('Authorization')} {request.header('Cookie')}"
        name = next((name for name in self.good if name in shown), None)
        if self.plain:
            await connection.send(answer(b"", status="200 OK" if name else "401 Unauthorized"))
            return True
        end = {} if self.lasts_s is None else {"exp": time.time() + self.lasts_s}
        body = {"active": True, "sub": name, "scope": "a", **end} if name else {"active": False}
        await connection.send(answer(json.dumps(body).encode()))
        return True


INSPECTED = {"introspection": {"service": "auth", "path": "/validate", "cache": f"{int(CACHE_S * 1000)}ms"}}


def bearer(raw: str) -> str:
    return f"Authorization: Bearer {raw}"


def test_a_token_is_inspected_by_a_service_of_the_registry(service):
    """Balanced like any other, once for many requests; its answer is who is asking."""
    auth = AuthService("opaque-1", "opaque-2")
    with UpstreamThread(auth) as one, UpstreamThread(auth) as two, gateway_with(service, INSPECTED, (one.port, two.port)) as gateway:
        assert [status(gateway, bearer("opaque-1")) for _ in range(4)] == [200] * 4
        assert (told(service, "X-User-Id"), told(service, "X-User-Scope")) == ("opaque-1", "a")
        assert [status(gateway, bearer("opaque-2")), status(gateway, bearer("other")), status(gateway)] == [200, 401, 401]
        assert (len(one.requests), len(two.requests)) in ((1, 2), (2, 1))
        assert {request.target for request in auth.asked} == {"/validate"}
        auth.good.discard("opaque-1")
        wait_until(lambda: status(gateway, bearer("opaque-1")) == 401, BACK_WITHIN_S, lambda: "the token is still believed")
        settled(gateway)


def test_an_answer_by_status_alone_will_do(service):
    """200 lets in, though nothing is known of who it is; 401 does not."""
    auth = AuthService("good")
    auth.plain = True
    with UpstreamThread(auth) as running, gateway_with(service, INSPECTED, (running.port,)) as gateway:
        assert [status(gateway, bearer("good")), status(gateway, bearer("bad"))] == [200, 401]
        assert told(service, "X-User-Id") is None
        settled(gateway)


def test_a_service_that_asks_who_is_asking(service, tmp_path):
    """It knows the gateway by a name and a secret from a file; with a wrong one nobody is told 401."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text("s3cr3t\n")
    bad.write_text("guessed\n")

    async def inspects(request: Received, connection: Connection) -> bool:
        if request.header("Authorization") != "Basic " + base64.b64encode(b"gateway:s3cr3t").decode():
            await connection.send(answer(b'{"error": "invalid_client"}', status="401 Unauthorized"))
            return True
        name = parse_qs(request.body.decode())["token"][0]
        body = {"active": True, "sub": name} if name == "opaque" else {"active": False}
        await connection.send(answer(json.dumps(body).encode()))
        return True

    def known_by(secret: Path) -> dict[str, Any]:
        return {"introspection": {**INSPECTED["introspection"], "client_id": "gateway", "client_secret": {"file": str(secret)}}}

    with UpstreamThread(inspects) as auth:
        with gateway_with(service, known_by(good), (auth.port,)) as gateway:
            assert [status(gateway, bearer("opaque")), status(gateway, bearer("other")), status(gateway)] == [200, 401, 401]
            assert told(service, "X-User-Id") == "opaque"
            settled(gateway)
        with gateway_with(service, known_by(bad), (auth.port,)) as gateway:
            assert status(gateway, bearer("opaque")) == 503
            health = gateway.call(lambda made: made.authentication.authorities())["introspection"]
            assert "client_secret are not accepted" in (health.last_error or "")
            settled(gateway)


def test_many_who_show_the_same_token_cost_one_question(service):
    """They wait together; a client that leaves meanwhile leaves the others alone."""
    auth = AuthService("good")
    auth.open.clear()
    with UpstreamThread(auth) as running, gateway_with(service, INSPECTED, (running.port,)) as gateway, ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(status, gateway, bearer("good")) for _ in range(6)]
        wait_until(lambda: len(auth.asked) == 1, BACK_WITHIN_S, lambda: "nobody asks")
        leaver = gateway.connect().get("/api/orders/", bearer("good"))
        wait_until(lambda: gateway.call(lambda made: len(made.plane.active)) == 8, BACK_WITHIN_S, lambda: "they do not wait")
        leaver.close()
        auth.open.set()
        assert [each.result() for each in waiting] == [200] * 6
        assert len(auth.asked) == 1
        settled(gateway)


def test_an_instance_that_dies_is_not_noticed_and_the_last_one_is_503(service):
    """Never 401 for a good token because a service is down; it comes back by itself."""
    auth = AuthService("good")
    one, two = UpstreamThread(auth), UpstreamThread(auth)
    with contextlib.ExitStack() as last, contextlib.ExitStack() as first:
        left = last.enter_context(one)
        with gateway_with(service, INSPECTED, (left.port, first.enter_context(two).port)) as gateway:
            assert {status(gateway, bearer(f"good-{number}")) for number in range(4)} == {200}
            first.close()
            assert {status(gateway, bearer(f"good-{number}")) for number in range(4, 10)} == {200}
            last.close()
            for number in range(10, 20):
                away = ask(gateway, bearer(f"good-{number}"))
                assert (away.status, away.get("Retry-After")) == (503, "1")
            assert check(gateway, "introspection") == ("degraded", "down")
            with UpstreamThread(auth, port=left.port):
                wait_until(lambda: status(gateway, bearer("good")) == 200, BACK_WITHIN_S, lambda: "it does not come back")
                assert check(gateway, "introspection") == ("ok", "up")
            settled(gateway)


def test_beside_a_verified_token_the_service_has_the_last_word(service):
    """A token that is genuine, but was taken back."""
    good, other = token(), token(sub="bob")
    auth = AuthService(good)
    auth.plain = True
    with UpstreamThread(auth) as running, gateway_with(service, {**INSPECTED, "jwt": JWT}, (running.port,)) as gateway:
        assert [status(gateway, bearer(good)), status(gateway, bearer(other)), status(gateway, bearer("opaque"))] == [200, 401, 401]
        assert told(service, "X-User-Id") == "ann"
        assert len(auth.asked) == 2
        settled(gateway)


def test_sessions_at_a_service(service):
    """It is shown the cookie, and believed for so long; away it is 503."""
    auth = AuthService("sid=ann")
    with contextlib.ExitStack() as there:
        url = f"http://127.0.0.1:{there.enter_context(UpstreamThread(auth)).port}/validate"
        with gateway_with(service, {"session": {"url": url, "cache": "1s"}}) as gateway:
            assert [status(gateway, "Cookie: a=1; sid=ann") for _ in range(3)] == [200] * 3
            assert {(each.method, each.target, each.header("Cookie")) for each in auth.asked} == {("GET", "/validate", "sid=ann")}
            asked = len(auth.asked)
            assert [status(gateway, "Cookie: sid=bob"), status(gateway, "Cookie: sid=a:b"), status(gateway)] == [401] * 3
            assert len(auth.asked) == asked + 1
            there.close()
            assert status(gateway, "Cookie: sid=carl") == 503
            assert check(gateway, "session") == ("degraded", "down")
            settled(gateway)


def test_a_token_is_not_believed_beyond_its_end(service):
    """However long answers are remembered."""
    auth = AuthService("good")
    auth.lasts_s = 0.3
    with UpstreamThread(auth) as running, gateway_with(service, {"introspection": {"service": "auth"}}, (running.port,)) as gateway:
        assert status(gateway, bearer("good")) == 200
        auth.good.clear()
        wait_until(lambda: status(gateway, bearer("good")) == 401, 5, lambda: "it is believed beyond its end")
        settled(gateway)


def test_a_service_of_consul_that_only_the_gateway_asks_is_no_way_in(service):
    """It needs no tag and no route, and has none; once it opts in, it is like any other."""
    auth = AuthService("good")
    with UpstreamThread(auth) as running, ConsulServer() as consul:
        consul.register("auth", running.port, tags=("lbgateway.prefix=/api/auth/extra",))
        consul.register("orders", service.port)
        discovery = {"provider": "consul", "consul": {"url": consul.url}}
        with LiveGateway({"auth": {"default": "required", **INSPECTED}, "discovery": discovery}) as gateway:
            wait_until(lambda: status(gateway, bearer("good")) == 200, BACK_WITHIN_S, lambda: "it is not found")
            paths = ("/api/auth/", "/api/AUTH", "/api/auth/extra/", "/api/nobody/")
            assert [status(gateway, bearer("good"), path=path) for path in paths] == [404] * 4
            assert status(gateway, bearer("bad"), path="/api/auth/") == 401
            consul.register("auth", running.port)
            wait_until(lambda: status(gateway, bearer("good"), path="/api/auth/") == 200, BACK_WITHIN_S, lambda: "it stays hidden")
            settled(gateway)

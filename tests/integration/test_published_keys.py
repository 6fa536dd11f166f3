"""Keys that a provider publishes: a gateway, a provider and a service over real sockets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml

from lbgateway.config import load_text
from tests.support.jwks_server import JwksServer
from tests.support.launch import wait_until
from tests.support.live_gateway import LiveGateway
from tests.support.tokens import jwk_of, private_key, token
from tests.support.upstream_server import UpstreamServer, UpstreamThread, echo

ONE, TWO, THREE = (jwk_of(private_key("ES256", which), kid=which) for which in "abc")
PATIENCE_S = 5.0


def by(which: str, **claims: Any) -> str:
    return token("ES256", private_key("ES256", which), kid=which, **claims)


def config_of(provider: JwksServer) -> dict[str, Any]:
    return {
        "auth": {"default": "required", "jwt": {"jwks_url": provider.url, "algorithms": ["ES256"]}},
        "admin": {"scope": "ops"},
    }


@pytest.fixture
def provider() -> Iterator[JwksServer]:
    with JwksServer(ONE) as made:
        yield made


@pytest.fixture
def service() -> Iterator[UpstreamServer]:
    with UpstreamThread(echo) as made:
        yield made


@pytest.fixture
def gateway(provider: JwksServer, service: UpstreamServer) -> Iterator[LiveGateway]:
    with LiveGateway(config_of(provider), orders=[service.port]) as made:
        yield made
        made.disconnect_all()
        made.assert_settled()


def status(gateway: LiveGateway, raw: str, path: str = "/api/orders/") -> int:
    with gateway.connect() as client:
        return client.get(path, f"Authorization: Bearer {raw}").message().status


def test_a_first_request_waits_for_the_first_keys(service):
    """The gateway opens its door before the provider has answered; a good token is not turned away."""
    with JwksServer(ONE) as provider, LiveGateway(config_of(provider), orders=[service.port]) as gateway:
        assert status(gateway, by("a")) == 200
        gateway.disconnect_all()
        gateway.assert_settled()


def test_a_rotation_fails_no_request(provider, gateway):
    """Requests with the new key wait for one fetch; those with the old one go on beside them."""
    assert status(gateway, by("a")) == 200
    asked = len(provider.asked_at_s)
    provider.publish(ONE, TWO)
    provider.open.clear()
    with ThreadPoolExecutor(8) as pool:
        new = [pool.submit(status, gateway, by("b", jti=str(number))) for number in range(6)]
        wait_until(lambda: len(provider.asked_at_s) > asked, PATIENCE_S, lambda: "the keys are not fetched again")
        began_s = time.monotonic()
        assert [status(gateway, by("a", jti=str(number))) for number in range(5)] == [200] * 5
        assert time.monotonic() - began_s < 2.0
        assert not any(each.done() for each in new)
        provider.open.set()
        assert [each.result() for each in new] == [200] * 6
    assert len(provider.asked_at_s) == asked + 1


def test_a_second_rotation_a_moment_later_fails_no_request_either(provider, gateway):
    """A provider that has changed its keys may do so again, and a fetch that found new ones is no reason to wait."""
    assert status(gateway, by("a")) == 200
    for published, which in (((ONE, TWO), "b"), ((TWO, THREE), "c")):
        provider.publish(*published)
        assert status(gateway, by(which)) == 200
    assert status(gateway, by("a")) == 401


def test_a_rotation_while_somebody_invents_keys_is_no_401(provider, gateway):
    """The keys may not be fetched yet: a token that is younger than they are is told to come back, and any other is refused."""
    assert status(gateway, by("a")) == 200
    invented = token("ES256", private_key("ES256", "b"), kid="invented")
    assert status(gateway, invented) == 401
    provider.publish(ONE, TWO)
    with gateway.connect() as client:
        answer = client.get("/api/orders/", f"Authorization: Bearer {by('b', iat=int(time.time()) + 2)}").message()
        assert (answer.status, int(answer.get("Retry-After") or 0)) == (503, pytest.approx(10, abs=3))
        assert b"auth_unavailable" in answer.body
        assert client.get("/api/orders/", f"Authorization: Bearer {by('b', iat=int(time.time()) - 60)}").message().status == 401
        assert client.get("/api/orders/", f"Authorization: Bearer {by('a')}").message().status == 200
    gateway.call(lambda made: made.authentication.jwks).__dict__["_missed_at_s"] = float("-inf")  # ten seconds are over
    assert status(gateway, by("b")) == 200


def test_a_client_with_a_foreign_token_does_not_use_up_the_fetches(provider, gateway):
    """It is told 401 for as long as it likes; a rotation meanwhile finds the next fetch free."""
    assert status(gateway, by("a")) == 200
    foreign, jwks = by("c"), gateway.call(lambda made: made.authentication.jwks)
    assert status(gateway, foreign) == 401
    asked = len(provider.asked_at_s)
    jwks.__dict__["_missed_at_s"] = float("-inf")  # ten seconds are over
    assert [status(gateway, foreign) for _ in range(5)] == [401] * 5
    assert len(provider.asked_at_s) == asked + 1
    provider.publish(ONE, TWO)
    assert [status(gateway, by("b")), status(gateway, foreign)] == [200, 401]


def test_invented_keys_do_not_make_the_gateway_fetch_without_end(provider, gateway):
    """One fetch in ten seconds; each is 401, and none waits for the next."""
    assert status(gateway, by("a")) == 200
    asked, began_s = len(provider.asked_at_s), time.monotonic()
    forged = [token("ES256", private_key("ES256", "b"), kid=f"invented-{number}") for number in range(30)]
    assert [status(gateway, raw) for raw in forged] == [401] * 30
    assert time.monotonic() - began_s < 5.0
    assert len(provider.asked_at_s) == asked + 1
    assert status(gateway, by("a")) == 200


def test_while_the_provider_is_away_known_keys_serve_and_unknown_ones_are_503(provider, gateway):
    """Never 401: the token may be good, and a client would throw it away."""
    assert status(gateway, by("a")) == 200
    assert status(gateway, by("a"), "/health") == 200
    provider.stop()
    with gateway.connect() as client:
        answer = client.get("/api/orders/", f"Authorization: Bearer {by('b')}").message()
        assert (answer.status, answer.get("Retry-After")) == (503, "1")
        assert b"auth_unavailable" in answer.body
        assert client.get("/api/orders/", f"Authorization: Bearer {by('a', jti='new')}").message().status == 200
        assert b'"keys": {"state": "stale", "known": 1}' in client.get("/health").message().body
    provider.publish(TWO)
    provider.start()
    wait_until(lambda: status(gateway, by("b")) == 200, 15, lambda: "the new key is not accepted")
    assert status(gateway, by("a")) == 401


def test_a_key_that_was_taken_away_ends_tokens_that_were_remembered(provider, gateway):
    """As soon as the gateway hears of it: another token's miss is enough."""
    old = by("a")
    assert status(gateway, old) == 200
    provider.publish(TWO)
    assert status(gateway, by("b")) == 200
    assert status(gateway, old) == 401


def test_a_body_waits_with_its_request(provider, gateway, service):
    """It is held back, and arrives whole."""
    assert status(gateway, by("a")) == 200
    provider.publish(ONE, TWO)
    body = b"x" * 300_000
    with gateway.connect() as client:
        head = f"POST /api/orders/echo HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {by('b')}\r\nContent-Length: {len(body)}\r\n\r\n"
        client.send(head.encode(), body)
        assert client.message().status == 200
    [sent] = [each for each in service.requests if each.method == "POST"]
    assert sent.body == body


def test_the_admin_door_knows_the_keys_too(provider, gateway):
    """With the scope; a token by a new key waits there as well."""
    for which, scope, expected in (("a", "ops", 200), ("a", "other", 403), ("c", "ops", 401)):
        assert status(gateway, by(which, scope=scope), "/admin/routes") == expected
    provider.publish(ONE, TWO)
    jwks = gateway.call(lambda made: made.authentication.jwks)
    jwks._missed_at_s = float("-inf")  # ten seconds are over
    assert status(gateway, by("b", scope="read ops"), "/admin/routes") == 200


def test_a_reload_keeps_the_keys(provider, gateway):
    """What is known need not be fetched again, and goes on with other settings."""
    assert status(gateway, by("a")) == 200
    asked = len(provider.asked_at_s)
    changed = {**gateway.config, "auth": {**gateway.config["auth"], "forward_claims": {"scope": None}}}
    settings = load_text(yaml.safe_dump(changed), "test.yaml", {})
    gateway.call(lambda made: made.reload(settings))
    assert status(gateway, by("a")) == 200
    assert len(provider.asked_at_s) == asked

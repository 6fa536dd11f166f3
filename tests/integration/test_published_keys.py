"""Keys that a provider publishes: a gateway, a provider and a service over real sockets."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import yaml

import lbgateway.jwks as jwks_module
from lbgateway.config import load_text
from lbgateway.jwks import MISS_EVERY_S
from lbgateway.policies.jwt_auth import WAIT_S
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
        client.sock.settimeout(WAIT_S)
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


def hold_for(gateway: LiveGateway, seconds: float) -> None:
    """Most of the ten seconds since the last fetch are over."""
    jwks = gateway.call(lambda made: made.authentication.jwks)
    jwks.__dict__["_missed_at_s"] = time.monotonic() - MISS_EVERY_S + seconds


def test_a_second_rotation_a_moment_later_fails_no_request_either(provider, gateway):
    """Its requests wait until the keys may be fetched again: the full ten seconds, in which those with known keys go on."""
    assert status(gateway, by("a")) == 200
    provider.publish(ONE, TWO)
    assert status(gateway, by("b")) == 200
    provider.publish(TWO, THREE)
    began_s = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        new = [pool.submit(status, gateway, by("c", jti=str(number), iat=iat)) for number in range(3) for iat in (None, int(time.time()))]
        wait_until(lambda: held(gateway) == 6, PATIENCE_S, lambda: f"{held(gateway)} are held")
        assert [status(gateway, by(which)) for which in "ab"] == [200, 200]
        assert time.monotonic() - began_s < 5.0
        assert [each.result() for each in new] == [200] * 6
    assert 8.0 < time.monotonic() - began_s < 12.0
    assert status(gateway, by("a")) == 401
    gaps = [later - earlier for earlier, later in itertools.pairwise(provider.asked_at_s[1:])]
    assert gaps == [pytest.approx(MISS_EVERY_S, abs=0.5)]


def held(gateway: LiveGateway) -> int:
    flight = gateway.call(lambda made: made.authentication.jwks).__dict__["_next"]
    return flight.waiting if flight is not None else 0


@pytest.mark.parametrize("iat", [None, 0, -20], ids=["does not say when it was issued", "issued now", "issued by a clock that is late"])
def test_a_rotation_while_somebody_invents_keys_fails_no_request(provider, gateway, iat):
    """The keys may not be fetched yet: a token that may be younger than they are waits until they may. One that cannot be is refused."""
    assert status(gateway, by("a")) == 200
    invented = token("ES256", private_key("ES256", "b"), kid="invented")
    assert status(gateway, invented) == 401
    provider.publish(ONE, TWO)
    began_s = time.monotonic()
    assert status(gateway, by("b", iat=int(time.time()) - 60)) == 401
    assert status(gateway, by("a")) == 200
    assert time.monotonic() - began_s < 2.0
    hold_for(gateway, 1.0)
    assert status(gateway, by("b", iat=None if iat is None else int(time.time()) + iat)) == 200
    assert 0.5 < time.monotonic() - began_s < 4.0


def test_who_finds_no_room_to_wait_is_told_to_come_back(provider, gateway, monkeypatch):
    """Never 401: it may be good. Who waits already is not touched; who gives up makes room."""
    monkeypatch.setattr(jwks_module, "MOST_HELD", 2)
    assert status(gateway, by("a")) == 200
    assert status(gateway, by("b")) == 401
    provider.publish(ONE, TWO)
    hold_for(gateway, 3.0)
    waiting = [gateway.connect() for _ in range(2)]
    for number, client in enumerate(waiting):
        client.send(f"GET /api/orders/ HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {by('b', jti=f'w{number}')}\r\n\r\n".encode())
        wait_until(lambda number=number: held(gateway) == number + 1, PATIENCE_S, lambda: f"{held(gateway)} are held")
    with gateway.connect() as client:
        answer = client.get("/api/orders/", f"Authorization: Bearer {by('b', jti='new')}").message()
        assert (answer.status, int(answer.get("Retry-After") or 0)) == (503, pytest.approx(3, abs=1))
        assert b"auth_unavailable" in answer.body
    waiting[0].close()
    wait_until(lambda: held(gateway) == 1, PATIENCE_S, lambda: f"{held(gateway)} are held")
    assert status(gateway, by("b", jti="another")) == 200
    assert waiting[1].message().status == 200


def test_a_client_with_a_foreign_token_does_not_use_up_the_fetches(provider, gateway):
    """It is told 401 for as long as it likes, and keys are fetched for it more and more seldom."""
    assert status(gateway, by("a")) == 200
    foreign = by("c")
    assert status(gateway, foreign) == 401
    asked = len(provider.asked_at_s)
    hold_for(gateway, 0.0)  # ten seconds are over
    assert [status(gateway, foreign) for _ in range(5)] == [401] * 5
    assert len(provider.asked_at_s) == asked
    provider.publish(ONE, TWO)
    assert [status(gateway, by("b")), status(gateway, foreign)] == [200, 401]


def test_invented_keys_do_not_make_the_gateway_fetch_without_end(provider, gateway):
    """One fetch in ten seconds; each is 401, those that may be younger than the keys after the next one."""
    assert status(gateway, by("a")) == 200
    asked, began_s = len(provider.asked_at_s), time.monotonic()
    long_ago = int(began_s - 3600)
    old = [token("ES256", private_key("ES256", "b"), kid=f"invented-{number}", iat=long_ago) for number in range(30)]
    assert [status(gateway, raw) for raw in old] == [401] * 30
    assert time.monotonic() - began_s < 5.0
    assert len(provider.asked_at_s) == asked + 1
    hold_for(gateway, 2.0)
    with ThreadPoolExecutor(30) as pool:
        young = [token("ES256", private_key("ES256", "b"), kid=f"invented-{number}") for number in range(30)]
        assert list(pool.map(partial(status, gateway), young)) == [401] * 30
    assert len(provider.asked_at_s) == asked + 2
    assert status(gateway, by("a")) == 200


def test_nothing_is_fetched_for_what_no_key_would_save(provider, gateway):
    """Of another issuer, over, or for somebody else: that, a token says of itself."""
    assert status(gateway, by("a")) == 200
    asked = len(provider.asked_at_s)
    assert [status(gateway, by("b", **claims)) for claims in ({"exp": 1}, {"exp": None}, {"nbf": 2**40}, {"sub": 7})] == [401] * 4
    assert len(provider.asked_at_s) == asked


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
    began_s = time.monotonic()
    hold_for(gateway, 1.0)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda which: status(gateway, by(which, scope="read ops", jti="held"), "/admin/routes"), "bc"))
    assert found == [200, 401]
    assert 0.5 < time.monotonic() - began_s < 5.0


def test_a_reload_keeps_the_keys(provider, gateway):
    """What is known need not be fetched again, and goes on with other settings."""
    assert status(gateway, by("a")) == 200
    asked = len(provider.asked_at_s)
    changed = {**gateway.config, "auth": {**gateway.config["auth"], "forward_claims": {"scope": None}}}
    settings = load_text(yaml.safe_dump(changed), "test.yaml", {})
    gateway.call(lambda made: made.reload(settings))
    assert status(gateway, by("a")) == 200
    assert len(provider.asked_at_s) == asked

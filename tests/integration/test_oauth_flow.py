"""A whole authorization-code flow through the gateway, against a real OpenID provider that does not know of it."""

from __future__ import annotations

import base64
import hashlib
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.launch import RunningProcess, accepts, free_ports, wait_until

ROOT = Path(__file__).parents[2]
CLIENT = {"client_id": "shop", "redirect_uri": "https://shop.example/back"}
SCOPES = "openid email"


class Setup(NamedTuple):
    gateway: GatewayProcess
    provider_port: int


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    """`/oauth` leads to the provider, everything below `/api` needs a token that it signed."""
    (port,) = free_ports(1)
    log = tmp_path_factory.mktemp("provider") / "log"
    provider = RunningProcess([sys.executable, "-m", "tests.support.openid_provider", str(port), "/oauth"], {"PYTHONPATH": str(ROOT)}, log)
    try:
        wait_until(lambda: accepts(port), 20, log.read_text)
        config = {
            "discovery": {"provider": "static"},
            "services": {"auth": {"instances": [f"127.0.0.1:{port}"]}},
            "oauth": {"service": "auth"},
            "auth": {"jwt": {"algorithms": ["RS256"], "jwks_url": f"http://127.0.0.1:{port}/oauth/jwks"}},
        }
        with GatewayProcess(config) as gateway:
            yield Setup(gateway, port)
    finally:
        provider.terminate()


def test_a_user_logs_in_through_the_gateway(setup: Setup) -> None:
    """Addresses, redirects, cookies, state and nonce arrive as they were sent, in both directions."""
    base = setup.gateway.url
    with httpx.Client(base_url=base) as browser:
        known = browser.get("/oauth/.well-known/openid-configuration").json()
        assert known["authorization_endpoint"] == f"{base}/oauth/oauth2/authorize"  # it saw the Host that the browser sent

        ask = {"response_type": "code", "scope": SCOPES, "state": "a b&c=%2F", "nonce": "n-0S6", **CLIENT}
        form = browser.get(known["authorization_endpoint"], params=ask)
        assert form.status_code == 200
        assert browser.cookies.get("provider_session", path="/oauth")

        back = browser.post(form.url, data={"sub": "ann"})
        assert back.status_code == 302
        place = urlsplit(back.headers["location"])
        answer = {name: values[0] for name, values in parse_qs(place.query).items()}
        assert (f"{place.scheme}://{place.netloc}{place.path}", answer["state"]) == (CLIENT["redirect_uri"], ask["state"])

        granted = browser.post(
            known["token_endpoint"],
            data={"grant_type": "authorization_code", "code": answer["code"], **CLIENT},
            auth=("shop", "secret"),  # Authorization belongs to the provider here: the gateway does not judge it
        )
        assert granted.status_code == 200, granted.text
        tokens = granted.json()

        keys = jwt.PyJWKSet.from_dict(browser.get(known["jwks_uri"]).json())
        claims = jwt.decode(tokens["id_token"], keys.keys[0].key, algorithms=["RS256"], audience="shop", issuer=base)
        assert (claims["sub"], claims["nonce"]) == ("ann", "n-0S6")

        mine = browser.get(known["userinfo_endpoint"], headers={"Authorization": f"Bearer {tokens['access_token']}"})
        assert mine.json()["sub"] == "ann"


@pytest.mark.parametrize(("proof", "status"), [("right", 200), ("wrong", 400), ("none", 400)])
def test_a_code_is_worth_nothing_without_the_proof_of_who_asked_for_it(setup: Setup, proof: str, status: int) -> None:
    """PKCE (RFC 7636) with S256: challenge and verifier reach the provider as they were sent, and it refuses whoever took the code only."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    sent = {"right": {"code_verifier": verifier}, "wrong": {"code_verifier": secrets.token_urlsafe(48)}, "none": {}}[proof]
    with httpx.Client(base_url=setup.gateway.url) as browser:
        pkce = {"code_challenge": challenge, "code_challenge_method": "S256"}
        ask = {"response_type": "code", "scope": SCOPES, "state": "x", **pkce, **CLIENT}
        form = browser.get("/oauth/oauth2/authorize", params=ask)
        back = browser.post(form.url, data={"sub": "ann"})
        code = parse_qs(urlsplit(back.headers["location"]).query)["code"][0]

        granted = browser.post("/oauth/oauth2/token", data={"grant_type": "authorization_code", "code": code, **sent, **CLIENT})

        assert granted.status_code == status, granted.text
        if proof == "right":
            token = granted.json()["id_token"]
            assert browser.get("/api/auth/oauth/jwks", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        if proof == "wrong":
            assert granted.json()["error"] == "invalid_grant"


def test_a_form_that_was_opened_elsewhere_is_refused_by_the_provider(setup: Setup) -> None:
    """So the cookie of the test above did count."""
    ask = {"response_type": "code", "scope": SCOPES, "state": "x", **CLIENT}

    assert httpx.post(f"{setup.gateway.url}/oauth/oauth2/authorize", params=ask, data={"sub": "ann"}).status_code == 403


def test_oauth_is_public_and_nothing_else_is(setup: Setup) -> None:
    """Also with a token that is none; and nothing beside the prefix gets there."""
    url = setup.gateway.url
    stale = {"Authorization": "Bearer gone"}

    assert httpx.get(f"{url}/oauth/.well-known/openid-configuration", headers=stale).status_code == 200
    assert httpx.get(f"{url}/api/auth/oauth/.well-known/openid-configuration").status_code == 401
    assert httpx.get(f"{url}/oauthx").status_code == 404
    assert [route["prefix"] for route in httpx.get(f"{url}/admin/routes").json()["routes"]] == ["/api/{service}", "/oauth"]


def test_a_token_of_the_provider_opens_the_api(setup: Setup) -> None:
    """Its keys are read from where it publishes them; without a token the same address is closed."""
    url = setup.gateway.url
    with httpx.Client(base_url=url) as browser:
        form = browser.get("/oauth/oauth2/authorize", params={"response_type": "code", "scope": SCOPES, "state": "x", **CLIENT})
        code = parse_qs(urlsplit(browser.post(form.url, data={"sub": "ann"}).headers["location"]).query)["code"][0]
        data = {"grant_type": "authorization_code", "code": code, **CLIENT}
        token = browser.post("/oauth/oauth2/token", data=data, auth=("shop", "secret")).json()["id_token"]

        assert browser.get("/api/auth/oauth/jwks", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        assert browser.get("/api/auth/oauth/jwks", headers={"Authorization": f"Bearer {token}x"}).status_code == 401

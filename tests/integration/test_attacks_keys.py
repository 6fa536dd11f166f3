"""Keys that a token brings along, or says where to find: never believed, never fetched.

Every token here is signed by the attacker's own key, and a real server offers that key at every address that a token
names. Who does what the token says finds a key that fits: the first test proves it, the second that the gateway does not.
"""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, load_pem_public_key

from tests.support.jwks_server import JwksServer
from tests.support.live_gateway import LiveGateway
from tests.support.tokens import jwk_of, pem_of, private_key, token
from tests.support.upstream_server import UpstreamServer, UpstreamThread, echo

OURS = private_key("ES256")
LEAF = trustme.CA().issue_cert("attacker.example")
THEIRS: Any = load_pem_private_key(LEAF.private_key_pem.bytes(), None)
CHAIN = b"".join(blob.bytes() for blob in LEAF.cert_chain_pems)
KID = "of-the-attacker"
THERE = "http://attacker.example"
"""Stands for the attacker's server until it has a port."""
LATE_S = 0.3
"""How long after the last answer somebody might still come for a key."""


@pytest.fixture(scope="module")
def attacker() -> Iterator[JwksServer]:
    """Offers its key as a set of keys, as a certificate, and by what providers say of themselves."""
    with JwksServer(jwk_of(THEIRS, kid=KID)) as made:
        made.pages["/x5u"] = CHAIN
        for page in ("openid-configuration", "oauth-authorization-server"):
            made.pages[f"/.well-known/{page}"] = json.dumps({"issuer": made.url, "jwks_uri": made.url}).encode()
        yield made


def fetched(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return bytes(answer.read())


def published(url: str) -> Any:
    return jwt.PyJWKClient(url).get_signing_keys()[0].key


def certified(der: bytes) -> Any:
    return x509.load_der_x509_certificate(der).public_key()


def discovered(issuer: str) -> Any:
    return published(json.loads(fetched(f"{issuer}/.well-known/openid-configuration"))["jwks_uri"])


def der_chain() -> list[str]:
    certificates = x509.load_pem_x509_certificates(CHAIN)
    return [base64.b64encode(each.public_bytes(Encoding.DER)).decode() for each in certificates]


@dataclass(frozen=True)
class Row:
    """`head` and `claims` of the token, and the key that somebody finds who `follows` them."""

    idea: str
    follow: Callable[[dict[str, Any]], Any]
    head: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)

    def token(self, attacker: JwksServer) -> str:
        """As it is for this server of the attacker's."""
        there = attacker.url.removesuffix("/jwks")
        head, claims = json.loads(json.dumps([self.head, self.claims]).replace(THERE, there))
        # Issued long ago: a younger one might be by a key that is published just now, and would wait for the next fetch.
        return token("ES256", THEIRS, head={"kid": KID, **head}, scope="ops", iat=int(time.time()) - 3600, **claims)


ROWS = [
    Row("jwk: the key itself", lambda said: jwt.PyJWK(said["jwk"]).key, {"jwk": jwk_of(THEIRS, kid=KID)}),
    Row("jku: the address of keys", lambda said: published(said["jku"]), {"jku": f"{THERE}/jwks"}),
    Row("jku: with our issuer's name in it", lambda said: published(said["jku"]), {"jku": f"{THERE}/jwks?https://issuer.example/jwks"}),
    Row("jku: under the name of a key of ours", lambda said: published(said["jku"]), {"jku": f"{THERE}/jwks", "kid": "ours"}),
    Row("x5c: the certificate itself", lambda said: certified(base64.b64decode(said["x5c"][0])), {"x5c": der_chain()}),
    Row(
        "x5u: the address of a certificate",
        lambda said: x509.load_pem_x509_certificate(fetched(said["x5u"])).public_key(),
        {"x5u": f"{THERE}/x5u"},
    ),
    Row("kid: the address of keys", lambda said: published(said["kid"]), {"kid": f"{THERE}/jwks"}),
    Row("kid: the key in PEM", lambda said: load_pem_public_key(said["kid"].encode()), {"kid": pem_of(THEIRS)}),
    Row("iss: a provider that says where its keys are", lambda said: discovered(said["iss"]), {}, {"iss": THERE}),
    Row(
        "all of them",
        lambda said: published(said["jku"]),
        {"jwk": jwk_of(THEIRS), "jku": f"{THERE}/jwks", "x5u": f"{THERE}/x5u", "x5c": der_chain()},
        {"iss": THERE},
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.idea)
def test_who_does_what_a_token_says_believes_it(attacker: JwksServer, row: Row) -> None:
    """The attack is a real one: the key that is found fits, and the server knows who has come."""
    raw = row.token(attacker)
    before = len(attacker.asked_for)
    said = {**jwt.get_unverified_header(raw), **jwt.decode(raw, options={"verify_signature": False})}
    key = row.follow(said)
    body, _, signature = raw.rpartition(".")

    algorithm = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256)
    assert algorithm.verify(body.encode(), key, base64.urlsafe_b64decode(signature + "=="))
    fetches = any(THERE in str(value) for value in (*row.head.values(), *row.claims.values()))
    assert (len(attacker.asked_for) > before) is fetches


@pytest.fixture(scope="module")
def service() -> Iterator[UpstreamServer]:
    with UpstreamThread(echo) as made:
        yield made


@pytest.mark.parametrize("known", ["public_key", "jwks_url"])
def test_the_gateway_believes_the_keys_of_its_configuration_alone(attacker: JwksServer, service: UpstreamServer, known: str) -> None:
    """Each token is 401 at a service's door and at the inside's, the first time and again; nobody comes for a key, also not later."""
    with JwksServer(jwk_of(OURS, kid="ours")) as provider:
        keys = {"public_key": pem_of(OURS)} if known == "public_key" else {"jwks_url": provider.url}
        config = {"auth": {"default": "required", "jwt": {"algorithms": ["ES256"], **keys}}, "admin": {"scope": "ops"}}
        with LiveGateway(config, orders=[service.port]) as gateway, gateway.connect() as client:
            good = f"Authorization: Bearer {token('ES256', OURS, kid='ours', scope='ops')}"
            paths = ("/api/orders/x", "/admin/config", "/api/orders/x")
            assert [client.get(path, good).message().status for path in paths] == [200, 200, 200]
            before, arrived = len(attacker.asked_for), len(service.requests)
            told = {
                row.idea: [client.get(path, f"Authorization: Bearer {row.token(attacker)}").message().status for path in paths]
                for row in ROWS
            }
            time.sleep(LATE_S)

            assert told == {row.idea: [401, 401, 401] for row in ROWS}
            assert (attacker.asked_for[before:], service.requests[arrived:]) == ([], [])
            assert (provider.asked_for != []) is (known == "jwks_url")
            assert client.get("/api/orders/x", good).message().status == 200
            client.close()
            gateway.assert_settled()

"""Which published keys are taken, and which are tried for a token."""

from __future__ import annotations

import json
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from lbgateway.policies.keys import MAX_KEYS, MAX_TRIED, Key, UnusableKeys, candidates, read_jwks
from tests.support.tokens import jwk_of, jwks, private_key, weak_rsa

RSA, EC, ED = jwk_of(private_key("RS256")), jwk_of(private_key("ES256")), jwk_of(private_key("EdDSA"))
ALL_RSA = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}


@pytest.mark.parametrize(
    ("jwk", "algorithms"),
    [
        (RSA, ALL_RSA),
        ({**RSA, "kid": "a", "use": "sig"}, ALL_RSA),
        ({**RSA, "alg": "PS384"}, {"PS384"}),
        ({**RSA, "key_ops": ["verify"]}, ALL_RSA),
        ({**RSA, "x5c": ["whatever"], "x5u": "http://elsewhere"}, ALL_RSA),
        (EC, {"ES256"}),
        (jwk_of(private_key("ES384")), {"ES384"}),
        (jwk_of(private_key("ES512")), {"ES512"}),
        ({**EC, "alg": "ES256"}, {"ES256"}),
        (ED, {"EdDSA"}),
        (jwk_of(private_key("EdDSA", "448")), {"EdDSA"}),
    ],
)
def test_a_key_serves_the_algorithms_of_its_kind(jwk, algorithms):
    """Or the one that it names."""
    [key], refused = read_jwks(jwks(jwk))
    assert (key.algorithms, refused) == (algorithms, [])
    assert key.id == jwk.get("kid")


@pytest.mark.parametrize(
    ("jwk", "why"),
    [
        ({"kty": "oct", "k": "c2VjcmV0"}, "has a `kty` other than RSA, EC and OKP"),
        ({"kty": "oct", "k": "c2VjcmV0", "alg": "RS256"}, "has a `kty` other than RSA, EC and OKP"),
        ({**RSA, "kty": ["RSA"]}, "has a `kty` other than RSA, EC and OKP"),
        ({**RSA, "use": "enc"}, "is not for signatures"),
        ({**RSA, "key_ops": ["encrypt"]}, "is not for signatures"),
        ({**RSA, "key_ops": "verify"}, "is not for signatures"),
        ({**RSA, "d": "AQAB"}, "is a private key that was published: nobody can trust it any more"),
        ({**RSA, "alg": "HS256"}, "is for an algorithm that its kind does not fit"),
        ({**RSA, "alg": "ES256"}, "is for an algorithm that its kind does not fit"),
        ({**RSA, "alg": "none"}, "is for an algorithm that its kind does not fit"),
        ({**RSA, "alg": None}, "is for an algorithm that its kind does not fit"),
        ({**EC, "alg": "ES512"}, "is for an algorithm that its kind does not fit"),
        ({**RSA, "kid": 7}, "has a `kid` that is no text, or a very long one"),
        ({**RSA, "kid": "x" * 257}, "has a `kid` that is no text, or a very long one"),
        ({**RSA, "n": 7}, "needs n, e as text"),
        ({"kty": "RSA", "e": "AQAB"}, "needs n, e as text"),
        ({**RSA, "n": "AQAB"}, "cannot be read"),
        ({**RSA, "e": "AA"}, "cannot be read"),
        ({**EC, "crv": "P-999"}, "cannot be read"),
        ({**EC, "x": EC["y"]}, "cannot be read"),
        ({**ED, "crv": "X25519"}, "cannot be read"),
        ({**ED, "x": "AQAB"}, "cannot be read"),
        (jwk_of(weak_rsa()), "is an RSA key of 1024 bits: it takes 2048 to 8192"),
        ("RSA", "is no map"),
        (None, "is no map"),
    ],
)
def test_other_keys_are_left_out_and_the_rest_stays(jwk, why):
    """One bad key of a provider must not take away the good ones; what is said of it holds none of it."""
    taken, refused = read_jwks(jwks(jwk, {**EC, "kid": "good"}))
    assert ([key.id for key in taken], refused) == (["good"], [f"keys[0]: {why}"])
    with pytest.raises(UnusableKeys, match="holds no key that can be used"):
        read_jwks(jwks(jwk))


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"", "the answer is no JSON"),
        (b"<html>", "the answer is no JSON"),
        (b"\xff\xfe", "the answer is no JSON"),
        (b"[" * 100_000, "the answer is no JSON"),
        (b"[]", "no list `keys`"),
        (b"{}", "no list `keys`"),
        (b'{"keys": {}}', "no list `keys`"),
        (b'{"keys": []}', "holds no key that can be used"),
    ],
)
def test_what_is_no_set_of_keys_is_none(document, why):
    """A login page in place of the keys is not "no keys"."""
    with pytest.raises(UnusableKeys, match=why):
        read_jwks(document)


def test_a_set_is_bounded():
    """So much is read of it, and no more."""
    taken, _ = read_jwks(jwks(*({**EC, "kid": str(number)} for number in range(MAX_KEYS + 50))))
    assert len(taken) == MAX_KEYS


def named(key_id: str | None, *algorithms: str) -> Key:
    return Key(key_id, frozenset(algorithms), f"material of {key_id}")


SET = (named("a", "RS256"), named("b", "RS256"), named("b", "ES256"), named(None, "RS256"), named("c", "RS256"), named("d", "RS256"))


@pytest.mark.parametrize(
    ("algorithm", "key_id", "ids", "certain"),
    [
        ("RS256", "a", ["a"], True),
        ("ES256", "b", ["b"], True),
        ("ES256", "a", [], False),
        ("RS256", "unknown", [None], False),
        ("RS256", None, ["a", "b", None, "c"], False),
        ("PS256", "a", [], False),
        ("HS256", None, [], False),
    ],
)
def test_which_keys_are_tried(algorithm, key_id, ids, certain):
    """The named one; where a name is missing on either side, those that fit, but not without end."""
    found, sure = candidates(SET, algorithm, key_id)
    assert ([key.id for key in found], sure) == (ids, certain)
    assert len(found) <= MAX_TRIED
    assert all(algorithm in key.algorithms for key in found)


members = st.dictionaries(
    st.sampled_from(["kty", "kid", "use", "alg", "n", "e", "crv", "x", "y", "key_ops", "d"]),
    st.sampled_from(["RSA", "EC", "OKP", "oct", "sig", "RS256", "P-256", "AQAB", "", "é", RSA["n"], EC["x"], EC["y"]])
    | st.integers()
    | st.none()
    | st.lists(st.text(max_size=3), max_size=2),
)


@hypothesis.given(st.lists(members, max_size=4))
def test_whatever_a_provider_publishes_is_read_or_refused(keys: list[Any]):
    """Nothing else is raised, and every key that is taken fits what it is for."""
    try:
        taken, refused = read_jwks(json.dumps({"keys": keys}).encode())
    except UnusableKeys:
        return
    assert len(taken) + len(refused) == len(keys)
    assert all(key.algorithms and not any(name.startswith("HS") for name in key.algorithms) for key in taken)

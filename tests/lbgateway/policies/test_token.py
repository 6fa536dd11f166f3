"""Tokens as bytes: which are read, and whose signature holds."""

from __future__ import annotations

import base64
import json

import hypothesis
import pytest
from hypothesis import strategies as st

from lbgateway.policies.keys import Key
from lbgateway.policies.token import MAX_TOKEN_BYTES, InvalidToken, TokenHead, read_head, signed_by
from tests.support.tokens import OTHER, SECRET, forged, part, pem_of, private_key, token

HEAD = {"alg": "HS256", "typ": "JWT"}
ALLOWED = frozenset(("HS256", "RS256"))
NESTED = b"[" * 10_000


def read(raw: str | bytes) -> TokenHead | str:
    try:
        return read_head(raw if isinstance(raw, bytes) else raw.encode("latin-1"), ALLOWED)
    except InvalidToken as refused:
        return refused.reason


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (token(), TokenHead("HS256", None)),
        (token(kid="a"), TokenHead("HS256", "a")),
        (forged({**HEAD, "jku": "http://evil", "x5u": "http://evil", "jwk": {}, "x5c": []}, {}), TokenHead("HS256", None)),
        # algorithms
        (token("HS512"), "algorithm"),
        (forged({"alg": "none"}, {}), "algorithm"),
        (forged({"alg": "NONE"}, {}), "algorithm"),
        (forged({"alg": "hs256"}, {}), "algorithm"),
        (forged({"alg": ["HS256"]}, {}), "algorithm"),
        (forged({"alg": None}, {}), "algorithm"),
        (forged({}, {}), "algorithm"),
        # extensions
        (forged({**HEAD, "crit": ["exp"]}, {}), "critical"),
        (forged({**HEAD, "crit": []}, {}), "critical"),
        (forged({**HEAD, "crit": ["b64"], "b64": False}, {}), "critical"),
        # keys
        (forged({**HEAD, "kid": 7}, {}), "malformed"),
        (forged({**HEAD, "kid": ["a"]}, {}), "malformed"),
        (forged({**HEAD, "kid": "x" * 300}, {}), "malformed"),
        # heads
        (forged(b'{"alg":"none","alg":"HS256"}', {}), "malformed"),
        (forged(b'{"alg":"HS256","kid":"a","kid":"b"}', {}), "malformed"),
        (forged(b'["HS256"]', {}), "malformed"),
        (forged(b'"HS256"', {}), "malformed"),
        (forged(b"{", {}), "malformed"),
        (forged(b"\xff\xfe", {}), "malformed"),
        (forged(b'{"alg":"HS256","x":NaN}', {}), "malformed"),
        (forged(NESTED, {}), "malformed"),
        # shapes
        ("", "malformed"),
        ("a", "malformed"),
        ("a.b", "malformed"),
        ("..", "malformed"),
        (f"{part(HEAD)}.{part({})}.", "malformed"),
        (f"{part(HEAD)}..abc", "malformed"),
        (f"{token()}.more", "malformed"),
        (f"{token()}.x.y", "malformed"),
        (f"{token()}=", "malformed"),
        (f" {token()}", "malformed"),
        (f"{token()}\n", "malformed"),
        (token().replace(".", "..", 1), "malformed"),
        (f"{part(HEAD)}.{part({})}.a+b/", "malformed"),
        (f"A.{part({})}.abc", "malformed"),
        ("\xff.\xff.\xff", "malformed"),
        (b"\x00", "malformed"),
        (forged(HEAD, {"pad": "x" * MAX_TOKEN_BYTES}), "malformed"),
    ],
)
def test_what_a_head_says(raw, found):
    """Only which of the configured algorithms and keys it means; the rest is not looked at."""
    assert read(raw) == found


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"])
def test_every_algorithm_is_verified(algorithm):
    """By the right key, among others; and by no other."""
    right, wrong = private_key(algorithm).public_key(), private_key(algorithm, "b").public_key()
    raw = token(algorithm, private_key(algorithm)).encode()
    keys = [Key("a", frozenset((algorithm,)), wrong), Key("b", frozenset((algorithm,)), right)]
    claims = signed_by(raw, algorithm, keys)
    assert claims is not None
    assert claims["sub"] == "ann"
    assert signed_by(raw, algorithm, keys[:1]) is None
    assert signed_by(raw, algorithm, []) is None


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_shared_secrets_are_verified(algorithm):
    """The right one, among others."""
    raw = token(algorithm, SECRET).encode()
    keys = [Key(None, frozenset((algorithm,)), secret) for secret in (OTHER, SECRET)]
    assert signed_by(raw, algorithm, keys) is not None
    assert signed_by(raw, algorithm, keys[:1]) is None


def test_a_changed_byte_breaks_the_signature():
    """Wherever it is; also where base64 would decode to the same bytes."""
    raw = token("HS256", SECRET)
    keys = [Key(None, ALLOWED, SECRET)]
    assert signed_by(raw.encode(), "HS256", keys) is not None
    for index in (30, len(raw) // 2, len(raw) - 20, len(raw) - 1):
        other = "A" if raw[index] != "A" else "B"
        assert signed_by((raw[:index] + other + raw[index + 1 :]).encode(), "HS256", keys) is None
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spelt = [raw[:-1] + letter for letter in last if base64.urlsafe_b64decode(raw[-43:-1] + letter + "=")[:31]]
    assert sum(signed_by(each.encode(), "HS256", keys) is not None for each in spelt) == 1


@pytest.mark.parametrize("payload", [b"[]", b"7", b"{", b'{"sub":"a","sub":"b"}', b'{"exp":Infinity}', b"\xff", NESTED, b'{"a":' * 9_000])
def test_claims_that_can_be_read_in_two_ways_are_refused_though_signed(payload):
    """Somebody with the key may still make mistakes."""
    with pytest.raises(InvalidToken, match="malformed"):
        signed_by(forged(HEAD, payload).encode(), "HS256", [Key(None, ALLOWED, SECRET)])


def test_a_public_key_is_no_secret():
    """The confusion of algorithms (RFC 8725, 2.1): pyjwt refuses to use it, and no key is bound to both kinds."""
    pem = pem_of(private_key("RS256"))
    raw = forged(HEAD, {"sub": "mallory"}, pem)
    assert signed_by(raw.encode(), "HS256", [Key(None, ALLOWED, pem)]) is None


segments = st.one_of(
    st.binary(max_size=20),
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.dictionaries(st.text(max_size=5), inner))
    .map(json.dumps)
    .map(str.encode),
    st.sampled_from([json.dumps(HEAD).encode(), b'{"alg":"RS256","kid":"a"}']),
).map(lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"="))


@hypothesis.given(st.lists(segments, max_size=5), st.binary(max_size=5))
def test_whatever_a_client_calls_a_token_is_read_or_refused(parts: list[bytes], tail: bytes):
    """Nothing else is raised, and no signature holds that nobody made."""
    raw = b".".join(parts) + tail
    materials = {"HS256": SECRET, "RS256": private_key("RS256").public_key()}
    found = read(raw)
    if isinstance(found, str):
        assert found in ("malformed", "algorithm", "critical")
        return
    assert found.algorithm in ALLOWED
    assert signed_by(raw, found.algorithm, [Key(None, ALLOWED, materials[found.algorithm])]) is None

"""`auth`."""

from typing import get_args

import pytest

from lbgateway.config.auth import Algorithm
from tests.lbgateway.config.reading import errors_of, settings_of

SECRET = "0123456789abcdef0123456789abcdef"


def test_a_secret_is_enough():
    """HS256, an expiry, half a minute of leeway."""
    auth = settings_of(f"auth: {{jwt: {{secret: {SECRET}}}}}").auth

    assert auth.jwt is not None
    assert (auth.jwt.algorithms, auth.jwt.required_claims, auth.jwt.leeway, auth.default) == (("HS256",), ("exp",), 30.0, "required")
    assert auth.verifies


@pytest.mark.parametrize(("text", "audience"), [("shop", ("shop",)), ("[a, b]", ("a", "b")), ("null", None)])
def test_one_audience_or_several(text, audience):
    """A single one needs no list."""
    jwt = settings_of(f"auth: {{jwt: {{secret: {SECRET}, audience: {text}}}}}").auth.jwt

    assert jwt is not None
    assert jwt.audience == audience


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("{}", {"sub": "X-User-Id", "scope": "X-User-Scope"}),
        ("{tenant: X-Tenant}", {"sub": "X-User-Id", "scope": "X-User-Scope", "tenant": "X-Tenant"}),
        ("{scope: null, sub: X-Subject}", {"sub": "X-Subject"}),
        ("null", {"sub": "X-User-Id", "scope": "X-User-Scope"}),
    ],
)
def test_forwarded_claims_merge_with_the_built_in_ones(text, claims):
    """Key by key, like every map; null takes one away."""
    assert settings_of(f"auth: {{default: none, forward_claims: {text}}}").auth.forward_claims == claims


def test_public_paths_are_normalised_like_requests():
    """A prefix matches whole segments, so its last slash says nothing."""
    paths = settings_of("auth: {default: none, public_paths: {exact: [/a/], prefixes: [/b/, /]}}").auth.public_paths

    assert (paths.exact, paths.prefixes) == (("/a/",), ("/b", "/"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{default: always}", "auth.default: must be one of required, optional, none"),
        ("{default: none, jwt: {secret: [1]}}", 'auth.jwt.secret: a secret is text, "${NAME}" from the environment, or {file: PATH}'),
        (
            "{default: none, jwt: {algorithms: [none], secret: x}}",
            f"auth.jwt.algorithms[0]: must be one of {', '.join(get_args(Algorithm))}",
        ),
        (
            "{default: none, forward_claims: {sub: 'X User'}}",
            "auth.forward_claims.sub: not a header name: letters, digits and - only (RFC 9110, section 5.6.2)",
        ),
        (
            "{default: none, forward_claims: {t: authorization}}",
            "auth.forward_claims.t: authorization is read by the gateway itself, and cannot carry a claim",
        ),
        (
            "{default: none, forward_claims: {t: Cookie}}",
            "auth.forward_claims.t: Cookie is read by the gateway itself, and cannot carry a claim",
        ),
        (
            "{forward_claims: {t: Via}, default: none}",
            "auth.forward_claims.t: Via is written by the gateway itself and cannot be used here",
        ),
        ("{default: none, forward_claims: [sub]}", "auth.forward_claims: must be a map, such as {key: value}"),
        ("{default: none, public_paths: {prefix: [/a]}}", "auth.public_paths.prefix: unknown key; did you mean `prefixes`?"),
    ],
)
def test_mistakes_are_told(text, sentence):
    """One sentence, at the key."""
    assert errors_of(f"auth: {text}") == [f"gw.yaml:1: {sentence}"]

"""Keys and algorithms of ``auth.jwt`` that do not fit together."""

from __future__ import annotations

import pytest

from tests.lbgateway.config.reading import errors_of, settings_of
from tests.support.tokens import pem_of, private_key

SECRET = "0123456789abcdef0123456789abcdef"
URL = "https://issuer.example/jwks"


def yaml_of(algorithm: str) -> str:
    return '"' + pem_of(private_key(algorithm)).replace("\n", "\\n") + '"'


RSA, EC = yaml_of("RS256"), yaml_of("ES256")
RSA_FITS = "PS256, PS384, PS512, RS256, RS384, RS512"


@pytest.mark.parametrize(
    ("jwt", "said"),
    [
        ("issuer: me", ": needs a `secret`, a `public_key` or a `jwks_url` to check tokens with, such as secret: ${JWT_SECRET}"),
        (f"secret: {SECRET}, algorithms: []", ".algorithms: must name at least one algorithm"),
        (f"secret: {SECRET}, algorithms: [HS512]", ".secret: too short: HS512 needs at least 64 bytes"),
        (f"secret: {SECRET}, algorithms: [HS256, RS256]", ".algorithms[1]: RS256 needs a `public_key` or a `jwks_url`: no secret fits it"),
        (f"jwks_url: {URL}, algorithms: [RS256, HS256]", ".algorithms[1]: HS256 needs a `secret`: no public key fits it"),
        (f"public_key: {EC}", ".algorithms[0]: RS256 does not fit the public_key (secp256r1), which fits ES256"),
        (f"public_key: {RSA}, algorithms: [RS256, ES256]",
         f".algorithms[1]: ES256 does not fit the public_key (RSA, 2048 bits), which fits {RSA_FITS}"),
        (f"secret: {RSA}", ".secret: is a key of a pair, which everybody may know one half of: give it as `public_key`"),
        (f"secret: 'ssh-ed25519 {SECRET}'", ".secret: is a key of a pair, which everybody may know one half of: give it as `public_key`"),
        (f"secret: {SECRET}, jwks_url: {URL}, algorithms: [RS256]",
         ".secret: is used by none of the algorithms (RS256): leave it out, or name HS256"),
        (f"public_key: {EC}, jwks_url: {URL}, algorithms: [RS256]", ".public_key: fits none of the algorithms (RS256); name ES256"),
        (f"secret: {SECRET}, jwks_url: {URL}",
         ".jwks_url: brings no key for the algorithms (HS256): public keys only, for RS256 and others"),
        (f"secret: {SECRET}, cookie: 'a b'", ".cookie: not the name of a cookie, such as access_token"),
        (f"jwks_url: {URL}, algorithms: [RS999]",
         ".algorithms[0]: must be one of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA"),
        ("jwks_url: issuer.example", ".jwks_url: not an address such as http://127.0.0.1:8500"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(jwt, said):
    """When the file is read, and with the way out."""
    found = errors_of(f"auth: {{jwt: {{{jwt}}}}}".replace("${", "$${"))
    assert f"gw.yaml:1: auth.jwt{said}" in found
    assert SECRET not in "".join(found)


@pytest.mark.parametrize(
    ("jwt", "algorithms"),
    [
        (f"secret: {SECRET}", ("HS256",)),
        (f"jwks_url: {URL}", ("RS256",)),
        (f"public_key: {RSA}", ("RS256",)),
        (f"public_key: {EC}, algorithms: [ES256]", ("ES256",)),
        (f"jwks_url: {URL}, algorithms: [RS256, PS256, ES512, EdDSA]", ("RS256", "PS256", "ES512", "EdDSA")),
        (f"public_key: {RSA}, jwks_url: {URL}, algorithms: [PS256, ES256]", ("PS256", "ES256")),
        (f"secret: {SECRET}, jwks_url: {URL}, algorithms: [HS256, RS256]", ("HS256", "RS256")),
    ],
)
def test_what_fits_is_taken(jwt, algorithms):
    """Where nothing is said, a secret means HS256, and any other key RS256."""
    found = settings_of(f"auth: {{jwt: {{{jwt}}}}}").auth.jwt
    assert found is not None
    assert found.algorithms == algorithms


@pytest.mark.parametrize(
    ("jwt", "warning"),
    [
        (f"jwks_url: {URL}", None),
        ("jwks_url: http://127.0.0.1:9/jwks", None),
        ("jwks_url: http://issuer.example/jwks", "jwks_url: is fetched without TLS: whoever can answer in its place can sign tokens"),
        (f"secret: {SECRET}, required_claims: [sub]", "required_claims: does not name exp: a token without an end is good for ever"),
    ],
)
def test_what_lets_others_in_is_a_warning(jwt, warning):
    """It may be meant."""
    found = settings_of(f"auth: {{jwt: {{{jwt}}}}}").warnings
    assert found == (() if warning is None else (f"gw.yaml:1: auth.jwt.{warning}",))


NOBODY = "scopes: are asked of nobody, because the route's auth is {}: set auth: required"
WORD = "scopes[0]: not a scope: one word without spaces, quotes and backslashes (RFC 6749, section 3.3)"


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        ("{service: a, scopes: [orders:read]}", None),
        ("{service: a, scopes: []}", None),
        ("{service: a, auth: none}", None),
        ("{service: a, auth: none, scopes: [a]}", NOBODY.format("none")),
        ("{service: a, auth: optional, scopes: [a]}", NOBODY.format("optional")),
        ("{service: a, scopes: ['a b']}", WORD),
        ("{service: a, scopes: ['a\"']}", WORD),
    ],
)
def test_scopes_are_words_and_asked_of_somebody(routes, said):
    """A scope on a route without a token would protect nothing."""
    found = errors_of(f"auth: {{jwt: {{secret: {SECRET}}}}}\nroutes: [{routes}]")
    assert found == ([] if said is None else [f"gw.yaml:2: routes[0].{said}"])

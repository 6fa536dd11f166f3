"""Checkers out of settings, and what of them outlives a reload."""

from __future__ import annotations

from typing import Any

import pytest

from lbgateway.authentication import Authentication, token_rules
from lbgateway.dataplane.plane import DataPlane
from lbgateway.policies.claims import ClaimRules
from lbgateway.policies.identity import Identity
from tests.lbgateway.config.reading import settings_of
from tests.support.tokens import SECRET, pem_of, private_key, token
from tests.support.transports import Later

URL = "http://127.0.0.1:9/jwks"


def authentication() -> Authentication:
    return Authentication(lambda _reason: None, DataPlane(Later()))  # type: ignore[arg-type]  # a plane needs no more of a loop here


def auth(text: str) -> Any:
    return settings_of(f"auth: {{{text}}}").auth


def test_settings_become_rules():
    """Each key with the algorithms that are allowed and fit it."""
    pem = pem_of(private_key("RS256")).replace("\n", "\\n")
    rules = token_rules(
        auth(
            f'jwt: {{secret: {SECRET!r}, public_key: "{pem}", algorithms: [HS256, RS256, PS256], issuer: us, audience: [a, b],'
            " leeway: 5s, required_claims: [exp, sub], cookie: tok}, forward_claims: {scope: null}"
        )
    )
    assert rules.algorithms == {"HS256", "RS256", "PS256"}
    assert [(key.id, key.algorithms) for key in rules.keys] == [(None, {"HS256"}), (None, {"RS256", "PS256"})]
    assert rules.keys[0].material == SECRET
    assert rules.claims == ClaimRules("us", frozenset("ab"), 5.0, ("exp", "sub"))
    assert rules.forwarded == {"sub": "X-User-Id"}


def test_without_a_jwt_there_is_no_checker():
    """Nothing to start, nothing to close."""
    made = authentication()
    prepared = made.prepare(auth("default: none"))
    assert (prepared.checks, prepared.verifier, prepared.sources, made.apply(prepared)) == (None, None, [], [])
    made.start()


def test_a_reload_that_changes_nothing_forgets_nothing():
    """Tokens stay remembered."""
    made = authentication()
    text = f"jwt: {{secret: {SECRET!r}}}"
    first = made.prepare(auth(text))
    made.apply(first)
    assert first.verifier is not None
    first.verifier.identify(token().encode())
    again = made.prepare(auth(text))
    assert again is first
    assert len(first.verifier.remembered) == 1
    other = made.prepare(auth(f"jwt: {{secret: {SECRET!r}, issuer: us}}"))
    assert other.verifier is not None
    assert not isinstance(other.verifier.identify(token().encode()), Identity)


async def test_a_source_of_keys_outlives_a_reload_that_keeps_its_address():
    """Its keys need not be fetched anew, and its news go to the verifier in force."""
    made = authentication()
    first = made.prepare(auth(f"jwt: {{jwks_url: {URL}}}"))
    made.apply(first)
    second = made.prepare(auth(f"jwt: {{jwks_url: {URL}, issuer: us}}"))
    assert second.jwks is first.jwks
    assert made.apply(second) == []
    assert second.jwks is not None
    assert second.verifier is not None
    second.verifier.remembered.remember(b"digest", Identity({}, b"", 0.0))
    second.jwks.on_change(True)
    assert len(second.verifier.remembered) == 0
    elsewhere = made.prepare(auth("jwt: {jwks_url: http://127.0.0.1:9/other}"))
    assert elsewhere.jwks is not first.jwks
    assert made.apply(elsewhere) == [first.jwks.aclose]
    assert made.apply(made.prepare(auth("default: none"))) == [elsewhere.jwks.aclose]
    await made.aclose()


async def test_fetching_begins_with_the_gateway_or_with_the_reload_that_asks_for_it():
    """And ends with the gateway."""
    made = authentication()
    first = made.prepare(auth(f"jwt: {{jwks_url: {URL}}}"))
    made.apply(first)
    assert first.jwks is not None
    assert first.jwks._task is None
    made.start()
    assert first.jwks._task is not None
    second = made.prepare(auth("jwt: {jwks_url: http://127.0.0.1:9/other}"))
    made.apply(second)
    assert second.jwks is not None
    assert second.jwks._task is not None
    await first.jwks.aclose()
    await made.aclose()
    assert second.jwks._task.done()


async def test_whoever_is_asked_outlives_a_reload_that_leaves_it_as_it_was():
    """Its breaker and what is under way stay; another one takes its place, and the old one may finish."""
    made = authentication()
    text = "session: {store: 'redis://127.0.0.1:1'}, introspection: {service: auth}"
    first = made.prepare(auth(text))
    assert made.apply(first) == []
    second = made.prepare(auth(f"{text}, jwt: {{secret: {SECRET!r}}}"))
    assert (second.session, second.introspection) == (first.session, first.introspection)
    assert made.apply(second) == []
    assert first.session is not None
    assert first.introspection is not None
    third = made.prepare(auth("session: {store: 'redis://127.0.0.1:1', key_prefix: 'other:'}, introspection: {service: other}"))
    assert made.apply(third) == [first.session.retire, first.introspection.retire]
    assert made.authorities() == {"session": third.session, "introspection": third.introspection}
    for close in made.apply(made.prepare(auth("default: none"))):
        await close()
    assert made.authorities() == {}


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (f"jwt: {{secret: {SECRET!r}}}", ("TokenVerifier", None, None)),
        ("introspection: {service: auth}", ("Authority", None, None)),
        ("session: {url: 'http://127.0.0.1/'}", (None, None, "Authority")),
        (f"jwt: {{secret: {SECRET!r}}}, introspection: {{service: auth}}", ("TokenVerifier", "Authority", None)),
        ("introspection: {service: auth}, session: {url: 'http://127.0.0.1/'}", ("Authority", None, "Authority")),
    ],
)
def test_each_part_of_the_settings_becomes_a_check(text, kinds):
    """The token's, what confirms it, the session's."""
    checks = authentication().prepare(auth(text)).checks
    assert checks is not None
    found = (checks.token and checks.token.verifier, checks.confirmation and checks.confirmation.authority)
    found = (*found, checks.session and checks.session.authority)
    assert tuple(type(each).__name__ if each is not None else None for each in found) == kinds

"""``auth.session`` and ``auth.introspection``: what is refused, with its place and its words."""

from __future__ import annotations

import pytest

from tests.lbgateway.config.reading import errors_of, settings_of

SERVICES = "\ndiscovery: {provider: static}\nservices: {auth: {instances: ['127.0.0.1:9001']}, orders: {instances: ['127.0.0.1:9002']}}"


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("session: {}", "auth.session", "needs to know where sessions are"),
        ("session: {cookie: sid}", "auth.session", "needs to know where sessions are"),
        ("session: {store: 'redis://127.0.0.1', url: 'http://127.0.0.1/'}", "auth.session", "only one can have the last word"),
        ("session: {url: 'http://127.0.0.1/', key_prefix: 'a:'}", "auth.session.key_prefix", "is for a `store`"),
        ("session: {store: memory}", "auth.session.store", "must be an address beginning with redis://, rediss://, redis+sentinel://"),
        ("session: {store: 'http://127.0.0.1'}", "auth.session.store", "must be an address beginning with redis://"),
        ("session: {store: 'redis://127.0.0.1:x'}", "auth.session.store", "no host:port"),
        ("session: {store: 'redis://'}", "auth.session.store", "no host:port"),
        ("session: {store: 'redis+sentinel://h1,h2'}", "auth.session.store", "names no master"),
        ("session: {url: validate}", "auth.session.url", "not an address"),
        ("session: {store: 'redis://127.0.0.1', cookie: 'a b'}", "auth.session.cookie", "not the name of a cookie"),
        ("session: {store: 'redis://127.0.0.1', cache: 0s}", "auth.session.cache", "more than zero"),
        ("introspection: {}", "auth.introspection.service", "is required"),
        ("introspection: {service: auht}", "auth.introspection.service", "no service has the name `auht`; did you mean `auth`?"),
        ("introspection: {service: auth, client_id: a}", "auth.introspection.client_id", "needs client_secret beside it"),
        ("introspection: {service: auth, client_secret: a}", "auth.introspection.client_secret", "needs client_id beside it"),
        ("introspection: {service: auth, client_id: '', client_secret: a}", "auth.introspection.client_id", "is empty"),
        ("introspection: {service: auth, client_id: a, client_secret: ''}", "auth.introspection.client_secret", "cannot be empty"),
        ("introspection: {service: auth, path: validate}", "auth.introspection.path", "must begin with a slash"),
    ],
)
def test_what_cannot_work_is_refused(text, place, words):
    """Where it stands, before anybody is turned away."""
    [error] = errors_of(f"auth: {{{text}}}{SERVICES}")
    assert f": {place}: " in str(error)
    assert words in str(error)


def test_either_is_enough_for_routes_that_ask_who_it_is():
    """No `auth.jwt` is needed beside it."""
    store, url = "session: {store: 'rediss://u:p@127.0.0.1:6380/1'}", "session: {url: 'http://[::1]:9/v'}"
    kinds = ("redis+sentinel://:p@h1:26379,h2:26379/mymaster/0", "redis+cluster://h1:6379,h2:6379")
    for text in (store, url, *(f"session: {{store: '{kind}'}}" for kind in kinds), "introspection: {service: auth}"):
        made = settings_of(f"auth: {{default: required, {text}}}{SERVICES}")
        assert made.auth.verifies
        assert made.warnings == ()


def test_the_service_that_inspects_tokens_is_known_where_it_is_not_named_elsewhere():
    """It is watched, though no route leads to it."""
    made = settings_of("auth: {introspection: {service: Auth}}")
    assert made.auth.asked_services == ("auth",)
    assert settings_of("auth: {default: none}").auth.asked_services == ()


def test_a_session_service_without_tls_is_noted():
    """On this machine it does no harm."""
    made = settings_of("auth: {session: {url: 'http://sessions.example/v'}}")
    assert len(made.warnings) == 1
    assert "auth.session.url: is asked without TLS" in made.warnings[0]


@pytest.mark.parametrize(
    "kind", ["redis://%s10.0.0.1:6379/0", "redis+sentinel://%sh1:26379,h2:26379/mymaster/0", "redis+cluster://%sh1,h2"]
)
def test_a_password_of_the_store_is_not_shown(kind):
    """Only where it is."""
    shown = settings_of(f"auth: {{session: {{store: '{kind % 'ops:s3cret@'}'}}}}").masked()
    assert shown["auth"]["session"]["store"] == kind % "***@"


def test_the_gateways_own_secret_at_a_service_is_not_shown():
    """Given as text or taken from the environment."""
    introspection = "introspection: {service: auth, client_id: gateway, client_secret: '${AT_AUTH}'}"
    made = settings_of(f"auth: {{{introspection}}}{SERVICES}", AT_AUTH="s3cret")
    given = made.auth.introspection
    assert given is not None
    assert given.client_secret is not None
    assert given.client_secret.reveal() == "s3cret"
    assert "s3cret" not in str(made.masked()) + repr(made)

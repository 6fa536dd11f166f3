"""What nobody can send or say is refused when the file is read."""

from __future__ import annotations

import pytest

from tests.lbgateway.config.reading import errors_of, settings_of

STATIC = "discovery: {provider: static}\nservices: {orders: {instances: ['127.0.0.1:9001']}}\n"
JWT = "jwt: {secret: '0123456789abcdef0123456789abcdef'"
OPEN = "auth: {default: none}\n"
UNSENDABLE = "must be visible ASCII without spaces"


@pytest.mark.parametrize("token", ["a b", " ", "a ", "\\t", "a\\nb", "geh\\u00e9im", "\\u00a0"])
@pytest.mark.parametrize("key", ['admin: {token: "%s"}', 'discovery: {consul: {token: "%s"}}'])
def test_a_token_that_nobody_can_send_is_refused(key, token):
    """Not one byte of it is in the message."""
    [error] = errors_of(OPEN + key % token)
    assert ".token: " in error
    assert UNSENDABLE in error


@pytest.mark.parametrize("token", ["0", "a-b._~+/==", "!\\u0023$%&'*,:;<>?@[]^`{|}()"])
def test_a_token_that_can_be_sent_is_taken(token):
    """Whatever clients of HTTP can put behind Bearer."""
    assert settings_of(f'{OPEN}admin: {{token: "{token}"}}').admin.token is not None


def test_a_token_of_a_file_may_end_with_a_newline_and_with_nothing_else(tmp_path):
    """As editors and echo write it; a space before that would be part of it."""
    (tmp_path / "good").write_text("secret\n")
    (tmp_path / "bad").write_text("secret \n")
    assert errors_of(f"{OPEN}admin: {{token: {{file: {tmp_path}/good}}}}") == []
    [error] = errors_of(f"{OPEN}admin: {{token: {{file: {tmp_path}/bad}}}}")
    assert UNSENDABLE in error
    assert "secret" not in error


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        (f"auth: {{{JWT}, issuer: ''}}}}", "auth.jwt.issuer", "is empty"),
        (f"auth: {{{JWT}, audience: []}}}}", "auth.jwt.audience", "names nobody"),
        (f"auth: {{{JWT}, audience: ['']}}}}", "auth.jwt.audience[0]", "is empty"),
        (f"auth: {{{JWT}, required_claims: [exp, ' ']}}}}", "auth.jwt.required_claims[1]", "is empty"),
        (f'auth: {{{JWT}, issuer: "a\\nb"}}}}', "auth.jwt.issuer", "control character"),
        (f"auth: {{{JWT}, cookie: sid}}, session: {{store: 'redis://h'}}}}", "auth.jwt.cookie", "is the cookie of auth.session, too"),
        ("auth: {session: {store: 'redis://h', claim: ''}}", "auth.session.claim", "is empty"),
        ("auth: {default: none, forward_claims: {'': X-Nobody}}", "auth.forward_claims", "is empty"),
        (f"{OPEN}rate_limit: {{default: {{requests: 1, key: 'claim: '}}}}", "rate_limit.default.key", "must be client, subject"),
        (f"{OPEN}server: {{host: 'a b'}}", "server.host", "is no address"),
        (f"{OPEN}metrics: {{path: /health}}", "metrics.path", "answers something else"),
        (f"{OPEN}oauth: {{service: orders, prefix: /admin}}", "oauth.prefix", "is never reached"),
    ],
)
def test_what_can_never_hold_is_refused(text, place, words):
    """A claim without a name, an audience of nobody, two uses of one cookie or path."""
    [error] = errors_of(STATIC + text)
    assert place in error
    assert words in error


@pytest.mark.parametrize("key", ["tags: ['']", "expose: ['']"])
def test_no_instance_has_a_tag_and_no_service_a_name_that_is_empty(key):
    """Asking for one is asking for nothing."""
    [error] = errors_of(f"{OPEN}discovery: {{consul: {{{key}}}}}")
    assert f"discovery.consul.{key.partition(':')[0]}" in error


def test_a_redis_that_is_not_used_can_never_be_well():
    """It may be required where something is in it; in a registry it may be the name of a service."""
    warned = settings_of(f"{STATIC}{OPEN}health: {{required: [redis]}}").warnings
    assert len(warned) == 1
    assert "health.required[0]: redis can never be well" in warned[0]
    for used in (f"{STATIC}{OPEN}rate_limit: {{store: 'redis://h'}}", f"{STATIC}auth: {{session: {{store: 'redis://h'}}}}", OPEN):
        assert settings_of(f"{used}\nhealth: {{required: [redis]}}").warnings == ()

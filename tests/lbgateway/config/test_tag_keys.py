"""Which keys a tag may have."""

import pytest

from lbgateway.config.tag_keys import HARMLESS, NEVER, allowed, grantable, tag_keys
from tests.lbgateway.config.reading import errors_of, settings_of


def test_the_harmless_keys_exist():
    """A renamed setting is renamed here, too."""
    assert set(tag_keys()) >= HARMLESS


def test_what_is_never_a_services_to_say_is_no_key():
    """Where a route leads, and what has no spelling in a tag."""
    roots = {key.partition(".")[0] for key in tag_keys()}
    assert not roots & NEVER
    assert not [key for key in tag_keys() if key.startswith("breaker.fallback")]


@pytest.mark.parametrize(
    ("key", "granted", "answer"),
    [
        ("prefix", (), True),
        ("timeout.response", (), True),
        ("timeout.pool_idle", (), False),
        ("auth", (), False),
        ("auth", ("auth",), True),
        ("rate_limit.requests", ("rate_limit",), True),
        ("rate_limit.requests", ("rate",), False),
        ("retry.attempts", (), True),
        ("retry.on", ("retry.on",), True),
    ],
)
def test_an_operator_grants_keys_or_all_below_one(key, granted, answer):
    """Harmless ones need no grant."""
    assert allowed(key, granted) is answer


@pytest.mark.parametrize("key", ["auth", "rate_limit", "rate_limit.requests", "scopes", "timeout"])
def test_a_grant_names_a_setting(key):
    """Or a group of them."""
    assert grantable(key) == key


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("atuh", "no setting of a route or service has the name `atuh`; did you mean `auth`?"),
        ("service", "`service` can never be set by a tag"),
        ("request_headers.set", "`request_headers.set` can never be set by a tag"),
    ],
)
def test_a_grant_of_nothing_is_an_error_of_the_file(key, words):
    """With its line, like every other."""
    with pytest.raises(ValueError, match="set"):
        grantable(key)
    text = f"auth: {{default: none}}\ndiscovery: {{consul: {{allow_tag_keys: [{key}]}}}}"
    assert errors_of(text) == [f"gw.yaml:2: discovery.consul.allow_tag_keys[0]: {words}"]


def test_granted_prefixes_belong_to_names_in_lower_case():
    """As the registry compares them; a placeholder would grant who knows what."""
    text = "auth: {default: none}\ndiscovery: {consul: {tag_prefixes: {Orders: [/shop]}}}"
    assert settings_of(text).discovery.consul.tag_prefixes == {"orders": ("/shop",)}
    [error] = errors_of(text.replace("/shop", "'/{service}'"))
    assert error.endswith("tag_prefixes.Orders[0]: is a prefix as requests have it, without a placeholder")

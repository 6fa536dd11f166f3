"""`rate_limit`."""

import pytest
from pydantic import ValidationError

from lbgateway.config.ratelimit import LimitSettings, RateLimitSettings
from tests.lbgateway.config.reading import settings_of

OPEN = "auth: {default: none}\n"
ROUTE = OPEN + "rate_limit: {default: {requests: 100, per: 1m, burst: 200, key: route}}\nroutes: [{prefix: /a, service: a%s}]\n"


def test_the_contracts_example_is_read():
    """Seconds; an omitted burst is left to the limiter."""
    limit = LimitSettings.model_validate({"requests": 100, "per": "1s"})

    assert (limit.requests, limit.per, limit.burst, limit.key) == (100, 1.0, None, "client")


@pytest.mark.parametrize("store", ["memory", "redis://h", "rediss://h", "redis+sentinel://h/m/0", "redis+cluster://h"])
def test_stores_are_known(store):
    """All of the contract."""
    assert RateLimitSettings(store=store).store == store


@pytest.mark.parametrize(
    "wrong",
    [
        {"store": "memcached"},
        {"on_store_failure": "panic"},
        {"default": {"per": "1s"}},
        {"default": {"requests": 0}},
        {"default": {"requests": 1, "per": "0s"}},
        {"default": {"requests": 1, "key": "ip"}},
        {"default": {"requests": 1, "key": "header:"}},
        {"default": {"requests": 1, "key": "header:X Y"}},
        {"default": {"requests": 1, "key": "header:X-Forwarded-For"}},
        {"default": {"requests": 1, "key": "claim:"}},
    ],
)
def test_mistakes_are_refused(wrong):
    """Unknown words, what can never be met, and what a client could write as it likes."""
    with pytest.raises(ValidationError):
        RateLimitSettings.model_validate(wrong)


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        ("", (100, 60.0, 200, "route")),
        (", rate_limit: null", None),
        (", rate_limit: false", None),
        (", rate_limit: {}", (100, 60.0, 200, "route")),
        (", rate_limit: {key: client}", (100, 60.0, 200, "client")),
        (", rate_limit: {requests: 5}", (5, 60.0, None, "route")),
        (", rate_limit: {requests: 5, per: 1s, burst: 7, key: subject}", (5, 1.0, 7, "subject")),
    ],
)
def test_a_routes_limit_goes_over_the_default_key_by_key(said, limit):
    """But with requests of its own it has a burst of its own."""
    settings = settings_of(ROUTE % said)
    found = settings.route_limit(settings.routes[0])
    assert (None if found is None else (found.requests, found.per, found.burst, found.key)) == limit

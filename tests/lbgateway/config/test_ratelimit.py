"""`rate_limit`."""

import pytest
from pydantic import ValidationError

from lbgateway.config.ratelimit import LimitSettings, RateLimitSettings


def test_the_contracts_example_is_read():
    """Seconds; an omitted burst is left to the limiter."""
    limit = LimitSettings.model_validate({"requests": 100, "per": "1s"})

    assert (limit.requests, limit.per, limit.burst, limit.key) == (100, 1.0, None, "client")


@pytest.mark.parametrize("store", ["memory", "redis://h", "rediss://h", "redis+sentinel://h/m/0", "redis+cluster://h"])
def test_stores_are_known(store):
    """All of the contract."""
    assert RateLimitSettings(store=store).store == store


@pytest.mark.parametrize("wrong", [{"store": "memcached"}, {"on_store_failure": "panic"}, {"default": {"per": "1s"}}])
def test_mistakes_are_refused(wrong):
    """Even while the feature is off."""
    with pytest.raises(ValidationError):
        RateLimitSettings.model_validate(wrong)

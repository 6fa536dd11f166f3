"""What a token by an unknown key is told: a table of who may be good."""

from __future__ import annotations

import time
from typing import Any

import pytest

from lbgateway.errors import AuthUnavailable
from lbgateway.policies.claims import ClaimRules
from lbgateway.policies.unknown_key import without_key
from lbgateway.policies.wait import Flight
from tests.lbgateway.policies.test_token_verifier import Published
from tests.support.tokens import forged, token

RULES = ClaimRules(issuer="https://issuer.example", leeway_s=30.0, required=("exp",))
READ_AGO_S = 4.0


def told(raw: str, source: Published, came_ago_s: float = 0.0) -> Any:
    return without_key(raw.encode(), time.monotonic() - came_ago_s, source, RULES, again=False)


def just_read(*, fresh: bool = True) -> Published:
    source = Published("a", fresh=fresh)
    source.read_at_s = time.monotonic() - READ_AGO_S
    return source


def issued(ago_s: float, **claims: Any) -> str:
    return token(**{"iss": "https://issuer.example", "iat": int(time.time() - ago_s), **claims})


def test_it_waits_for_keys_if_they_may_be_fetched():
    """Whatever it says of itself."""
    source = just_read()
    source.flight = Flight()
    assert told(issued(3600), source) is source.flight


def test_keys_that_were_fetched_since_it_came_have_the_last_word():
    """Nobody is asked again for the same request; where a fetch began before it came, somebody is."""
    source = just_read()
    source.flight = Flight()
    assert told(issued(0), source, READ_AGO_S + 1) is None
    assert told(issued(0), source, READ_AGO_S - 1) is source.flight
    assert source.asked == 1


@pytest.mark.parametrize(
    ("ago_s", "claims", "may_be_good"),
    [
        (1, {}, True),
        (60, {}, False),
        (1, {"iat": None}, False),
        (1, {"iss": "https://other.example"}, False),
        (1, {"exp": None}, False),
        (1, {"exp": 1}, False),
        (-600, {}, False),
    ],
    ids=["younger", "older", "does not say", "another issuer", "without an end", "over", "of the future"],
)
def test_while_keys_may_not_be_fetched_only_one_that_is_younger_may_be_good(ago_s, claims, may_be_good):
    """503 until they may; any other would have been signed by a key that is known."""
    found = told(issued(ago_s, **claims), just_read())
    assert isinstance(found, AuthUnavailable) is may_be_good
    assert found is None or found.headers == b"Retry-After: 8\r\n"


def test_one_that_claims_nothing_readable_is_refused():
    """Its claims are no JSON object."""
    assert told(forged({"alg": "HS256"}, b"[1]"), just_read()) is None


def test_while_the_provider_is_away_any_may_be_good():
    """Nothing is known of its keys."""
    assert isinstance(told(issued(3600), just_read(fresh=False), 60.0), AuthUnavailable)

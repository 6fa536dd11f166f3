"""What a token by an unknown key is told: a table of who may be good."""

from __future__ import annotations

import time
from typing import Any

import pytest

from lbgateway.errors import AuthUnavailable
from lbgateway.policies.claims import ClaimRules
from lbgateway.policies.memory import digest_of
from lbgateway.policies.unknown_key import KeySearch
from lbgateway.policies.wait import Flight
from tests.lbgateway.policies.test_token_verifier import Published
from tests.support.tokens import forged, token

RULES = ClaimRules(issuer="https://issuer.example", leeway_s=30.0, required=("exp",))
READ_AGO_S = 4.0


def told(raw: str, source: Published, came_ago_s: float = 0.0, rules: ClaimRules = RULES, key_id: str | None = "b") -> Any:
    return KeySearch(source, rules).outcome(raw.encode(), digest_of(raw.encode()), key_id, time.monotonic() - came_ago_s)


def just_read(*, fresh: bool = True) -> Published:
    source = Published("a", fresh=fresh)
    source.read_at_s = time.monotonic() - READ_AGO_S
    return source


def issued(ago_s: float, **claims: Any) -> str:
    return token(**{"iss": "https://issuer.example", "iat": int(time.time() - ago_s), **claims})


def test_it_waits_for_keys_if_they_may_be_fetched():
    """Whenever it was issued."""
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


WITHOUT_A_CHANCE: list[dict[str, Any]] = [
    {"iss": "https://other.example"},
    {"iss": None},
    {"exp": None},
    {"exp": 1},
    {"exp": "1e9"},
    {"nbf": int(time.time()) + 600},
    {"iat": int(time.time()) + 600},
]


@pytest.mark.parametrize("claims", WITHOUT_A_CHANCE, ids=",".join)
@pytest.mark.parametrize("fresh", [True, False])
def test_nothing_is_fetched_for_one_that_no_key_would_save(claims, fresh):
    """It is not believed, whoever has signed it: also while the provider is away."""
    source = just_read(fresh=fresh)
    source.flight = source.next_one = Flight()
    assert told(issued(1, **claims), source) is None
    assert source.asked == 0


def test_nothing_is_fetched_for_one_that_claims_nothing_readable():
    """Its claims are no JSON object."""
    source = just_read()
    source.flight = Flight()
    assert told(forged({"alg": "HS256"}, b"[1]"), source) is None
    assert source.asked == 0


@pytest.mark.parametrize(
    ("ago_s", "claims", "leeway_s", "may_be_good"),
    [
        (1, {}, 30.0, True),
        (READ_AGO_S + 20, {}, 30.0, True),
        (READ_AGO_S + 60, {}, 30.0, False),
        (READ_AGO_S - 0.1, {}, 0.0, True),
        (READ_AGO_S + 3, {}, 0.0, False),
        (1, {"iat": None}, 30.0, True),
        (1, {"iat": 10**400}, 30.0, False),
        (1, {"iat": -(10**400)}, 30.0, False),
    ],
    ids=["younger", "a late clock", "older", "a clock of whole seconds", "older by an exact clock", "does not say", "never", "ages old"],
)
@pytest.mark.parametrize("room", [True, False])
def test_while_keys_may_not_be_fetched_who_may_be_good_is_held(ago_s, claims, leeway_s, may_be_good, room):
    """Or told to come back, where too many are; any other would have been signed by a key that is known."""
    source = just_read()
    source.next_one = Flight() if room else None
    found = told(issued(ago_s, **claims), source, rules=ClaimRules("https://issuer.example", None, leeway_s, ("exp",)))
    if not may_be_good:
        assert found is None
    elif room:
        assert found is source.next_one
    else:
        assert isinstance(found, AuthUnavailable)
        assert found.headers == b"Retry-After: 8\r\n"


def test_while_the_provider_is_away_any_may_be_good():
    """Nothing is known of its keys; nobody is held, because nobody knows how long it will take."""
    source = just_read(fresh=False)
    source.next_one = Flight()
    assert isinstance(told(issued(3600), source, 60.0), AuthUnavailable)


@pytest.mark.parametrize(("key_id", "is_held"), [("gone", False), ("b", True), (None, True)])
def test_one_by_a_key_that_was_taken_away_is_not_held(key_id, is_held):
    """Its time is over; if the key should come back, the next fetch for others, or for it, will tell."""
    source = just_read()
    source.withdrawn, source.next_one = ("gone",), Flight()
    assert told(issued(0), source, key_id=key_id) is (source.next_one if is_held else None)
    source.flight = Flight()
    assert told(issued(0), source, key_id=key_id) is source.flight

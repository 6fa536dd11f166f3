"""Which claims hold: tables, at a fixed moment."""

from __future__ import annotations

import math
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from lbgateway.policies.claims import LONGEST_S, WITHOUT_EXPIRY_S, ClaimRules, check_claims, issued_before, lifetime_s
from lbgateway.policies.token import InvalidToken

NOW_S = 1_000_000.0
HUGE = 10**400


def verdict(claims: dict[str, Any], **rules: Any) -> str | None:
    try:
        check_claims(claims, ClaimRules(**rules), NOW_S)
    except InvalidToken as refused:
        return refused.reason
    return None


@pytest.mark.parametrize(
    ("claims", "rules", "reason"),
    [
        ({}, {}, None),
        # moments
        ({"exp": NOW_S + 1}, {}, None),
        ({"exp": NOW_S}, {}, "expired"),
        ({"exp": NOW_S - 29}, {"leeway_s": 30.0}, None),
        ({"exp": NOW_S - 30}, {"leeway_s": 30.0}, "expired"),
        ({"exp": 0}, {}, "expired"),
        ({"exp": -1}, {}, "expired"),
        ({"exp": HUGE}, {"leeway_s": 30.0}, None),
        ({"exp": -HUGE}, {"leeway_s": 30.0}, "expired"),
        ({"nbf": NOW_S}, {}, None),
        ({"nbf": NOW_S + 1}, {}, "not_yet_valid"),
        ({"nbf": NOW_S + 30}, {"leeway_s": 30.0}, None),
        ({"nbf": HUGE}, {}, "not_yet_valid"),
        ({"iat": NOW_S + 1}, {}, "not_yet_valid"),
        ({"iat": NOW_S + 30}, {"leeway_s": 30.0}, None),
        # types
        ({"exp": str(int(NOW_S + 99))}, {}, "claims"),
        ({"exp": True}, {}, "claims"),
        ({"exp": None}, {}, "claims"),
        ({"exp": [NOW_S + 99]}, {}, "claims"),
        ({"exp": math.inf}, {}, "claims"),
        ({"exp": math.nan}, {}, "claims"),
        ({"nbf": "0"}, {}, "claims"),
        ({"iat": {}}, {}, "claims"),
        ({"sub": 7}, {}, "claims"),
        ({"sub": None}, {}, "claims"),
        ({"jti": 7}, {}, "claims"),
        ({"iss": ["us"]}, {"issuer": "us"}, "claims"),
        ({"aud": 7}, {}, "claims"),
        ({"aud": ["us", 7]}, {"audience": frozenset(["us"])}, "claims"),
        ({"aud": {"us": 1}}, {}, "claims"),
        # what must be there
        ({"sub": "ann"}, {"required": ("sub",)}, None),
        ({}, {"required": ("sub",)}, "claims"),
        ({"tenant": None}, {"required": ("tenant",)}, "claims"),
        ({"sub": ""}, {"required": ("sub",)}, "claims"),
        ({"admin": False}, {"required": ("admin",)}, None),
        ({"n": 0}, {"required": ("n",)}, None),
        # whose and for whom
        ({"iss": "us"}, {"issuer": "us"}, None),
        ({"iss": "us/"}, {"issuer": "us"}, "issuer"),
        ({"iss": "US"}, {"issuer": "us"}, "issuer"),
        ({}, {"issuer": "us"}, "issuer"),
        ({"aud": "a"}, {"audience": frozenset(["a", "b"])}, None),
        ({"aud": ["x", "b"]}, {"audience": frozenset(["a", "b"])}, None),
        ({"aud": "ab"}, {"audience": frozenset(["a", "b"])}, "audience"),
        ({"aud": []}, {"audience": frozenset(["a"])}, "audience"),
        ({}, {"audience": frozenset(["a"])}, "audience"),
        ({"aud": "them"}, {}, None),
    ],
)
def test_which_claims_hold(claims, rules, reason):
    """A claim that is there is typed and true; the configuration says which must be there."""
    assert verdict(claims, **rules) == reason


@pytest.mark.parametrize(
    ("claims", "seconds"),
    [({"exp": NOW_S + 60}, 60.0 + 5.0), ({}, WITHOUT_EXPIRY_S), ({"exp": HUGE}, LONGEST_S + 5.0)],
)
def test_how_long_a_token_is_believed_without_looking_again(claims, seconds):
    """Until its own end, with the leeway; a minute where it names none."""
    assert lifetime_s(claims, ClaimRules(leeway_s=5.0), NOW_S) == seconds


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
anything = st.recursive(plain, lambda inner: st.lists(inner, max_size=3))


@hypothesis.given(
    st.dictionaries(st.sampled_from(["exp", "nbf", "iat", "iss", "sub", "aud", "jti", "x"]), anything),
    st.booleans(),
)
def test_whatever_claims_say_the_answer_is_yes_or_a_reason(claims, strict):
    """Nothing else is raised; and who passes the strict rules has what they ask for."""
    rules = {"issuer": "us", "audience": frozenset("a"), "required": ("exp", "sub")} if strict else {}
    reason = verdict(claims, **rules)
    assert reason in (None, "claims", "expired", "not_yet_valid", "issuer", "audience")
    if reason is None:
        assert lifetime_s(claims, ClaimRules(**rules), NOW_S) > 0
        assert not strict or (claims["iss"] == "us" and "a" in claims["aud"] and claims["exp"] > NOW_S)


@pytest.mark.parametrize(
    ("claims", "leeway_s", "before"),
    [
        ({}, 30.0, False),
        ({"iat": NOW_S}, 30.0, False),
        ({"iat": NOW_S - 30}, 30.0, False),
        ({"iat": NOW_S - 31}, 30.0, True),
        ({"iat": NOW_S - 1}, 0.0, False),
        ({"iat": NOW_S - 1.1}, 0.0, True),
        ({"iat": HUGE}, 30.0, False),
        ({"iat": -HUGE}, 30.0, True),
    ],
)
def test_what_was_issued_before_a_moment(claims, leeway_s, before):
    """Only what says so, beyond what clocks may differ by."""
    assert issued_before(claims, ClaimRules(leeway_s=leeway_s), NOW_S) is before

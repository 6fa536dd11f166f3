"""Whether the claims of a token that is genuine hold for this gateway, now: RFC 7519, section 4.1. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lbgateway.policies.token import InvalidToken

WITHOUT_EXPIRY_S, LONGEST_S = 60.0, 1e9
"""For how long a token is believed that says nothing of its end; and any other at most."""
WHOLE_S = 1.0
_MOMENTS, _TEXTS = ("exp", "nbf", "iat"), ("iss", "sub", "jti")


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """What claims must say (the contract, ``auth.jwt``). ``audience``: one of them at least; None asks for nothing."""

    issuer: str | None = None
    audience: frozenset[str] | None = None
    leeway_s: float = 0.0
    required: tuple[str, ...] = ()


def check_claims(claims: dict[str, Any], rules: ClaimRules, now_s: float) -> None:
    """Raise `InvalidToken` unless `claims` hold at `now_s` (Unix seconds)."""
    _check_types(claims)
    if any(claims.get(name) in (None, "") for name in rules.required):
        raise InvalidToken("claims")
    # Compared as they are: a moment may be a whole number that no float can hold.
    if "exp" in claims and claims["exp"] <= now_s - rules.leeway_s:
        raise InvalidToken("expired")
    if any(name in claims and claims[name] > now_s + rules.leeway_s for name in ("nbf", "iat")):
        raise InvalidToken("not_yet_valid")
    if rules.issuer is not None and claims.get("iss") != rules.issuer:
        raise InvalidToken("issuer")
    if rules.audience is not None and rules.audience.isdisjoint(_audience(claims)):
        raise InvalidToken("audience")


def issued_before(claims: dict[str, Any], rules: ClaimRules, moment_s: float) -> bool:
    """Whether checked claims say that the token was issued before a moment (Unix seconds), whatever clocks may differ by.

    False where they do not say when. Many issuers write whole seconds: so it is one at least.
    """
    return "iat" in claims and bool(claims["iat"] < moment_s - max(rules.leeway_s, WHOLE_S))


def lifetime_s(claims: dict[str, Any], rules: ClaimRules, now_s: float) -> float:
    """For how many seconds from `now_s` on (Unix seconds) checked claims need not be checked again."""
    return min(claims["exp"], now_s + LONGEST_S) + rules.leeway_s - now_s if "exp" in claims else WITHOUT_EXPIRY_S


def _check_types(claims: dict[str, Any]) -> None:
    """Moments are numbers and names are texts: to one reader "1e9" is long over, to another it is for ever."""
    moments = all(_is_moment(claims[name]) for name in _MOMENTS if name in claims)
    texts = all(isinstance(claims[name], str) for name in _TEXTS if name in claims)
    if not (moments and texts and all(isinstance(one, str) for one in _audience(claims))):
        raise InvalidToken("claims")


def _is_moment(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _audience(claims: dict[str, Any]) -> list[Any]:
    value = claims.get("aud", [])
    return value if isinstance(value, list) else [value]

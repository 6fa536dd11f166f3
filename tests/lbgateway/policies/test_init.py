"""Which routes meet which policies."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lbgateway.policies import compile_admit
from lbgateway.policies.checks import Checks
from lbgateway.policies.scopes import RequiredScopes
from tests.support.tokens import auth_of

AUTH = auth_of()
CHECKS = Checks(AUTH)


def policies(auth: str, jwt: Any, scopes: tuple[str, ...] = ()) -> tuple[Any, ...]:
    return compile_admit(SimpleNamespace(auth=auth, scopes=scopes, cors=None), jwt, lambda _reason: None)


@pytest.mark.parametrize(
    ("auth", "jwt", "expected"),
    [
        ("none", None, ()),
        ("none", CHECKS, ()),
        ("optional", None, ()),
        ("optional", CHECKS, (AUTH.optional,)),
        ("required", CHECKS, (AUTH.required,)),
    ],
)
def test_a_route_meets_only_the_policies_that_concern_it(auth, jwt, expected):
    """Compiled once, so that no request asks whether it is concerned."""
    assert policies(auth, jwt) == expected


def test_scopes_are_asked_for_behind_the_token():
    """Who is asking comes before what a subject may do."""
    who, what = policies("required", CHECKS, ("orders:read",))
    assert who == AUTH.required
    assert isinstance(what, RequiredScopes)


@pytest.mark.parametrize(("auth", "jwt"), [("none", None), ("none", CHECKS), ("optional", None), ("optional", CHECKS)])
def test_scopes_without_a_token_let_nobody_pass(auth, jwt):
    """`check` refuses such a route; one that gets here all the same is closed, not open."""
    assert isinstance(policies(auth, jwt, ("orders:read",))[-1], RequiredScopes)


def test_a_route_that_needs_a_token_which_nobody_can_check_lets_nobody_pass():
    """Closed when in doubt."""
    [nobody] = policies("required", None)
    rejection = nobody(SimpleNamespace())
    assert rejection is not None
    assert (rejection.status, rejection.headers) == (401, b'WWW-Authenticate: Bearer error="invalid_token"\r\n')

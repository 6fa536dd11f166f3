"""Which routes meet which policies."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lbgateway.policies import compile_admit
from lbgateway.policies.jwt_auth import TokenVerifier

VERIFIER = TokenVerifier(
    secret="a secret of thirty-two bytes or more", algorithms=("HS256",), issuer=None, audience=None, leeway_s=0.0,
    required_claims=(), claims_to_headers={}, count_failure=lambda _reason: None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("auth", "verifier", "policies"),
    [
        ("none", None, ()),
        ("none", VERIFIER, ()),
        ("optional", None, ()),
        ("optional", VERIFIER, (VERIFIER.optional,)),
        ("required", VERIFIER, (VERIFIER.required,)),
    ],
)
def test_a_route_meets_only_the_policies_that_concern_it(auth, verifier, policies):
    """Compiled once, so that no request asks whether it is concerned."""
    assert compile_admit(SimpleNamespace(auth=auth), verifier) == policies


def test_a_route_that_needs_a_token_which_nobody_can_verify_lets_nobody_pass():
    """Closed when in doubt."""
    [nobody] = compile_admit(SimpleNamespace(auth="required"), None)
    rejection = nobody(SimpleNamespace())
    assert rejection is not None
    assert (rejection.status, rejection.headers) == (401, b'WWW-Authenticate: Bearer error="invalid_token"\r\n')

"""Who may pass a route that asks for scopes: a table."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from lbgateway.policies.identity import Identity
from lbgateway.policies.scopes import RequiredScopes


def exchange(scope: Any, *, method: bytes = b"GET", public: bool = False) -> Any:
    route = SimpleNamespace(options_public=True, is_public=lambda _path: public)
    identity = None if scope is None else Identity({"scope": scope}, b"", 0.0)
    head = SimpleNamespace(method=method)
    return SimpleNamespace(identity=identity, route=route, head=head, target=SimpleNamespace(path=b"/"), preflight=b"")


@pytest.mark.parametrize(
    ("asked", "passes"),
    [
        (exchange("a b"), True),
        (exchange("b c a"), True),
        (exchange(["a", "b"]), True),
        (exchange("a"), False),
        (exchange(""), False),
        (exchange("ab"), False),
        (exchange(["a b"]), False),
        (exchange("A B"), False),
        (exchange(None), False),
        (exchange(None, method=b"OPTIONS"), True),
        (exchange(None, public=True), True),
        (exchange("", public=True), False),
    ],
)
def test_all_scopes_are_needed(asked, passes):
    """As whole words; where credentials are not looked at, nobody is asked for scopes. Nobody known passes nowhere else."""
    counted: Counter[str] = Counter()
    rejection = RequiredScopes(("b", "a"), lambda reason: counted.update([reason]))(asked)
    assert (rejection is None) is passes
    if rejection is not None:
        assert (rejection.status, rejection.slug, counted) == (403, "forbidden", {"scope": 1})
        assert rejection.headers == b'WWW-Authenticate: Bearer error="insufficient_scope", scope="a b"\r\n'

"""Which session a request belongs to, and what becomes of the request: tables."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from lbgateway.errors import GatewayError
from lbgateway.policies.identity import Identity
from lbgateway.policies.session_auth import SessionAuth
from lbgateway.policies.testimony import Fails, Holds
from lbgateway.policies.wait import Wait
from tests.lbgateway.policies.test_authority import Asked

SESSIONS = {b"good": Holds({"sub": "ann"}, math.inf), b"bobs": Holds({"sub": "bob"}, math.inf), b"plain": Holds({}, math.inf)}


def exchange(*cookies: bytes, method: bytes = b"GET", path: bytes = b"/api/orders/", public: bool = False, **claims: Any) -> Any:
    """As much of an exchange as the policy looks at; with `claims` a token has been seen."""
    route = SimpleNamespace(public=frozenset((b"/open",)) if public else None, options_public=True)
    route.is_public = lambda path: route.public is not None and path in route.public
    lines = [b"", *(part for value in cookies for part in (b"Cookie", b": ", value, b"\r\n"))]
    return SimpleNamespace(
        head=SimpleNamespace(method=method, lines=lines), target=SimpleNamespace(path=path), route=route, preflight=b"",
        identity=Identity(claims, b"", math.inf) if claims else None, extra_lines=b"", started_s=time.monotonic(),
    )  # fmt: skip


def verdict(policy: Any, made: Any, asked: Asked) -> int | None:
    """The status of a refusal, after whatever has to be asked."""
    found = policy(made)
    if isinstance(found, Wait):
        name = asked.questions[0][0]
        asked.says(SESSIONS.get(name, Fails("session")))
        assert found.flight.landed
        found = found.decide(made)
    return found.status if isinstance(found, GatewayError) else found


@pytest.mark.parametrize(
    ("cookies", "given", "required", "optional"),
    [
        ((b"sid=good",), {}, None, None),
        ((b'a=1; sid="good"',), {}, None, None),
        ((b"sid=bad",), {}, 401, 401),
        ((), {}, 401, None),
        ((b"other=good",), {}, 401, None),
        ((b"sid=",), {}, 401, None),  # a browser that has logged out
        ((b"sid=good; sid=good",), {}, 401, 401),
        ((b"sid=good", b"sid=bobs"), {}, 401, 401),
        ((b"sid=good:x",), {}, 401, 401),
        ((b"sid=a b",), {}, 401, 401),
        ((b"sid=\xff\x00",), {}, 401, 401),
        ((b"sid=" + b"x" * 257,), {}, 401, 401),
        ((), {"method": b"OPTIONS"}, None, None),
        ((b"sid=bad",), {"method": b"OPTIONS"}, None, None),
        ((b"sid=bad",), {"path": b"/open", "public": True}, None, None),
        ((b"sid=bad",), {"public": True}, 401, 401),
        ((b"sid=good",), {"public": True}, None, None),
    ],
)
def test_a_session_alone_says_who_is_asking(cookies, given, required, optional):
    """Asked for and remembered, twice the same."""
    for expected, name in ((required, "required"), (optional, "optional")):
        asked = Asked()
        auth = SessionAuth(asked.authority, b"sid", "sid")
        for _ in range(2):
            made = exchange(*cookies, **given)
            assert verdict(getattr(auth, name), made, asked) == expected
            known = expected is None and any(b"good" in each for each in cookies) and "method" not in given and made.target.path != b"/open"
            known = known and cookies != (b"other=good",)
            assert (made.identity is not None and made.identity.subject == "ann") is known
            assert made.extra_lines == (b"X-User-Id: ann\r\n" if known else b"")
        assert asked.questions == []


@pytest.mark.parametrize(
    ("cookies", "claims", "status"),
    [
        ((), {"sub": "ann", "sid": "good"}, None),
        ((b"sid=good",), {"sub": "ann"}, None),
        ((b"sid=good",), {"sub": "ann", "sid": "good"}, None),
        ((b"sid=",), {"sub": "ann", "sid": "good"}, None),
        ((b"sid=plain",), {"sub": "ann"}, None),
        ((), {"sub": "ann"}, 401),
        ((), {"sub": "ann", "sid": "bad"}, 401),
        ((b"sid=bad",), {"sub": "ann"}, 401),
        # the token of one, the session of another
        ((b"sid=bobs",), {"sub": "ann"}, 401),
        ((), {"sub": "ann", "sid": "bobs"}, 401),
        # the gateway would look at one, a service at the other
        ((b"sid=good",), {"sub": "ann", "sid": "plain"}, 401),
        ((b"sid=plain",), {"sub": "ann", "sid": "good"}, 401),
        ((b"sid=good; sid=good",), {"sub": "ann", "sid": "good"}, 401),
        # what is no name
        ((), {"sub": "ann", "sid": 7}, 401),
        ((), {"sub": "ann", "sid": ["good"]}, 401),
        ((), {"sub": "ann", "sid": "g\u00f6\u00f6d"}, 401),
        ((), {"sub": "ann", "sid": ""}, 401),
        ((), {"sub": "ann", "sid": "x" * 300}, 401),
    ],
)
def test_beside_a_token_both_must_hold(cookies, claims, status):
    """The token stays what is known of the subject."""
    asked = Asked()
    auth = SessionAuth(asked.authority, b"sid", "sid")
    for _ in range(2):
        made = exchange(*cookies, **claims)
        before = made.identity
        assert verdict(auth.confirm, made, asked) == status
        assert (made.identity, made.extra_lines) == (before, b"")
    assert asked.questions == []


def test_where_nobody_had_to_show_a_token_no_session_is_asked_for():
    """Public paths, OPTIONS, `auth: optional`: a cookie alone proves nothing there, and does no harm."""
    asked = Asked()
    assert SessionAuth(asked.authority, b"sid", "sid").confirm(exchange(b"sid=bad")) is None
    assert asked.questions == []


def test_a_session_that_is_over_is_asked_for_again():
    """Alone, and beside a token."""
    for claims in ({}, {"sub": "ann"}):
        asked = Asked()
        auth = SessionAuth(asked.authority, b"sid", "sid")
        policy = auth.confirm if claims else auth.required
        assert verdict(policy, exchange(b"sid=good", **claims), asked) is None
        [known] = asked.authority.remembered.values()
        known.until_s = 0.0
        assert isinstance(policy(exchange(b"sid=good", **claims)), Wait)


@hypothesis.given(st.binary(max_size=300))
def test_whatever_a_cookie_holds_only_clean_names_are_asked_for(value):
    """Nothing that could leave the prefix of its key, or its line of a header."""
    asked = Asked()
    SessionAuth(asked.authority, b"sid", "sid").required(exchange(b"sid=" + value))
    for name, _ in asked.questions:
        assert 0 < len(name) <= 256
        assert not set(name) & set(b':;, \t\r\n"\\*{}[]?\x00')
        assert name.isascii()


@pytest.mark.parametrize(("claims", "named"), [({}, None), ({"sid": "good"}, b"good")])
def test_a_token_may_name_its_session(claims, named):
    """For the operators' door, where no cookie counts."""
    assert SessionAuth(Asked().authority, b"sid", "sid").named_by(Identity(claims, b"", math.inf)) == named

"""Whose token is believed, for how long, and what becomes of it: tables."""

from __future__ import annotations

import base64
import json
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any

import hypothesis
import jwt
import pytest
from hypothesis import strategies as st

from lbgateway.errors import GatewayError
from lbgateway.policies import jwt_auth
from lbgateway.policies.jwt_auth import INVALID, REMEMBERED_TOKENS, TokenVerifier

SECRET = "a secret of sixty-four bytes or more, " * 2
OTHER = "another secret of sixty-four bytes or more, " * 2
NOW = int(time.time())


def verifier(**rules: Any) -> TokenVerifier:
    given: dict[str, Any] = {
        "secret": SECRET, "algorithms": ("HS256",), "issuer": None, "audience": None, "leeway_s": 0.0, "required_claims": ("sub",),
        "claims_to_headers": {"sub": "X-User-Id", "scope": "X-User-Scope"}, "count_failure": lambda _reason: None,
    }  # fmt: skip
    return TokenVerifier(**{**given, **rules})


def token(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> bytes:
    return b"Bearer " + jwt.encode({"sub": "ann", **claims}, secret, algorithm=algorithm).encode()


def exchange(authorization: bytes | None, *, method: bytes = b"GET", path: bytes = b"/api/orders/", public: bool = False) -> Any:
    """As much of an exchange as a policy looks at."""
    route = SimpleNamespace(public=frozenset((b"/open",)) if public else None, options_public=True)
    route.is_public = lambda path: route.public is not None and path in route.public
    return SimpleNamespace(
        head=SimpleNamespace(authorization=authorization, method=method), target=SimpleNamespace(path=path),
        route=route, extra_lines=b"", started_s=time.monotonic(),
    )  # fmt: skip


def unsigned(**claims: Any) -> bytes:
    return b"Bearer " + jwt.encode(claims, "", algorithm="none").encode()


@pytest.mark.parametrize(
    ("authorization", "rules", "reason"),
    [
        (token(), {}, None),
        (b"bearer " + token()[7:], {}, None),
        (token(exp=NOW + 3600), {}, None),
        (token(exp=NOW - 10), {}, "expired"),
        (token(exp=NOW - 10), {"leeway_s": 3600.0}, None),
        (token(nbf=NOW + 3600), {}, "invalid"),
        (token(OTHER), {}, "signature"),
        (token()[:-3] + b"xx0", {}, "signature"),
        (token(algorithm="HS512"), {}, "algorithm"),
        (token(algorithm="HS512"), {"algorithms": ("HS256", "HS512")}, None),
        (unsigned(sub="ann"), {}, "algorithm"),
        (token(iss="them"), {"issuer": "us"}, "invalid"),
        (token(iss="us"), {"issuer": "us"}, None),
        (token(aud="them"), {"audience": ("us",)}, "invalid"),
        (token(aud=["us", "them"]), {"audience": ("us",)}, None),
        (token(aud="them"), {}, None),
        (token(), {"required_claims": ("exp",)}, "invalid"),
        (token()[7:], {}, "scheme"),
        (b"Basic YTpi", {}, "scheme"),
        (b"Bearer", {}, "invalid"),
        (b"Bearer not.a.token", {}, "invalid"),
        (b"Bearer \xff\xfe", {}, "invalid"),
        (b"\x00", {}, "scheme"),
    ],
)
def test_which_tokens_are_believed(authorization, rules, reason):
    """The configuration decides, and nothing that the token says of itself; a failure is counted by its kind."""
    counted: Counter[str] = Counter()
    judge = verifier(**rules, count_failure=lambda kind: counted.update([kind]))
    asked = exchange(authorization)
    rejection = judge.required(asked)
    assert counted == ({} if reason is None else {reason: 1})
    if reason is None:
        assert (rejection, asked.extra_lines) == (None, b"X-User-Id: ann\r\n")
    else:
        assert isinstance(rejection, GatewayError)
        assert (rejection.status, rejection.headers, asked.extra_lines) == (401, INVALID, b"")


@pytest.mark.parametrize("policy", ["required", "optional"])
@pytest.mark.parametrize(
    ("authorization", "method", "path", "public", "statuses"),
    [
        (None, b"GET", b"/api/orders/", False, {"required": 401, "optional": None}),
        (None, b"OPTIONS", b"/api/orders/", False, {"required": None, "optional": None}),
        (None, b"GET", b"/open", True, {"required": None, "optional": None}),
        (b"Bearer stale", b"GET", b"/open", True, {"required": None, "optional": None}),
        (b"Bearer stale", b"GET", b"/api/orders/", True, {"required": 401, "optional": 401}),
        (b"Bearer stale", b"OPTIONS", b"/api/orders/", False, {"required": None, "optional": None}),
        (token(), b"GET", b"/api/orders/", False, {"required": None, "optional": None}),
    ],
)
def test_who_needs_a_token(policy, authorization, method, path, public, statuses):
    """Public paths and OPTIONS need none, and a bad one does no harm there; elsewhere a bad one is worse than none."""
    rejection = getattr(verifier(), policy)(exchange(authorization, method=method, path=path, public=public))
    assert (None if rejection is None else rejection.status) == statuses[policy]
    assert authorization is not None or rejection is None or rejection.headers == INVALID


@pytest.mark.parametrize("policy", ["required", "optional"])
def test_a_token_is_verified_once(policy):
    """The second request costs a lookup, whether or not a token is required."""
    judge = verifier()
    ask = getattr(judge, policy)
    assert ask(exchange(token())) is None
    judge._secret = OTHER  # from now on verifying would fail
    second = exchange(token())
    assert ask(second) is None
    assert second.extra_lines == b"X-User-Id: ann\r\n"


def test_a_remembered_token_is_forgotten_when_it_expires():
    """Its end is its own, or a minute where it names none."""
    judge = verifier()
    end = int(time.time()) + 30
    for authorization, left_s in ((token(exp=end), end - time.time()), (token(), jwt_auth.WITHOUT_EXPIRY_S)):
        assert judge.required(exchange(authorization)) is None
        end_s, _ = judge.remembered[authorization]
        assert end_s - time.monotonic() == pytest.approx(left_s, abs=2)
        judge._secret = OTHER
        late = exchange(authorization)
        late.started_s = end_s
        assert judge.required(late) is not None
        judge._secret = SECRET


def test_claims_are_not_told_on_public_paths():
    """Whether or not the token happens to be remembered."""
    judge = verifier()
    assert judge.required(exchange(token())) is None
    asked = exchange(token(), path=b"/open", public=True)
    assert judge.required(asked) is None
    assert asked.extra_lines == b""


def test_memory_is_bounded():
    """The oldest goes first; whoever sends many valid tokens pushes out others, not the process."""
    judge = verifier()
    first = token(jti="0")
    judge.required(exchange(first))
    judge.remembered.update({b"%d" % number: (0.0, b"") for number in range(REMEMBERED_TOKENS - 1)})
    assert len(judge.remembered) == REMEMBERED_TOKENS
    judge.required(exchange(token(jti="1")))
    assert (len(judge.remembered), first in judge.remembered) == (REMEMBERED_TOKENS, False)


@pytest.mark.parametrize(
    ("claims", "lines"),
    [
        ({"scope": "a b"}, b"X-User-Id: ann\r\nX-User-Scope: a b\r\n"),
        ({"scope": ["a", "b"]}, b"X-User-Id: ann\r\nX-User-Scope: a b\r\n"),
        ({"scope": 7}, b"X-User-Id: ann\r\nX-User-Scope: 7\r\n"),
        ({"scope": {"a": 1}}, b"X-User-Id: ann\r\n"),
        ({"scope": "a\r\nX-Admin: 1"}, b"X-User-Id: ann\r\n"),
        ({"scope": ["a\nb"]}, b"X-User-Id: ann\r\n"),
        ({"scope": ""}, b"X-User-Id: ann\r\n"),
        ({"scope": None}, b"X-User-Id: ann\r\n"),
    ],
)
def test_claims_become_clean_header_lines_or_none(claims, lines):
    """No claim can begin a line of its own."""
    assert verifier().verify(token(**claims)) == lines


def test_a_head_that_nests_without_end_is_just_invalid():
    """JSON is read before the signature is known: whatever it does to the reader, the gateway says 401."""
    nested = base64.urlsafe_b64encode(b"[" * 40_000).rstrip(b"=")
    for raw in (nested + b".e30.AA", b"eyJhbGciOiJIUzI1NiJ9." + nested + b".AA"):
        rejection = verifier().required(exchange(b"Bearer " + raw))
        assert rejection is not None
        assert rejection.status == 401


segments = st.one_of(
    st.binary(max_size=20),
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.dictionaries(st.text(max_size=5), inner))
    .map(json.dumps)
    .map(str.encode),
).map(lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"="))


@hypothesis.given(parts=st.lists(segments, max_size=4), scheme=st.sampled_from([b"Bearer ", b"bearer  ", b"Basic ", b""]))
def test_whatever_a_client_calls_a_token_nothing_is_raised(parts, scheme):
    """And nobody gets in."""
    rejection = verifier().required(exchange(scheme + b".".join(parts)))
    assert rejection is not None
    assert rejection.status == 401

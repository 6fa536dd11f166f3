"""Who needs a token, where it is looked for, and what becomes of the request: tables."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from lbgateway.errors import INVALID_TOKEN, GatewayError
from lbgateway.policies.jwt_auth import WAIT_S, JwtAuth
from lbgateway.policies.wait import Flight, Wait
from tests.support.tokens import SECRET, auth_of, private_key, token

GOOD, STALE = token(), token(exp=1)


def bearer(raw: str) -> bytes:
    return b"Bearer " + raw.encode()


def exchange(
    authorization: bytes | None = None, *, method: bytes = b"GET", path: bytes = b"/api/orders/", public: bool = False, cookie: bytes = b""
) -> Any:
    """As much of an exchange as a policy looks at."""
    route = SimpleNamespace(public=frozenset((b"/open",)) if public else None, options_public=True)
    route.is_public = lambda path: route.public is not None and path in route.public
    lines = [b"", b"Cookie", b": ", cookie, b"\r\n"] if cookie else [b""]
    return SimpleNamespace(
        head=SimpleNamespace(authorization=authorization, digest=None, method=method, lines=lines), target=SimpleNamespace(path=path),
        route=route, extra_lines=b"", identity=None, preflight=b"", started_s=time.monotonic(),
    )  # fmt: skip


@pytest.mark.parametrize("policy", ["required", "optional"])
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize(
    ("asked", "statuses"),
    [
        ({}, {"required": 401, "optional": None}),
        ({"method": b"OPTIONS"}, {"required": None, "optional": None}),
        ({"path": b"/open", "public": True}, {"required": None, "optional": None}),
        ({"authorization": bearer(STALE), "path": b"/open", "public": True}, {"required": None, "optional": None}),
        ({"authorization": bearer(STALE), "public": True}, {"required": 401, "optional": 401}),
        ({"authorization": bearer(STALE), "method": b"OPTIONS"}, {"required": None, "optional": None}),
        ({"authorization": bearer(STALE)}, {"required": 401, "optional": 401}),
        ({"authorization": b"\x00"}, {"required": 401, "optional": 401}),
        ({"authorization": b"Digest " + GOOD.encode()}, {"required": 401, "optional": 401}),
        ({"authorization": bearer(GOOD)}, {"required": None, "optional": None}),
        ({"authorization": b"bearer  " + GOOD.encode()}, {"required": None, "optional": None}),
    ],
)
def test_who_needs_a_token(policy, warm, asked, statuses):
    """Public paths and OPTIONS need none, and a bad one does no harm there; elsewhere a bad one is worse than none."""
    auth = auth_of()
    if warm:
        auth.verifier.identify(GOOD.encode())
    made = exchange(**asked)
    rejection = getattr(auth, policy)(made)
    assert (None if rejection is None else rejection.status) == statuses[policy]
    assert rejection is None or (rejection.headers == INVALID_TOKEN and made.identity is None)


@pytest.mark.parametrize("policy", ["required", "optional"])
@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ({"authorization": bearer(GOOD)}, True),
        ({"authorization": bearer(GOOD), "public": True}, True),
        ({"authorization": bearer(GOOD), "path": b"/open", "public": True}, False),
        ({"authorization": bearer(GOOD), "method": b"OPTIONS"}, False),
    ],
)
def test_who_is_asking_is_told_where_it_was_asked(policy, asked, known):
    """Where credentials are not evaluated there is no identity either, whether or not the token happens to be remembered."""
    auth = auth_of()
    for _ in range(2):
        made = exchange(**asked)
        assert getattr(auth, policy)(made) is None
        assert (made.identity is not None, made.extra_lines) == (known, b"X-User-Id: ann\r\n" if known else b"")


def test_a_remembered_token_is_not_taken_behind_another_scheme():
    """Seven characters of something else are not ``Bearer``."""
    auth = auth_of()
    assert auth.required(exchange(bearer(GOOD))) is None
    rejection = auth.required(exchange(b"Bearex " + GOOD.encode()))
    assert isinstance(rejection, GatewayError)
    assert rejection.status == 401


def test_a_remembered_token_ends():
    """At the moment that the request began, not later."""
    auth = auth_of(f"secret: {SECRET!r}, leeway: 0s")
    raw = token(exp=int(time.time()) + 2)
    assert auth.required(exchange(bearer(raw))) is None
    identity = auth.verifier.identify(raw.encode())
    late = exchange(bearer(raw))
    late.started_s = identity.until_s
    identity.until_s = time.monotonic() - 1
    assert auth.required(late) is None or late.identity is not identity


@pytest.mark.parametrize(
    ("authorization", "cookie", "status"),
    [
        (None, b"tok=" + GOOD.encode(), None),
        (None, b"a=1; tok=" + GOOD.encode(), None),
        (None, b"tok=" + STALE.encode(), 401),
        (None, b"other=" + GOOD.encode(), 401),
        (bearer(GOOD), b"other=1", None),
        (bearer(GOOD), b"tok=" + GOOD.encode(), 401),
        (b"Basic YTpi", b"tok=" + GOOD.encode(), 401),
        (None, b"tok=%b; tok=%b" % (GOOD.encode(), GOOD.encode()), 401),
    ],
)
def test_a_token_may_come_in_a_cookie(authorization, cookie, status):
    """One credential, wherever it is; more than one is none."""
    auth = auth_of(f"secret: {SECRET!r}, cookie: tok")
    for _ in range(2):
        rejection = auth.required(exchange(authorization, cookie=cookie))
        assert (None if rejection is None else rejection.status) == status


class Source:
    """Keys that come when the test wants."""

    def __init__(self) -> None:
        self.keys: tuple[Any, ...] = ()
        self.fresh = True
        self.withdrawn: tuple[str, ...] = ()
        self.read_at_s = float("-inf")
        self.flight: Flight | None = Flight()

    def refetch(self) -> Flight | None:
        return self.flight

    def next_fetch(self) -> Flight | None:
        return self.flight

    def again_in_s(self) -> float:
        return 0.0


def waiting(policy: str) -> tuple[JwtAuth, Source, Any, Wait]:
    auth, source = auth_of("jwks_url: http://127.0.0.1/jwks"), Source()
    auth.verifier._source = auth.verifier._search._source = source
    made = exchange(bearer(token("RS256", kid="a")))
    wait = getattr(auth, policy)(made)
    assert isinstance(wait, Wait)
    assert (wait.flight, wait.within_s, wait.late.status) == (source.flight, WAIT_S, 503)
    return auth, source, made, wait


@pytest.mark.parametrize("policy", ["required", "optional"])
def test_a_request_waits_for_the_keys_of_its_token(policy):
    """And passes with its identity when they have come."""
    from lbgateway.policies.keys import Key

    _, source, made, wait = waiting(policy)
    source.keys = (Key("a", frozenset(("RS256",)), private_key("RS256").public_key()),)
    source.flight = None
    assert wait.decide(made) is None
    assert made.identity.subject == "ann"


def test_a_request_whose_key_did_not_come_is_refused():
    """The source has answered, and does not know it."""
    _, source, made, wait = waiting("required")
    source.flight, source.read_at_s = None, time.monotonic()
    rejection = wait.decide(made)
    assert isinstance(rejection, GatewayError)
    assert rejection.status == 401

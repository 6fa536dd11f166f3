"""Who may see admin data: a table."""

import pytest

from lbgateway.controlplane.admin_auth import LOOPBACK as BY_LOOPBACK
from lbgateway.controlplane.admin_auth import AdminAccess, bearer, caller, from_another_site, is_loopback
from lbgateway.errors import AuthUnavailable, GatewayError, Unauthenticated
from lbgateway.policies.identity import Identity
from lbgateway.policies.wait import Flight

LOCAL, REMOTE = "127.0.0.1", "192.0.2.7"
TOKENS = {"good": {"sub": "ops", "scope": "read admin"}, "poor": {"sub": "ops", "scope": "read"}}
TOKENS |= {"sly": {"sub": "admin token", "scope": "admin"}, "nobody": {"scope": "admin"}}


def verify(token: bytes, _came_at_s: float | None):
    claims = TOKENS.get(token.decode())
    return Identity(claims, b"", 0.0) if claims is not None else Unauthenticated()


CLOSED = AdminAccess()
LOOPBACK = AdminAccess(allow_loopback=True)
TOKEN = AdminAccess(token="s3cret")
JWT = AdminAccess(verify=verify)
BOTH = AdminAccess(token="s3cret", verify=verify)
TOKEN_OR_LOOPBACK = AdminAccess(token="s3cret", allow_loopback=True)


@pytest.mark.parametrize(
    ("access", "authorization", "peer", "status"),
    [
        (CLOSED, [], LOCAL, 403),
        (CLOSED, [], REMOTE, 403),
        (CLOSED, [b"Bearer s3cret"], LOCAL, 403),
        (LOOPBACK, [], LOCAL, None),
        (LOOPBACK, [b"Bearer whatever"], LOCAL, None),
        (LOOPBACK, [], "::1", None),
        (LOOPBACK, [], REMOTE, 403),
        (LOOPBACK, [], None, 403),
        (TOKEN, [], REMOTE, 401),
        (TOKEN, [], LOCAL, 401),
        (TOKEN, [b"Bearer s3cret"], REMOTE, None),
        (TOKEN, [b"bearer s3cret"], REMOTE, None),
        (TOKEN, [b"Bearer s3cre"], REMOTE, 401),
        (TOKEN, [b"Bearer s3cret2"], REMOTE, 401),
        (TOKEN, [b"Bearer good"], REMOTE, 401),
        (TOKEN, [b"Bearer \xff\xfe"], REMOTE, 401),
        (TOKEN, [b"Basic s3cret"], REMOTE, 401),
        (TOKEN, [b"s3cret"], REMOTE, 401),
        (TOKEN, [b"Bearer"], REMOTE, 401),
        (TOKEN, [b""], REMOTE, 401),
        (JWT, [], REMOTE, 401),
        (JWT, [b"Bearer good"], REMOTE, None),
        (JWT, [b"Bearer poor"], REMOTE, 403),
        (JWT, [b"Bearer forged"], REMOTE, 401),
        (BOTH, [b"Bearer s3cret"], REMOTE, None),
        (BOTH, [b"Bearer good"], REMOTE, None),
        (BOTH, [b"Bearer poor"], REMOTE, 403),
        (TOKEN_OR_LOOPBACK, [], LOCAL, None),
        (TOKEN_OR_LOOPBACK, [], REMOTE, 401),
        (BOTH, [b"Bearer s3cret", b"Bearer s3cret"], REMOTE, 401),
        (LOOPBACK, [b"Bearer a", b"Bearer b"], LOCAL, 401),
    ],
)
def test_the_door_opens_for_the_right_ones_only(access, authorization, peer, status):
    """Closed unless configured; the token, a JWT with the scope, or a loopback peer opens it."""
    found = caller(access, authorization, peer)

    assert (found.status if isinstance(found, GatewayError) else None) == status


@pytest.mark.parametrize(
    ("access", "authorization", "peer", "who"),
    [
        (BOTH, [b"Bearer s3cret"], REMOTE, "admin token"),
        (BOTH, [b"Bearer good"], REMOTE, "subject 'ops'"),
        (BOTH, [b"Bearer sly"], REMOTE, "subject 'admin token'"),
        (BOTH, [b"Bearer nobody"], REMOTE, "a token without a subject"),
        (TOKEN_OR_LOOPBACK, [], LOCAL, "loopback"),
        (TOKEN_OR_LOOPBACK, [b"Bearer s3cret"], LOCAL, "loopback"),
    ],
)
def test_who_was_let_in_has_a_name(access, authorization, peer, who):
    """For the audit log; no subject can take the name of another door."""
    assert caller(access, authorization, peer) == who


def test_a_401_says_what_to_send():
    """With the challenge that the contract names."""
    error = caller(TOKEN, [], REMOTE)

    assert error.headers == b'WWW-Authenticate: Bearer error="invalid_token"\r\n'
    assert "Bearer" in error.detail


def test_a_closed_door_says_how_to_open_it():
    """An operator who sees 403 finds the key in the answer."""
    assert "admin.token" in caller(CLOSED, [], REMOTE).detail


def test_a_missing_scope_is_named():
    """RFC 6750, section 3.1: insufficient_scope."""
    error = caller(AdminAccess(scope="ops", verify=verify), [b"Bearer good"], REMOTE)

    assert error.status == 403
    assert error.headers == b'WWW-Authenticate: Bearer error="insufficient_scope", scope="ops"\r\n'


@pytest.mark.parametrize(
    ("peer", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:192.0.2.1", False),
        ("192.0.2.1", False),
        ("::", False),
        ("0.0.0.0", False),
        ("fe80::1%eth0", False),
        ("localhost", False),
        ("", False),
        (None, False),
    ],
)
def test_loopback_is_an_address_not_a_name(peer, loopback):
    """Only what the kernel says of the connection counts."""
    assert is_loopback(peer) is loopback


def test_a_bearer_token_has_no_spaces():
    """What looks like two tokens is none."""
    assert bearer(b"Bearer a b") is None
    assert bearer(b"  BEARER   abc ") == b"abc"


def test_what_is_not_known_yet_is_not_decided():
    """The keys of a token may be on their way, and whoever fetches them may be away."""
    flight, unknown = Flight(), AuthUnavailable()
    for verdict in (flight, unknown):
        assert caller(AdminAccess(verify=lambda _token, _came_at_s, verdict=verdict: verdict), [b"Bearer good"], REMOTE) is verdict
    assert caller(AdminAccess(token="good", verify=lambda _token, _came_at_s: flight), [b"Bearer good"], REMOTE) == "admin token"


HERE = "gateway.example:8080"


@pytest.mark.parametrize(
    ("headers", "who", "refused"),
    [
        ({"host": HERE}, "admin token", False),
        ({"host": HERE, "origin": f"https://{HERE}", "sec-fetch-site": "same-origin"}, "admin token", False),
        ({"host": HERE, "origin": f"http://{HERE.upper()}"}, "admin token", False),
        ({"host": HERE, "sec-fetch-site": "none"}, "admin token", False),
        ({"host": HERE, "sec-fetch-site": "same-site"}, "admin token", True),
        ({"host": HERE, "sec-fetch-site": "cross-site"}, "admin token", True),
        ({"host": HERE, "origin": "https://evil.example"}, "admin token", True),
        ({"host": HERE, "origin": "https://gateway.example"}, "admin token", True),
        ({"host": HERE, "origin": "null"}, "admin token", True),
        ({"host": HERE, "origin": ""}, "admin token", True),
        ({"host": "localhost:8080"}, BY_LOOPBACK, False),
        ({"host": "127.0.0.1:8080", "origin": "http://127.0.0.1:8080"}, BY_LOOPBACK, False),
        ({"host": "[::1]:8080"}, BY_LOOPBACK, False),
        ({"host": "rebound.example:8080", "origin": "http://rebound.example:8080", "sec-fetch-site": "same-origin"}, BY_LOOPBACK, True),
        ({}, BY_LOOPBACK, True),
        ({"host": "[", "origin": "http://["}, BY_LOOPBACK, True),
    ],
)
def test_no_page_of_another_site_changes_anything(headers, who, refused):
    """Browsers tell on it; and without a token the loopback's own names are the only ones."""
    assert from_another_site(headers, who) is refused

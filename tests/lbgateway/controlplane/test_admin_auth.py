"""Who may see admin data: a table."""

import pytest

from lbgateway.controlplane.admin_auth import AdminAccess, bearer, is_loopback, refusal, scopes

LOCAL, REMOTE = "127.0.0.1", "192.0.2.7"
TOKENS = {"good": {"sub": "ops", "scope": "read admin"}, "poor": {"sub": "ops", "scope": "read"}}


def verify(token: str):
    return TOKENS.get(token)


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
        (BOTH, [b"Bearer s3cret", b"Bearer s3cret"], REMOTE, 400),
        (LOOPBACK, [b"Bearer a", b"Bearer b"], LOCAL, 400),
    ],
)
def test_the_door_opens_for_the_right_ones_only(access, authorization, peer, status):
    """Closed unless configured; the token, a JWT with the scope, or a loopback peer opens it."""
    error = refusal(access, authorization, peer)

    assert (error and error.status) == status


def test_a_401_says_what_to_send():
    """With the challenge that the contract names."""
    error = refusal(TOKEN, [], REMOTE)

    assert error.headers == b'WWW-Authenticate: Bearer error="invalid_token"\r\n'
    assert "Bearer" in error.detail


def test_a_closed_door_says_how_to_open_it():
    """An operator who sees 403 finds the key in the answer."""
    assert "admin.token" in refusal(CLOSED, [], REMOTE).detail


def test_a_missing_scope_is_named():
    """RFC 6750, section 3.1: insufficient_scope."""
    error = refusal(AdminAccess(scope="ops", verify=verify), [b"Bearer good"], REMOTE)

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


@pytest.mark.parametrize(
    ("claims", "found"),
    [
        ({}, set()),
        ({"scope": "a b"}, {"a", "b"}),
        ({"scope": ["a", "b", 3]}, {"a", "b"}),
        ({"scp": "a"}, {"a"}),
        ({"scope": 7}, set()),
        ({"scope": "administrator"}, {"administrator"}),
    ],
)
def test_scopes_are_whole_words(claims, found):
    """A scope that merely contains "admin" is another scope."""
    assert scopes(claims) == found


def test_a_bearer_token_has_no_spaces():
    """What looks like two tokens is none."""
    assert bearer(b"Bearer a b") is None
    assert bearer(b"  BEARER   abc ") == b"abc"

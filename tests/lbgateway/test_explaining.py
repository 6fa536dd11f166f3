"""Who may have a request explained: a table of what is said, and where it comes from."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from lbgateway.controlplane.admin_auth import AdminAccess
from lbgateway.dataplane.head import AMBIGUOUS, EXPLAIN, RequestHead
from lbgateway.explaining import TELL_EVERY_S, MayExplain
from lbgateway.policies.wait import Flight
from tests.lbgateway.controlplane.test_admin_auth import BOTH, CLOSED, JWT, LOCAL, LOOPBACK, REMOTE, TOKEN


def head_of(*asked: bytes, authorization: bytes | None = None) -> RequestHead:
    head = RequestHead()
    head.forwarded = [(b"x-forwarded-for", b"127.0.0.1"), *((EXPLAIN, value) for value in asked)]
    head.authorization = authorization
    return head


@pytest.mark.parametrize(
    ("access", "asked", "authorization", "peer", "may"),
    [
        (TOKEN, [b"1"], b"Bearer s3cret", REMOTE, True),
        (TOKEN, [b"1"], b"Bearer wrong", REMOTE, False),
        (TOKEN, [b"1"], None, REMOTE, False),
        (TOKEN, [b"1"], AMBIGUOUS, REMOTE, False),
        (TOKEN, [b"0"], b"Bearer s3cret", REMOTE, False),
        (TOKEN, [b""], b"Bearer s3cret", REMOTE, False),
        (TOKEN, [], b"Bearer s3cret", REMOTE, False),
        (TOKEN, [b"1", b"1"], b"Bearer s3cret", REMOTE, False),
        (TOKEN, [b"Bearer s3cret"], None, REMOTE, True),
        (TOKEN, [b"bearer s3cret"], b"Bearer of-the-client", REMOTE, True),
        (TOKEN, [b"Bearer wrong"], b"Bearer s3cret", REMOTE, False),
        (TOKEN, [b"Bearer s3cret", b"Bearer s3cret"], None, REMOTE, False),
        (TOKEN, [b"s3cret"], None, REMOTE, False),
        (TOKEN, [b"1"], None, LOCAL, False),
        (JWT, [b"1"], b"Bearer good", REMOTE, True),
        (JWT, [b"1"], b"Bearer poor", REMOTE, False),
        (JWT, [b"Bearer good"], b"Bearer poor", REMOTE, True),
        (BOTH, [b"Bearer s3cret"], b"Bearer poor", REMOTE, True),
        (LOOPBACK, [b"1"], None, LOCAL, True),
        (LOOPBACK, [b"1"], b"Bearer of-the-client", LOCAL, True),
        (LOOPBACK, [b"1"], None, REMOTE, False),
        (CLOSED, [b"1"], b"Bearer s3cret", LOCAL, False),
    ],
)
def test_who_may_look_behind_a_request(access: AdminAccess, asked: list[bytes], authorization: bytes | None, peer: str, may: bool):
    """Whom /admin lets in, by the token in the field itself or by the request's own; and who asks exactly once."""
    assert MayExplain(access, secluded=False)(head_of(*asked, authorization=authorization), peer) is may


def test_where_operators_have_a_port_of_their_own_the_loopback_opens_nothing():
    """A proxy on the same machine brings the requests of strangers from there. A token is one all the same."""
    access = AdminAccess(token="s3cret", allow_loopback=True)
    assert not MayExplain(access, secluded=True)(head_of(b"1"), LOCAL)
    assert MayExplain(access, secluded=True)(head_of(b"Bearer s3cret"), LOCAL)


def test_a_request_does_not_wait_for_keys():
    """It is answered as if nobody had asked."""
    access = AdminAccess(verify=lambda _token, _came_at_s: Flight())
    assert not MayExplain(access, secluded=False)(head_of(b"Bearer good"), REMOTE)


def test_a_wrong_token_is_told_to_the_operators_but_not_without_end():
    """That of the field alone: what a client shows to a service is not meant for us."""
    now_s = [0.0]
    may_explain = MayExplain(TOKEN, secluded=False, clock=lambda: now_s[0])
    with capture_logs() as events:
        may_explain(head_of(b"1", authorization=b"Bearer of-the-client"), REMOTE)
        for _ in range(100):
            may_explain(head_of(b"Bearer wrong"), REMOTE)
        now_s[0] = TELL_EVERY_S
        may_explain(head_of(b"Bearer wrong"), REMOTE)
    assert [(event["event"], event["peer"]) for event in events] == [("admin access refused", REMOTE)] * 2
    assert "wrong" not in str(events)

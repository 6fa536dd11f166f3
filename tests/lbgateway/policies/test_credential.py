"""Which credential a request shows: one, none, or too many."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from lbgateway.dataplane import head
from lbgateway.policies import credential
from lbgateway.policies.credential import bearer_token, credential_of, only_cookie
from lbgateway.policies.token import InvalidToken


def lines(*cookies: bytes, name: bytes = b"Cookie") -> list[bytes]:
    """Fields as the parser keeps them, among others."""
    fields = [b"", b"Accept", b": ", b"*/*", b"\r\n"]
    for value in cookies:
        fields += [name, b": ", value, b"\r\n"]
    return [*fields, b"X-More", b": ", b"tok=other", b"\r\n"]


@pytest.mark.parametrize(
    ("authorization", "fields", "found"),
    [
        (None, lines(), None),
        (b"Bearer abc", lines(), b"abc"),
        (b"bearer abc", lines(), b"abc"),
        (b"BEARER   abc", lines(), b"abc"),
        (None, lines(b"tok=abc"), b"abc"),
        (None, lines(b"tok=abc", name=b"COOKIE"), b"abc"),
        (None, lines(b"a=1; tok=abc; b=2"), b"abc"),
        (None, lines(b"a=1;tok = abc "), b"abc"),
        (None, lines(b'tok="abc"'), b"abc"),
        (None, lines(b"tok=a=b"), b"a=b"),
        (None, lines(b"tok="), b""),
        (None, lines(b"tok"), None),
        (None, lines(b"TOK=abc"), None),
        (None, lines(b"xtok=abc; tokx=1"), None),
        (b"Bearer abc", lines(b"other=1"), b"abc"),
        # what is no credential of ours
        (b"Basic YTpi", lines(), "scheme"),
        (b"abc", lines(), "scheme"),
        (b"Bearer", lines(), "scheme"),
        (b"Bearer ", lines(), "scheme"),
        (b"Bearer a b", lines(), "scheme"),
        (b"Bearer a, Bearer b", lines(), "scheme"),
        (b"Bearer\tabc", lines(), "scheme"),
        (b"Bearerabc", lines(), "scheme"),
        (b"Bearer \xff", lines(), "scheme"),
        (b"Token abc", lines(), "scheme"),
        # more than one, whatever they are
        (b"\x00", lines(), "ambiguous"),
        (b"Bearer abc", lines(b"tok=abc"), "ambiguous"),
        (b"Basic YTpi", lines(b"tok=abc"), "ambiguous"),
        (b"Bearer abc", lines(b"tok="), "ambiguous"),
        (None, lines(b"tok=a; tok=b"), "ambiguous"),
        (None, lines(b"tok=a", b"tok=a"), "ambiguous"),
        (None, lines(b"tok=a; tok="), "ambiguous"),
    ],
)
def test_a_request_shows_one_credential(authorization, fields, found):
    """The same for the header and the cookie; a refusal is named by its reason."""
    try:
        answer = credential_of(authorization, fields, b"tok")
    except InvalidToken as refused:
        answer = refused.reason
    assert answer == found


def test_without_the_name_of_a_cookie_nobody_looks_at_cookies():
    """They belong to the services then."""
    assert credential_of(b"Bearer abc", lines(b"tok=a; tok=b"), None) == b"abc"
    assert credential_of(None, lines(b"tok=a"), None) is None


def test_two_fields_have_the_mark_of_the_parser():
    """Two modules name the same value, and neither may import the other."""
    assert credential.AMBIGUOUS == head.AMBIGUOUS
    with pytest.raises(InvalidToken, match="ambiguous"):
        bearer_token(head.AMBIGUOUS)


@hypothesis.given(st.binary(max_size=40), st.lists(st.binary(max_size=20), max_size=3))
def test_whatever_comes_is_one_of_three_things(authorization, cookies):
    """A token, nothing, or a refusal with a reason."""
    reason, found = None, None
    try:
        found = credential_of(authorization or None, lines(*cookies), b"tok")
    except InvalidToken as refused:
        reason = refused.reason
    assert reason in (None, "scheme", "ambiguous")
    assert found is None or isinstance(found, bytes)


def test_a_cookie_that_is_not_there_is_none():
    """Nor is one without a value nothing: who decides on it shall see it."""
    assert only_cookie(lines(b"a=1"), b"sid") is None
    assert only_cookie(lines(b"sid=; a=1"), b"sid") == b""

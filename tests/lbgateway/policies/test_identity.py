"""What is known of who is asking, and how services are told: tables."""

from __future__ import annotations

import pytest

from lbgateway.policies.identity import Identity, agree, claim_lines, scopes_of

HEADERS = {"sub": "X-User-Id", "scope": "X-User-Scope"}


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({}, set()),
        ({"scope": "a b  c"}, {"a", "b", "c"}),
        ({"scope": ["a", "b c", 7]}, {"a", "b c"}),
        ({"scp": ["a"]}, {"a"}),
        ({"scp": "a b", "scope": "c"}, {"a", "b", "c"}),
        ({"scope": {"a": 1}}, set()),
        ({"scope": None}, set()),
        ({"scopes": "a"}, set()),
    ],
)
def test_scopes_are_a_text_or_a_list(claims, scopes):
    """In `scope`, in `scp`, or in both."""
    assert scopes_of(claims) == scopes


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a b", "a b"),
        (["a", "b"], "a b"),
        (["a", 7], "a 7"),
        (7, "7"),
        (1.5, "1.5"),
        (True, "true"),
        (False, "false"),
        ("Zoë", "Zoë"),
        # what is no single clean value
        (None, ""),
        ("", ""),
        ([], ""),
        ({"a": 1}, ""),
        ([["a"]], ""),
        (["a", {"b": 1}], ""),
        (["a b", "c"], ""),
        (["a\nb"], ""),
        ("a\r\nX-Admin: 1", ""),
        ("a\x00", ""),
        (" a", ""),
        ("a\u00a0", ""),
        ("\u202ea", ""),
    ],
)
def test_claims_become_clean_header_lines_or_none(value, text):
    """No claim begins a line of its own, and no two different claims arrive as the same."""
    lines = claim_lines({"sub": "ann", "scope": value}, HEADERS)
    assert lines.decode() == "X-User-Id: ann\r\n" + (f"X-User-Scope: {text}\r\n" if text else "")


def test_an_identity_shows_who_and_what():
    """Never the token."""
    identity = Identity({"sub": "ann", "scope": "b a"}, b"X-User-Id: ann\r\n", 1.0)
    assert (identity.subject, repr(identity)) == ("ann", "<Identity 'ann' a b>")
    assert Identity({}, b"", 1.0).subject is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"sub": "ann"}, {"sub": "ann"}, True),
        ({"sub": "ann"}, {"sub": "bob"}, False),
        ({"sub": "ann"}, {}, True),
        ({}, {"sub": "ann"}, True),
    ],
)
def test_two_credentials_of_one_request_belong_to_one_subject(one, other, same):
    """Where either says nothing of it, nothing contradicts it."""
    assert agree(Identity(one, b"", 0.0), Identity(other, b"", 0.0)) is same

"""Which of the careful fields an answer gets."""

from __future__ import annotations

import pytest

from lbgateway.policies.security_headers import DEFAULTS, SecurityHeaders


def names(lines: bytes) -> list[str]:
    return [line.partition(": ")[0] for line in lines.decode().split("\r\n")[:-1]]


def test_the_defaults_are_the_contracts():
    """nosniff, frame options, referrer policy; HSTS over TLS."""
    assert names(SecurityHeaders({}).all(secure=True)) == list(DEFAULTS)
    assert names(SecurityHeaders({}).all(secure=False)) == ["X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy"]


def test_a_map_replaces_adds_and_takes_away_in_any_case():
    """The operator's spelling stands on the wire."""
    chosen = SecurityHeaders({"x-frame-options": "DENY", "Referrer-Policy": None, "Permissions-Policy": "camera=()"})

    assert chosen.all(secure=False) == b"X-Content-Type-Options: nosniff\r\nx-frame-options: DENY\r\nPermissions-Policy: camera=()\r\n"


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize("theirs", [b"X-Frame-Options", b"x-frame-options", b"X-FRAME-OPTIONS"])
def test_what_an_answer_says_itself_stays(theirs, secure):
    """However it spells the name; the others are added."""
    added = names(SecurityHeaders({}).missing([b"Content-Type", theirs], secure=secure))

    assert added == [name for name in names(SecurityHeaders({}).all(secure=secure)) if name != "X-Frame-Options"]


def test_what_a_route_sets_stays_too():
    """Its edits are one block of lines: their names come beside it."""
    assert names(SecurityHeaders({}).missing([b"Server"], frozenset((b"referrer-policy",)), secure=False)) == [
        "X-Content-Type-Options",
        "X-Frame-Options",
    ]


def test_an_answer_without_any_gets_them_all():
    """The usual case."""
    careful = SecurityHeaders({})

    assert careful.missing([b"Server"], secure=True) == careful.all(secure=True)

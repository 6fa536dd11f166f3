"""The one credential of a request: from ``Authorization``, or from a cookie. Pure.

More than one is refused, whatever they are: the gateway might believe the one, and a service behind act on the other.
"""

from __future__ import annotations

import re

from lbgateway.policies.token import InvalidToken

AMBIGUOUS = b"\x00"
"""What `head.AMBIGUOUS` puts in place of two Authorization fields."""

_bearer = re.compile(rb"bearer +([!-~]+)", re.IGNORECASE).fullmatch


def bearer_token(authorization: bytes) -> bytes:
    """The token of ``Bearer <token>``; the scheme's case does not matter (RFC 9110, section 11.1). Raises `InvalidToken`."""
    found = _bearer(authorization)
    if found is None:
        raise InvalidToken("ambiguous" if authorization == AMBIGUOUS else "scheme")
    return found[1]


def credential_of(authorization: bytes | None, lines: list[bytes], cookie: bytes | None) -> bytes | None:
    """The token that a request shows, or None. `cookie`: the name of the cookie that may hold it.

    `lines` are the header fields, flattened from slot 1 on. Raises `InvalidToken`.
    """
    given = only_cookie(lines, cookie) if cookie is not None else None
    if authorization is None:
        return given
    if given is not None:
        raise InvalidToken("ambiguous")
    return bearer_token(authorization)


def only_cookie(lines: list[bytes], name: bytes) -> bytes | None:
    """The value of one cookie, without quotes around it, from all ``Cookie`` fields (RFC 6265, section 4.2); None if it is not there.

    Raises `InvalidToken` if it comes more than once.
    """
    found: bytes | None = None
    for index in range(1, len(lines) - 3, 4):
        if len(lines[index]) == 6 and lines[index].lower() == b"cookie":
            for pair in lines[index + 2].split(b";"):
                key, mark, value = pair.partition(b"=")
                if mark and key.strip() == name:
                    if found is not None:
                        raise InvalidToken("ambiguous")
                    found = value.strip().removeprefix(b'"').removesuffix(b'"')
    return found

"""How much time a request has left, as a header field says it: remaining milliseconds in, remaining out. Pure.

Milliseconds that remain need no common clock. What went on the wire is lost each time, which is little; what
counts is that nobody works on for somebody who has given up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_MS = 10**9
"""Whoever asks for more has no deadline."""


def remaining_s(given: Iterable[tuple[bytes, bytes]] | None, name: bytes) -> float | None:
    """Seconds that the field `name` (lower case) leaves, the least if it came more than once; None if there is none.

    `given`: what a trusted proxy sent, as (lower-case name, value). What is no whole number says nothing; nothing
    below zero can be left.
    """
    values = [value for field, value in given or () if field == name]
    left = [0.0 if value.startswith(b"-") else min(int(value), LONGEST_MS) / 1000 for value in values if _is_number(value)]
    return min(left, default=None)


def _is_number(value: bytes) -> bool:
    digits = value.removeprefix(b"-")
    return digits.isdigit() and len(digits) <= 18


def with_deadline(request: bytes, name: bytes, left_s: float) -> bytes:
    """A complete request head with one field more."""
    return b"%b%b: %d\r\n\r\n" % (request[:-2], name, max(0, int(left_s * 1000)))

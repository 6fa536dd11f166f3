"""What others say of a credential, a store of sessions or a service that knows: read into one of three kinds. Pure.

No answer, or one that makes no sense, is none of them: then nothing is known, and nobody is turned away for it.
"""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

MAX_BYTES = 64 * 1024
"""Of an answer, or of a stored session."""
MAX_TEXT, MAX_ITEMS = 4096, 100
"""Claims beyond that are left out: thousands of answers are kept in memory."""
REFUSED = frozenset((400, 401, 403, 422))
"""Statuses by which a service says no: to what a client has sent, so they say nothing about the service itself."""


class Holds(NamedTuple):
    """It is good, and these are its claims, for at most so many seconds; infinite if nothing was said of an end."""

    claims: dict[str, Any]
    for_s: float


class Fails(NamedTuple):
    """It is not; `reason` is one of few words, fit for a metric's label."""

    reason: str


class Silence(NamedTuple):
    """Nobody knows at the moment; `cause` is for operators."""

    cause: str


Testimony = Holds | Fails | Silence


def of_stored(value: bytes, for_s: float, now_s: float) -> Holds | Fails:
    """What a store holds under a session's name, and for how long it will yet (infinite: without end). Empty if nothing is there.

    What is no JSON object has no claims, but it is there. `now_s`: Unix seconds.
    """
    if not value or len(value) > MAX_BYTES:
        return Fails("session")
    return _judged(_object(value), for_s, "session", now_s)


def of_answer(status: int, body: bytes, no: str, now_s: float) -> Testimony:
    """What a service says: in the words of RFC 7662 (``active``), or by 200 and 401 alone. `no`: the reason of a refusal."""
    if status in REFUSED:
        return Fails(no)
    if status not in (200, 204):
        return Silence(f"the answer has the status {status}")
    if len(body) > MAX_BYTES:
        return Silence(f"the answer is larger than {MAX_BYTES // 1024} KiB")
    return _judged(_object(body), math.inf, no, now_s)


def _judged(claims: dict[str, Any], for_s: float, no: str, now_s: float) -> Holds | Fails:
    if claims.get("active", True) is not True:
        return Fails(no)
    until_s, subject = claims.get("exp"), claims.get("sub")
    if isinstance(subject, int) and not isinstance(subject, bool):
        claims["sub"] = subject = str(subject)
    if not (until_s is None or _is_moment(until_s)) or not (subject is None or isinstance(subject, str)):
        return Fails("claims")
    if until_s is not None:
        for_s = min(for_s, until_s - now_s)
    if for_s <= 0:
        return Fails("expired")
    return Holds({name: value for name, value in claims.items() if _is_small(value)}, for_s)


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_moment(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15


def _is_small(value: object) -> bool:
    if isinstance(value, list):
        return len(value) <= MAX_ITEMS and all(_is_small(item) and not isinstance(item, list) for item in value)
    return isinstance(value, int | float) or (isinstance(value, str) and len(value) <= MAX_TEXT)

"""Whether a failed attempt may be followed by another one. Pure; every fact has a name.

The rule in prose. Once a byte of the response has gone to the client there is no way back. A request
that never reached an upstream (no connection was had) may always go elsewhere, whatever its method. A
kept-alive connection that the upstream closed before the first byte of a response tells nothing about
the upstream: the request is *replayed* on a new connection without spending an attempt, if running it
twice does no harm (RFC 9110, 9.2.2). Any other failure costs an attempt and a token of the retry
budget, under the same condition; an ``Idempotency-Key`` is the client's word that it holds. A 500 says
that the upstream did something and stopped in its middle: what changes anything is not sent again.
Nothing is sent again whose body we no longer have, or whose time is up.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
"""Methods that change nothing (RFC 9110, 9.2.1)."""

IDEMPOTENT = SAFE | {b"PUT", b"DELETE"}
"""The contract's `retry.methods: idempotent`."""

REASONS = {
    "connect_failed": "connect",
    "connect_timeout": "connect",
    "overloaded": "connect",
    "upstream_closed": "reset",
    "response_timeout": "timeout",
    "upstream_malformed": "malformed",
}
"""Error slug -> the word for it in `retry.on`, which is also the metric's `reason`."""

STATUSES = {500: "500", 502: "502", 503: "503", 504: "504"}
"""Statuses of an upstream that another instance might not give -> their words in `retry.on`."""


class Verdict(enum.Enum):
    """What to do after a failed attempt."""

    GIVE_UP = "give up"
    RETRY = "retry"
    """Another attempt, on another endpoint if there is one."""
    REPLAY = "replay"
    """The same request on a new connection: the failure was the old connection's."""


class Facts(NamedTuple):
    """What is known after a failed attempt; the defaults are those of a GET with everything in its favour."""

    reason: str
    """A word of `retry.on`."""
    retry_on: frozenset[str]
    attempts_left: int
    """Tries that the configuration still allows."""
    nothing_sent: bool = False
    """The upstream cannot have seen any of the request."""
    response_started: bool = False
    safe: bool = True
    """The method changes nothing."""
    repeatable: bool = True
    """Running the request twice does no harm: its method is idempotent, or it has an ``Idempotency-Key``."""
    body_replayable: bool = True
    stale_connection: bool = False
    """The connection had served before, was not yet replaced in this exchange, and brought not one byte."""
    time_left: bool = True
    """The time for all attempts together is not over."""
    budget_left: bool = True
    """The retry budget has a token."""


def may_retry(facts: Facts) -> Verdict:
    """Decide on one failure."""
    if facts.response_started or not facts.body_replayable or not facts.time_left:
        return Verdict.GIVE_UP
    if facts.stale_connection and facts.repeatable:
        return Verdict.REPLAY
    if facts.attempts_left <= 0 or not facts.budget_left or facts.reason not in facts.retry_on:
        return Verdict.GIVE_UP
    if facts.nothing_sent:
        return Verdict.RETRY
    if not facts.repeatable or (facts.reason == "500" and not facts.safe):
        return Verdict.GIVE_UP
    return Verdict.RETRY


def backoff_s(base_s: float, retry: int, reason: str, draw: float) -> float:
    """How long to wait before try number `retry` after the first (1, 2, …), in seconds.

    Full jitter: `draw` (0..1) times the base, doubled for each further try; so many clients of one failing
    instance do not come back in step. Nothing to wait for where nobody answered the door: another instance
    is asked at once. Source: Envoy's retry back-off.
    """
    return 0.0 if reason == "connect" else draw * base_s * 2 ** (retry - 1)

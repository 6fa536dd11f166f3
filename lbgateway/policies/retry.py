"""Whether a failed attempt may be followed by another one. Pure; every fact has a name.

The rule in prose. Once a byte of the response has gone to the client there is no way back. A request
that never reached an upstream (no connection was had) may always go elsewhere, whatever its method. A
kept-alive connection that the upstream closed before the first byte of a response tells nothing about
the upstream: the request is *replayed* on a new connection without spending an attempt, if running it
twice does no harm (RFC 9110, 9.2.2). Any other failure costs an attempt, under the same condition.
Nothing is sent again whose body we no longer have.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lbgateway.errors import GatewayError

IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))
"""The contract's `retry.methods: idempotent`."""

REASONS = {"connect_failed": "connect", "connect_timeout": "connect", "upstream_closed": "reset"}
"""Error slug -> the word for it in `retry.on`, which is also the metric's `reason`."""


class Verdict(enum.Enum):
    """What to do after a failed attempt."""

    GIVE_UP = "give up"
    RETRY = "retry"
    """Another attempt, on another endpoint if there is one."""
    REPLAY = "replay"
    """The same request on a new connection: the failure was the old connection's."""


def may_retry(
    error: GatewayError,
    *,
    response_started: bool,
    idempotent: bool,
    body_replayable: bool,
    stale_connection: bool,
    attempts_left: int,
    retry_on: frozenset[str],
) -> Verdict:
    """Decide on one failure.

    `stale_connection`: the connection had served before, was not yet replaced in this exchange, and
    brought not one byte. `attempts_left`: tries that the configuration still allows.
    """
    if response_started or not body_replayable:
        return Verdict.GIVE_UP
    if stale_connection and idempotent:
        return Verdict.REPLAY
    if attempts_left <= 0 or REASONS.get(error.slug) not in retry_on:
        return Verdict.GIVE_UP
    if error.retry_safe or idempotent:
        return Verdict.RETRY
    return Verdict.GIVE_UP

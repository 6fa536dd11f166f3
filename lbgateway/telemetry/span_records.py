"""What is noted of an exchange whose trace is recorded, in the terms of the gateway; `spans` makes OpenTelemetry's of it.

Moments are seconds of the monotonic clock.
"""

from __future__ import annotations

from typing import NamedTuple


class PickRecord(NamedTuple):
    """One choice of an instance, from the question to the answer: long only where it had to wait for room."""

    span_id: bytes
    began_s: float
    ended_s: float
    balancer: str
    ready: int
    """Among so many."""
    panic: bool
    endpoint: str | None
    """None if none was found."""


class AttemptRecord:
    """One try on one instance. Filled in while it runs."""

    __slots__ = ("address", "began_s", "ended_s", "endpoint", "outcome", "port", "slug", "span_id", "status")

    def __init__(self, span_id: bytes, began_s: float, endpoint: str, address: str, port: int) -> None:
        self.span_id = span_id
        self.began_s = began_s
        self.endpoint = endpoint
        self.address = address
        self.port = port
        # as it goes
        self.status = 0
        """Of the answer's head, if one came."""
        self.ended_s = began_s
        self.outcome = ""
        self.slug: str | None = None
        """What it failed with, where that was no answer of the instance's."""


class TraceRecord(NamedTuple):
    """One finished exchange with its picks and attempts, in the order in which they ended."""

    trace_id: bytes
    span_id: bytes
    parent_id: bytes | None
    flags: int
    state: bytes
    began_s: float
    ended_s: float
    request_id: bytes
    client: str
    method: str
    known_method: bool
    """Whether it is one that HTTP defines: others are not the gateway's to make names of."""
    scheme: str
    host: bytes
    target: bytes
    user_agent: bytes
    route: str | None
    service: str | None
    status: int
    slug: str | None
    picks: tuple[PickRecord, ...]
    attempts: tuple[AttemptRecord, ...]

"""The arithmetic of a limit: the generic cell rate algorithm (ITU-T I.371, annex A). Pure.

One number is all that is kept of a client: the moment at which it will have its whole burst again. Each request moves it
on by ``emission_s``; a request that would move it further than ``tolerance_s`` ahead of now comes too early, and moves
nothing. So requests are spread evenly, nobody gets two bursts at the border of a window, and a moment that has passed
says as much as none: it can be forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

EXACT_S = 1e-9
"""What adding up hundreds of floating-point durations may be wrong by."""


@dataclass(frozen=True, slots=True)
class Limit:
    """``requests`` per ``per_s`` seconds, ``burst`` of them at once; all more than 0.

    ``key`` says who is counted (`limit_key`). ``scope`` tells limits apart that are otherwise alike: a route's own has
    the route's name, that of the whole gateway has none.
    """

    requests: int
    per_s: float
    burst: int
    key: str = "client"
    scope: str = ""

    @property
    def emission_s(self) -> float:
        """How long it takes until one more request is allowed."""
        return self.per_s / self.requests

    @property
    def tolerance_s(self) -> float:
        """How far ahead of now a client may get: its burst."""
        return self.burst * self.emission_s + EXACT_S

    @property
    def name(self) -> str:
        """As the answers' ``RateLimit`` fields call it."""
        return "route" if self.scope else "default"

    def head(self) -> bytes:
        """The part of the ``RateLimit`` fields that is always the same; behind it come ``%d;t=%d`` and CRLF.

        Structured fields as in draft-ietf-httpapi-ratelimit-headers-10: the quota and its window in whole seconds, then what
        remains and in how many seconds all of it is there again. A burst of another size is a parameter of our own.
        """
        window_s = ceil(self.per_s)
        quota = int(self.requests * window_s / self.per_s)
        burst = f";lbgateway-burst={self.burst}" if self.burst != self.requests else ""
        return f'RateLimit-Policy: "{self.name}";q={quota};w={window_s}{burst}\r\nRateLimit: "{self.name}";r='.encode()

"""How many attempts after the first a service can bear: a share of its requests, and a few a second in any case.

A number of attempts per request bounds nothing when all requests fail: three tries each are three times
the load, on a service that fails because of load. So tries are paid for: each finished request deposits
`ratio` of a token, each second `min_per_second` of them, each retry withdraws one; and what was deposited
fades, so that a quiet hour does not pay for a storm. A failed connect has loaded nobody: the try after it takes
a token if there is one, and is not refused if there is none. Source: Finagle's ``RetryBudget`` (20 % of the
requests and 10 a second, remembered for 10 s), with an exponential memory instead of a window.
"""

from __future__ import annotations

from math import expm1

MEMORY_S = 10.0

INSTANT_S = 1e-6
"""A rate over less than this is no number to trust."""


class RetryBudget:
    """A bucket of tokens. Deposits are worked out when they are asked for, so that a request costs nothing."""

    __slots__ = ("_at_s", "_requests", "min_per_second", "ratio", "tokens")

    def __init__(self, ratio: float, min_per_second: float, *, now_s: float) -> None:
        """`ratio`: tokens per request (0..1), of which there have been none so far."""
        self.ratio = ratio
        self.min_per_second = min_per_second
        self.tokens = min_per_second * MEMORY_S
        self._requests = 0
        self._at_s = now_s

    def __repr__(self) -> str:
        return f"<RetryBudget {self.tokens:.1f} tokens, {self.ratio:g} per request and {self.min_per_second:g} per second>"

    def deposit(self, requests: int, now_s: float) -> None:
        """Take over that the service has had `requests` so far; they are taken to have come evenly."""
        passed_s = now_s - self._at_s
        if passed_s < INSTANT_S:
            self.tokens += self.ratio * (requests - self._requests)
        else:
            forgotten = -expm1(-passed_s / MEMORY_S)
            per_second = self.ratio * (requests - self._requests) / passed_s + self.min_per_second
            self.tokens += forgotten * (per_second * MEMORY_S - self.tokens)
        self._requests, self._at_s = requests, max(now_s, self._at_s)

    @property
    def exists(self) -> bool:
        """Whether any retry is wanted at all: what loaded nobody, like a failed connect, then goes on without a token, too."""
        return self.ratio > 0 or self.min_per_second > 0

    def available(self, requests: int, now_s: float) -> bool:
        """Whether there is a token for one more try."""
        self.deposit(requests, now_s)
        return self.tokens >= 1.0

    def withdraw(self) -> None:
        """Pay for one try, as far as there is something to pay with."""
        self.tokens = max(0.0, self.tokens - 1.0)

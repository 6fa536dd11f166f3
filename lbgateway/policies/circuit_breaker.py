"""A service that mostly fails gets a pause, and its clients an answer at once.

Closed, it lets everything pass and looks at the exchanges of the last `window_s` seconds, retries
included: 5xx and the gateway's own errors are failures. Too large a share of enough of them opens it: for
`open_for_s` nothing passes. Then it is half open: `half_open_requests` exchanges may try. If all of them
succeed it closes, the first that fails opens it again. Source: Nygard, "Release It!".
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lbgateway.policies.failure_window import FailureWindow

if TYPE_CHECKING:
    from collections.abc import Callable


class BreakerState(enum.StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


CLOSED, OPEN, HALF_OPEN = BreakerState

TRANSITIONS = {CLOSED: {OPEN}, OPEN: {HALF_OPEN, CLOSED}, HALF_OPEN: {CLOSED, OPEN}}
"""What may follow. An open breaker closes at once only when it is switched off."""


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """The contract's ``breaker``; `failure_ratio` 0..1, times in seconds."""

    failure_ratio: float = 0.5
    min_requests: int = 20
    window_s: float = 10.0
    open_for_s: float = 5.0
    half_open_requests: int = 3


class CircuitBreaker:
    """One service's breaker. `requests` and `failures`, wherever asked for, are the service's totals so far."""

    def __init__(self, on_move: Callable[[BreakerState], None] = lambda _state: None) -> None:
        self.state = CLOSED
        self.rules: BreakerRules | None = None
        self.moved_at_s, self.why = 0.0, ""
        self.window = FailureWindow()
        self._on_move = on_move
        self._admitted = self._succeeded = 0

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self.state.value}>"

    def configure(self, rules: BreakerRules | None, now_s: float) -> None:
        """Other rules from now on, in the same state; None closes it for good."""
        self.rules = rules
        if rules is not None:
            self.window.window_s = rules.window_s
        elif self.state is not CLOSED:
            self.move(CLOSED, now_s, "switched off")

    def admit(self, now_s: float) -> float:
        """0.0 if an exchange may pass; else the seconds after which it is worth while to come again. Not asked while closed."""
        rules = self.rules
        if rules is None or self.state is CLOSED:
            return 0.0
        if self.state is OPEN and not self._half_open(now_s, rules):
            return self.moved_at_s + rules.open_for_s - now_s
        if self._admitted >= rules.half_open_requests:
            return 1.0
        self._admitted += 1
        return 0.0

    def record(self, *, failed: bool, abandoned: bool, sent_at_s: float, now_s: float) -> None:
        """The end of an exchange that was admitted while half open; who was sent before tells nothing about now."""
        if self.state is not HALF_OPEN or sent_at_s < self.moved_at_s or self.rules is None:
            return
        if failed:
            self.move(OPEN, now_s, "a trial failed")
        elif abandoned:
            self._admitted = max(0, self._admitted - 1)
        else:
            self._succeeded += 1
            if self._succeeded >= self.rules.half_open_requests:
                self.move(CLOSED, now_s, "its trials succeeded")

    def check(self, requests: int, failures: int, now_s: float) -> None:
        """An exchange has failed: are there too many by now?"""
        rules = self.rules
        if rules is not None and self.state is CLOSED:
            seen, failed = self.window.content(requests, failures)
            if seen >= rules.min_requests and failed >= rules.failure_ratio * seen:
                self.move(OPEN, now_s, f"{failed} of {seen} requests failed within {rules.window_s:g} s")

    def sweep(self, requests: int, failures: int, now_s: float) -> None:
        """Let the window move on, and the pause end; to be called several times a second."""
        rules = self.rules
        if rules is not None:
            self.window.mark(requests, failures, now_s)
            if self.state is OPEN:
                self._half_open(now_s, rules)
            elif self.state is HALF_OPEN and now_s - self.moved_at_s >= rules.open_for_s:
                self._admitted = min(self._admitted, self._succeeded)  # who is still away must not keep it half open for ever

    def _half_open(self, now_s: float, rules: BreakerRules) -> bool:
        if over := now_s >= self.moved_at_s + rules.open_for_s:
            self.move(HALF_OPEN, now_s, f"its pause of {rules.open_for_s:g} s is over")
        return over

    def move(self, state: BreakerState, now_s: float, why: str) -> None:
        assert state in TRANSITIONS[self.state]
        self.state, self.moved_at_s, self.why = state, now_s, why
        self._admitted = self._succeeded = 0
        if state is CLOSED:
            self.window.clear()
        self._on_move(state)

"""For how long a read may block where something between us and the registry cuts it earlier. Pure.

A load balancer or proxy in front of Consul ends a connection that was silent for its own timeout, often
30 s, and a long poll is silent by nature. Each cut would be an outage: stale, back off, read again. Two
cuts of the same length are no coincidence, so from then on reads ask for four fifths of it.
"""

from __future__ import annotations

from typing import Final

SHARE: Final = 0.8
ALIKE: Final = 0.1
"""Two cuts whose lengths differ by less than this share have the same cause."""
SHORTEST_CUT_S: Final = 1.0
"""What is cut sooner is no long poll that bored somebody, but a registry in trouble."""


class LongestWait:
    """`seconds`: as configured at first."""

    __slots__ = ("_cut_after_s", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._cut_after_s = 0.0

    def cut(self, after_s: float) -> None:
        """A blocking read ended without an answer, `after_s` after it began."""
        before_s, self._cut_after_s = self._cut_after_s, after_s
        if SHORTEST_CUT_S <= after_s < self.seconds and abs(after_s - before_s) <= ALIKE * before_s:
            self.seconds = SHARE * min(before_s, after_s)

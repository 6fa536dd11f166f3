"""How much of the recent past went wrong: a window over two counters that others count anyway.

Marks of both counters, taken by the sweep; the difference to the oldest mark is the window's content. So an
exchange pays nothing for being in the window.
"""

from __future__ import annotations

from collections import deque

PARTS = 10
"""The window's end is as coarse as this part of it."""


class FailureWindow:
    """The last `window_s` seconds of a service; `requests` and `failures` are its totals so far."""

    __slots__ = ("_marks", "window_s")

    def __init__(self) -> None:
        self.window_s = 10.0
        self._marks: deque[tuple[float, int, int]] = deque([(0.0, 0, 0)])

    def clear(self) -> None:
        """What was does not count any more; what comes counts from the next `mark` on."""
        self._marks.clear()

    def mark(self, requests: int, failures: int, now_s: float) -> None:
        """Let time pass; to be called several times in each part of the window."""
        marks = self._marks
        if not marks or now_s - marks[-1][0] >= self.window_s / PARTS:
            marks.append((now_s, requests, failures))
            while len(marks) > 1 and marks[1][0] <= now_s - self.window_s:
                marks.popleft()

    def content(self, requests: int, failures: int) -> tuple[int, int]:
        """Requests and failures within the window."""
        if not self._marks:
            return 0, 0
        _, requests_before, failures_before = self._marks[0]
        return requests - requests_before, failures - failures_before

    def ratio(self, requests: int, failures: int) -> float:
        """Share of the window's requests that failed, 0..1; 0.0 without any."""
        seen, failed = self.content(requests, failures)
        return failed / seen if seen else 0.0

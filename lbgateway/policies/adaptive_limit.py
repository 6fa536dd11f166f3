"""How many requests an instance may have at once, found out from its own latency (``limits.adaptive``). Pure.

Up to what an instance can work on at once its latency does not depend on how much it has; beyond, it queues. So the limit follows the
ratio of what requests take when there are few of them (the baseline) to what they take now::

    gradient = TOLERANCE * baseline / mean of the window, at least 1/2 and at most 1
    limit    = limit + SMOOTHING * (gradient * limit + sqrt(limit) - limit)

The root is the queue that an instance may have: without one nothing would be learnt of room that has come. It does not grow while not
even half of it is used, and a window with a timeout takes a tenth off. With c workers and enough to do it comes to rest at about
``1.5 c + sqrt(1.5 c)``.

The baseline is what requests take while there are no more than `MEASURE_AT`. Where that does not come by itself it is brought about once
a minute, or a lasting overload would become the baseline: one instance at a time, and only if there are others to take the rest.

Sources: gradient, root and measuring from Envoy's adaptive concurrency filter; tolerance, smoothing and "no growth below half" from
Netflix's ``Gradient2Limit``, the tenth from its ``AIMDLimit``. Least is 2, not their 3 and 20: one instance may have two workers.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST, FIRST = 2.0, 20.0
"""The lowest limit, and the one at the beginning."""

TOLERANCE, SMOOTHING, BACK_OFF = 1.5, 0.2, 0.9
WINDOW_REQUESTS = 20
"""A window ends with so many answers: a mean of fewer is chance."""

MEASURE_AT, MEASURE_REQUESTS = 2, 50
SETTLE_MOST_S, MEASURE_MOST_S = 1.0, 5.0
"""It is given up if what was there before (streams?) is not over after so long; it ends after `MEASURE_MOST_S` more at the latest."""

FIRST_MEASURED_S, MEASURE_EVERY_S, JITTER = 5.0, 60.0, 0.15


class AdaptiveLimit:
    """Of one instance. `most`: never more than that; `random` gives 0..1. `sample` is called with each sweep, ten times a second."""

    __slots__ = (
        "_answered", "_due_s", "_ends_s", "_failed", "_peak", "_random", "_seconds", "_settled", "baseline_s", "limit", "measuring", "most",
    )  # fmt: skip

    def __init__(self, most: float, now_s: float, random: Callable[[], float]) -> None:
        self._random = random
        self.most = max(most, LEAST)
        self.limit = min(FIRST, self.most)
        self.baseline_s = 0.0
        """What a request takes when there are few; 0.0 before it is known."""
        self.measuring = self._settled = False
        self._ends_s, self._due_s = 0.0, now_s + FIRST_MEASURED_S * (1 + random())
        self._answered = self._failed = self._peak = 0
        self._seconds = 0.0

    @property
    def now(self) -> int:
        """So many requests it may have at once."""
        return MEASURE_AT if self.measuring else int(self.limit)

    def due(self, now_s: float) -> bool:
        """Whether its baseline should be measured."""
        return not self.measuring and now_s >= self._due_s

    def measure(self, now_s: float) -> None:
        """From now on it gets `MEASURE_AT` requests at once, until it is known how long they take."""
        self.measuring, self._settled, self._ends_s = True, False, now_s + SETTLE_MOST_S
        self._forget()

    def ease(self) -> None:
        """It has all that it may have, and nobody waits for an answer of it: what it has are streams, which are no load."""
        if not self.measuring:
            self.limit = min(self.limit + SMOOTHING * sqrt(self.limit), self.most)

    def sample(self, answered: int, seconds: float, failed: int, active: int, now_s: float) -> None:
        """Since the last time so many were answered and took so long together, so many ran out of time; `active` run now."""
        if self.measuring and not self._settled:
            # Those that end now were there before, and waited in a longer queue.
            if active <= MEASURE_AT:
                self._settled, self._ends_s = True, now_s + MEASURE_MOST_S
            elif now_s >= self._ends_s:
                self._end_measurement(now_s)
            return
        self._answered += answered
        self._seconds += seconds
        self._failed += failed
        self._peak = max(self._peak, active)
        if self.measuring:
            if self._answered >= MEASURE_REQUESTS or now_s >= self._ends_s:
                self._end_measurement(now_s)
        elif self._answered + self._failed >= (WINDOW_REQUESTS if self._peak > MEASURE_AT else MEASURE_REQUESTS):
            self._end_window()

    def _end_measurement(self, now_s: float) -> None:
        self.measuring = False
        if self._answered >= WINDOW_REQUESTS:
            self.baseline_s = self._seconds / self._answered
        self._due_s = now_s + MEASURE_EVERY_S * (1 - JITTER + 2 * JITTER * self._random())
        self._forget()

    def _end_window(self) -> None:
        limit, mean_s = self.limit, max(self._seconds, 1e-6) / max(1, self._answered)
        if self._failed:
            wanted = limit * BACK_OFF
        else:
            if self._peak <= MEASURE_AT or not self.baseline_s:
                self.baseline_s = mean_s
            gradient = min(1.0, max(0.5, TOLERANCE * self.baseline_s / mean_s))
            wanted = limit + SMOOTHING * (gradient * limit + sqrt(limit) - limit)
        if wanted < limit or self._peak * 2 >= limit:
            self.limit = min(max(wanted, LEAST), self.most)
        self._forget()

    def _forget(self) -> None:
        self._answered = self._failed = self._peak = 0
        self._seconds = 0.0

"""Figures of a process over time, and whether they stay where they were. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

HOUR_S = 3600.0


@dataclass(frozen=True)
class Sample:
    """At one moment: seconds since the beginning, resident bytes, descriptors, tasks and timers that are not over."""

    at_s: float
    rss_bytes: int
    files: int
    tasks: int
    timers: int


@dataclass(frozen=True)
class Course:
    """One figure over the time: the median of the first third, that of the last one, and the slope of the line of least squares."""

    first: float
    last: float
    per_hour: float

    @classmethod
    def of(cls, points: Sequence[tuple[float, float]]) -> Course:
        """`points`: seconds and the figure, in order; three at least."""
        third = len(points) // 3
        assert third, points
        first, last = (median(figure for _, figure in part) for part in (points[:third], points[-third:]))
        return cls(first, last, slope(points) * HOUR_S)

    def flat(self, within: float) -> bool:
        """Whether the last third lies no more than `within` above the first: less is no leak."""
        return self.last - self.first <= within


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line of least squares, per second; 0.0 if all is at one moment."""
    mean_s, mean = (sum(each[axis] for each in points) / len(points) for axis in (0, 1))
    spread = sum((at_s - mean_s) ** 2 for at_s, _ in points)
    return sum((at_s - mean_s) * (figure - mean) for at_s, figure in points) / spread if spread else 0.0


def grown(before: dict[str, int], after: dict[str, int], *, by: int) -> dict[str, tuple[int, int]]:
    """Classes of which there are more than `by` objects more."""
    return {name: (before.get(name, 0), count) for name, count in sorted(after.items()) if count - before.get(name, 0) > by}

"""What an instance that is ill has got of the requests, from samples of how many attempts the gateway had sent to each."""

from __future__ import annotations

from dataclasses import dataclass, field

ALONE_S = 0.5
"""An instance that gets no request for so long is left alone; its trials come later."""


@dataclass(frozen=True)
class Sample:
    """When, and how many attempts each instance (by port) had been sent by then."""

    at_s: float
    begun: dict[int, int]


@dataclass
class Trouble:
    """What became of the bad instance: see `Stage.trouble`."""

    port: int
    began_s: float = 0.0
    ended_s: float = 0.0
    back_after_s: float | None = None
    samples: list[Sample] = field(default_factory=list)

    def attempts(self) -> int:
        """How many were sent to it in the meantime."""
        return self._begun(self.ended_s) - self._begun(self.began_s)

    def share(self) -> float:
        """Of all attempts in the meantime."""
        of_all = sum(self._sample(self.ended_s).begun.values()) - sum(self._sample(self.began_s).begun.values())
        return self.attempts() / of_all if of_all else 0.0

    def least_share_of_others(self) -> float:
        """Of all attempts in the meantime, what the one that got the fewest of them has got, the bad one aside."""
        begin, end = self._sample(self.began_s).begun, self._sample(self.ended_s).begun
        of_all = sum(end.values()) - sum(begin.values())
        others = [count - begin.get(port, 0) for port, count in end.items() if port != self.port]
        return min(others, default=0) / of_all if of_all else 0.0

    def alone_after_s(self) -> float | None:
        """Seconds until it got no request for `ALONE_S`; None if that did not happen."""
        last_s, before = self.began_s, self._begun(self.began_s)
        for sample in self.samples:
            if not self.began_s <= sample.at_s <= self.ended_s:
                continue
            if sample.begun.get(self.port, 0) != before:
                last_s, before = sample.at_s, sample.begun.get(self.port, 0)
            elif sample.at_s - last_s >= ALONE_S:
                return last_s - self.began_s
        return None

    def _begun(self, at_s: float) -> int:
        return self._sample(at_s).begun.get(self.port, 0)

    def _sample(self, at_s: float) -> Sample:
        return max((each for each in self.samples if each.at_s <= at_s), key=lambda each: each.at_s, default=self.samples[0])

"""Random draws, compiled on change so that a pick is an index: by weight, and several distinct ones at once."""

from __future__ import annotations

from itertools import accumulate
from math import gcd
from typing import TYPE_CHECKING, TypeVar

from balancers.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from random import Random

E = TypeVar("E", bound=Endpoint)

DRAWS = 5
"""Distinct candidates out of a pool too large to scan. Two lose markedly more in the tail, eight gain nothing."""

_MOST_STRIDES = 1024


def compile_shares(weights: Sequence[float]) -> tuple[float, ...]:
    """Inner boundaries of [0, 1) cut in proportion to `weights`.

    ``bisect(shares, random())`` is then a draw by weight. n weights > 0 have n - 1 boundaries, so that
    no rounding can lead beyond the last one.
    """
    total = sum(weights)
    return tuple(bound / total for bound in accumulate(weights[:-1]))


def compile_strides(n: int) -> tuple[int, ...]:
    """Steps around a ring of `n` that visit `DRAWS` different places from any start. Needs n >= `DRAWS`.

    A random start and a random step are as good as independent draws for balancing, and one slice
    instead of five draws. Source: Mitzenmacher, "Balanced Allocations and Double Hashing", SPAA 2014.
    Steps beyond n / 2 are the same places walked backwards.
    """
    every = n // 2 // _MOST_STRIDES + 1
    return tuple(stride for stride in range(1, n // 2 + 1, every) if n // gcd(n, stride) >= DRAWS)


def compile_ring(ready: tuple[E, ...]) -> tuple[E, ...]:
    """`ready` repeated so often that no walk of `DRAWS` places with a step of `compile_strides` leaves it."""
    return ready * ((DRAWS - 1) // 2 + 1)


def compile_rotations(ready: tuple[E, ...]) -> tuple[tuple[E, ...], ...]:
    """`ready` as seen from each of its places; of nothing, the one empty view."""
    return tuple(ready[start:] + ready[:start] for start in range(len(ready))) or ((),)


def draw_other(ready: Sequence[E], exclude: Collection[E], random: Random) -> E | None:
    """Draw by weight among those not in `exclude`. Looks at all of them: the last resort after cheaper tries."""
    others = [endpoint for endpoint in ready if endpoint not in exclude]
    return random.choices(others, [endpoint.weight for endpoint in others])[0] if others else None

"""What is remembered of many clients, in bounded memory.

Entries lie in shards of at most `MOST`, chosen by a hash that nobody outside can foresee (Python's for bytes is seeded
anew in each process). Once in a while each shard is rid of entries that say nothing any more. One that is full before
that forgets those with the least to lose: who is nearest to being free again. So nobody is freed from a limit by others
that come once: to push out a limited client, a quarter of a shard has to owe more than it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

V = TypeVar("V")

SHARDS, MOST = 64, 4096
"""262,144 clients of one limit at most, some 50 MB of them; cleaning a full shard takes about a millisecond."""
FREED_RATIO = 0.25


class Buckets(Generic[V]):
    """`until_s` of an entry: from this moment on it says nothing. `shard` is for those who cannot afford a call."""

    __slots__ = ("_next", "_until_s", "mask", "most", "shards")

    def __init__(self, until_s: Callable[[V], float], *, shards: int = SHARDS, most: int = MOST) -> None:
        assert shards & (shards - 1) == 0  # a mask chooses
        self.shards: tuple[dict[bytes, V], ...] = tuple({} for _ in range(shards))
        self.mask = shards - 1
        self.most = most
        self._until_s = until_s
        self._next = 0

    def __len__(self) -> int:
        return sum(map(len, self.shards))

    def shard(self, key: bytes) -> dict[bytes, V]:
        """Where `key` is, if it is anywhere; whoever adds to one that has `most` entries calls `make_room` first."""
        return self.shards[hash(key) & self.mask]

    def make_room(self, shard: dict[bytes, V], now_s: float) -> None:
        """Rid a full shard of what says nothing, and if that is not enough, of who is nearest to it."""
        self._forget(shard, now_s)
        surplus = len(shard) - int(self.most * (1 - FREED_RATIO))
        if surplus > 0:
            nearest = sorted(shard, key=lambda key: self._until_s(shard[key]))
            for key in nearest[:surplus]:
                del shard[key]

    def sweep(self, now_s: float) -> None:
        """Rid the next shard of what says nothing: a small part at a time, so that no request waits for it."""
        shard = self.shards[self._next]
        self._next = (self._next + 1) % len(self.shards)
        if shard:
            self._forget(shard, now_s)

    def _forget(self, shard: dict[bytes, V], now_s: float) -> None:
        for key in [key for key, entry in shard.items() if self._until_s(entry) <= now_s]:
            del shard[key]

"""A bounded memory: of what was found out about credentials, and of whatever else clients choose the names of."""

from __future__ import annotations

from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")

DIGEST_BYTES = 32


def digest_of(credential: bytes) -> bytes:
    """What stands for a credential in memory: a digest of the whole of it, which says nothing about it."""
    return blake2b(credential, digest_size=DIGEST_BYTES).digest()


class Memory(dict[bytes, T]):
    """At most `most` entries; the oldest goes first, however often it was looked at."""

    __slots__ = ("most",)

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def remember(self, key: bytes, value: T) -> None:
        """`value` is the newest now."""
        self.pop(key, None)
        if len(self) >= self.most:
            del self[next(iter(self))]
        self[key] = value

"""An output that several processes write to: each line of theirs stays in one piece.

A pipe takes what is written at one stroke only up to `PIPE_BUF` bytes (POSIX); a file takes all of it.
"""

from __future__ import annotations

import io
import os
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

MOST_BYTES = select.PIPE_BUF


class WholeLines(io.RawIOBase):
    """Writes what it is given to `descriptor`, which stays open, in pieces of whole lines that a pipe takes at one stroke.

    A line that is longer than that may be cut by another one.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        text = bytes(data)
        for piece in pieces(text):
            rest = piece
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        return len(text)


def pieces(text: bytes, most: int = MOST_BYTES) -> Iterator[bytes]:
    """`text`, cut behind line ends into pieces of at most `most` bytes, or of one line where that is longer."""
    start = 0
    while len(text) - start > most:
        end = text.rfind(b"\n", start, start + most) + 1
        if end <= start:
            end = text.find(b"\n", start) + 1 or len(text)
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]

"""Request ids: 128 random bits each, in hexadecimal, drawn many at a time.

Drawing and writing one costs more than many a step of a request; of a batch it is a tenth. They come from the
operating system, so nobody can guess the next one from those before.
"""

from __future__ import annotations

import os
import re

BATCH = 512
DIGITS = 32

may_be_id = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}").fullmatch
"""What is taken over as a request id from a trusted proxy."""

IDS: list[bytes] = []
"""Drawn already. ``IDS.pop() if IDS else draw()`` is the next one."""

os.register_at_fork(after_in_child=IDS.clear)  # or parent and child would give out the same


def draw() -> bytes:
    """The next one; draws a batch if none is left."""
    if not IDS:
        digits = os.urandom(BATCH * DIGITS // 2).hex().encode()
        IDS.extend(digits[start : start + DIGITS] for start in range(0, len(digits), DIGITS))
    return IDS.pop()

"""Standard input, output and errors, also where whoever starts us has closed them."""

from __future__ import annotations

import os
import sys


def stand_in() -> None:
    """``/dev/null`` for those that are closed: the next thing that is opened, a client's connection, would be taken for them."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free, and this is the lowest.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 a descriptor, kept open

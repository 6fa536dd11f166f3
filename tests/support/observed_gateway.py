"""``lbgateway`` that tells on SIGUSR1 what it holds: how many objects of each class there are.

CENSUS=FILE python -m tests.support.observed_gateway run --config FILE

The whole of it in one JSON object, ``{"_asyncio.Task": 12, "uvloop.loop.TimerHandle": 30, …}``, written beside FILE and then renamed to it.
Garbage is collected before. Nothing is added to the gateway itself: a handler of Python's own runs between two of its callbacks.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

from lbgateway.cli import main

TASKS, TIMERS = "tasks", "timers"


def census() -> Counter[str]:
    """All that has come since the gateway froze what it began with, by class; beside it the tasks and timers that are not over."""
    gc.collect()
    objects = gc.get_objects()
    counts = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in objects)
    counts[TASKS] = len(asyncio.all_tasks())
    counts[TIMERS] = sum(type(each).__name__ == "TimerHandle" and not each.cancelled() for each in objects)
    return counts


def tell(*_: object) -> None:
    """The handler of the signal."""
    told = Path(os.environ["CENSUS"])
    draft = told.with_suffix(".draft")
    draft.write_text(json.dumps(census()))
    draft.rename(told)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, tell)
    sys.exit(main())

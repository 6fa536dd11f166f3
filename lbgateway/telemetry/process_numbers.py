"""What the operating system says of the gateway's processes, under the names that every dashboard knows: ``process_*``.

The numbers are prometheus_client's own, read from ``/proc``; where there is none, there are no such series. Several
processes are one gateway: their numbers are added up, and it has begun with the oldest. Memory that they share is
counted in each, as the operating system counts it. The time of those that have ended stays: it is a counter.
"""

from __future__ import annotations

import resource
from itertools import chain
from typing import TYPE_CHECKING

from prometheus_client import ProcessCollector

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from prometheus_client import Metric

OLDEST, CPU = "process_start_time_seconds", "process_cpu_seconds"


def process_families(pids: Sequence[int | str]) -> list[Metric]:
    """One family per number, over all of `pids`; a process that has just ended counts no more."""
    found: dict[str, Metric] = {}
    for family in chain.from_iterable(map(_collected, pids)):
        known = found.setdefault(family.name, family)
        if known is family:
            continue
        combine = min if family.name == OLDEST else sum
        value = combine((known.samples[0].value, family.samples[0].value))
        known.samples = [known.samples[0]._replace(value=value)]
    if len(pids) > 1 and CPU in found:
        [sample] = found[CPU].samples
        found[CPU].samples = [sample._replace(value=sample.value + _seconds_of_ended())]
    return list(found.values())


def _seconds_of_ended() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def _collected(pid: int | str) -> Iterable[Metric]:
    return ProcessCollector(pid=lambda: pid, registry=None).collect()

"""What the processes of one gateway know of each other without asking: numbers in shared memory.

Each worker has a row, and is the only one to write there; everybody reads all rows. An aligned number is written at one stroke,
so nobody ever sees half of one. What has to be read and written as one, the last places at an instance and the counters of
limits, is done under a lock of the kernel's (`fcntl`, POSIX): it takes two system calls, and who dies holding it lets go.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import time
from typing import Self

SLOTS = 65_536
"""So many instances and services have numbers here; beyond that each worker has its part of a limit."""

BUCKETS, WAYS = 1 << 15, 8
"""Of the table of limits: 262,144 clients at once."""

AT_ONCE = fcntl.LOCK_EX | fcntl.LOCK_NB
LOCK_WITHIN_S = 0.005

_ROW_BYTES = 4 * (SLOTS + 16)
_ENTRY_BYTES = 16
NOT_SERVING = -1


class Board:
    """`rows`: for each worker a number per slot. `doors`: for each worker its open connections, and how many it has accepted.

    `limits`: how many requests at once the parent lets an instance have, by slot; 0 where it does not say.

    `keys` and `moments` are the table of limits (`lbgateway.ratelimit.table`). Pages that nobody has written take no memory.
    """

    def __init__(self, descriptor: int, workers: int) -> None:
        self.descriptor = descriptor
        self.workers = workers
        rows, doors, entries = (workers + 1) * _ROW_BYTES, workers * 16, BUCKETS * WAYS
        self._map = mmap.mmap(descriptor, _size(workers))
        view = memoryview(self._map)
        self.rows = tuple(view[i * _ROW_BYTES : (i + 1) * _ROW_BYTES].cast("i") for i in range(workers))
        self.limits = view[workers * _ROW_BYTES : rows].cast("i")
        self.doors = view[rows : rows + doors].cast("q")
        table = view[rows + doors :]
        self.keys = table[: entries * 8].cast("Q")
        self.moments = table[entries * 8 : entries * _ENTRY_BYTES].cast("d")

    def __repr__(self) -> str:
        return f"<Board for {self.workers} workers>"

    @classmethod
    def create(cls, workers: int) -> Self:
        """An empty one, which belongs to nobody but those who inherit its descriptor."""
        descriptor = os.memfd_create("lbgateway")
        os.ftruncate(descriptor, _size(workers))
        board = cls(descriptor, workers)
        for worker in range(workers):
            board.wipe(worker)
        return board

    def wipe(self, worker: int) -> None:
        """Nobody is there any more, or not yet."""
        self.rows[worker].cast("B")[:] = bytes(_ROW_BYTES)
        self.doors[2 * worker : 2 * worker + 2] = _nobody()

    def lock(self, place: int) -> None:
        """Wait for the sole right to a slot, or to a bucket: `SLOTS` and more. Not to be taken twice.

        Whoever has it needs it for microseconds. But a worker may be stopped in the midst of them (SIGSTOP, a frozen container), and
        must not stop all others: after `LOCK_WITHIN_S` they go on without, which may miscount by the one request of that worker.
        """
        try:
            fcntl.lockf(self.descriptor, AT_ONCE, 1, place)
        except OSError:
            self._lock_in_time(place, time.monotonic() + LOCK_WITHIN_S)

    def _lock_in_time(self, place: int, end_s: float) -> None:
        while time.monotonic() < end_s:
            os.sched_yield()
            with contextlib.suppress(OSError):
                fcntl.lockf(self.descriptor, AT_ONCE, 1, place)
                return

    def unlock(self, place: int) -> None:
        fcntl.lockf(self.descriptor, fcntl.LOCK_UN, 1, place)


def _size(workers: int) -> int:
    return (workers + 1) * _ROW_BYTES + workers * 16 + BUCKETS * WAYS * _ENTRY_BYTES


def _nobody() -> memoryview:
    return memoryview(NOT_SERVING.to_bytes(8, "little", signed=True) + bytes(8)).cast("q")

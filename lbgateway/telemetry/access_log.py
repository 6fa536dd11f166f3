"""One line per exchange: a tuple in a bounded queue on the request path, text on a thread of its own.

A line costs 6 us to render, a fifth of a whole exchange; an append costs 0.1 us. The thread shares the
interpreter with the event loop, so it works in batches of about a third of a millisecond and naps
between them: while it renders, no request waits longer than that.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, BinaryIO

from lbgateway.telemetry.access_line import RENDERERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from lbgateway.telemetry.access_line import AccessRecord

QUEUE_SIZE = 32_768
"""Records; about a second of one worker at full speed, 25 MiB at most."""

BATCH = 50
NAP_S = 0.0005
IDLE_S = 0.2


class AccessLog:
    """Takes records from one event loop and writes lines to `stream`.

    `format` is ``json`` or ``console``. `sample` (0..1) is the share that is written; exchanges that
    failed (5xx, 499, or answered by the gateway itself) are always written. When the queue is full
    records are dropped and counted: a reader that stands still never holds up a request.
    """

    def __init__(
        self,
        stream: BinaryIO,
        *,
        format: str = "json",  # noqa: A002 the configuration's word
        sample: float = 1.0,
        size: int = QUEUE_SIZE,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        # for life
        self._stream = stream
        self._render = RENDERERS[format]
        self._sample = sample
        self._size = size
        self._monotonic = monotonic
        self._wall = wall
        self._sleep = sleep
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        # written by the loop's thread only
        self._queue: deque[AccessRecord] = deque()
        self._credit = 0.0
        self.dropped = 0
        """Records lost to a full queue, since the start."""
        # written by the log's thread only
        self._told = 0
        self._broken = False

    def __repr__(self) -> str:
        return f"<AccessLog queued={len(self._queue)} dropped={self.dropped}{' broken' if self._broken else ''}>"

    def append(self, record: AccessRecord) -> None:
        """Queue one finished exchange; never waits, never fails."""
        if self._sample < 1.0 and not self._chosen(record):
            return
        if len(self._queue) >= self._size:
            self.dropped += 1
            return
        self._queue.append(record)

    def _chosen(self, record: AccessRecord) -> bool:
        """Every n-th of those that went well: an even share without a random number per request."""
        status, slug = record[9], record[10]
        if status >= 499 or slug is not None:
            return True
        self._credit += self._sample
        if self._credit < 1.0:
            return False
        self._credit -= 1.0
        return True

    def start(self) -> None:
        """Begin to write; what was appended before is not lost."""
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what is queued and stop; gives up after `timeout_s`, for a reader that has stopped reading."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            self._thread = None
        else:
            self._write_queued()

    def _run(self) -> None:
        while not self._stopping.wait(IDLE_S):
            self._write_queued()
        self._write_queued()

    def _write_queued(self) -> None:
        """Empty the queue, batch by batch."""
        while self._queue:
            # The wall clock may be set; the offset is taken anew for each batch, so lines follow it.
            offset_s = self._wall() - self._monotonic()
            lines = [self._render(self._queue.popleft(), offset_s) for _ in range(min(BATCH, len(self._queue)))]
            self._write(b"".join(lines))
            self._sleep(NAP_S)
        dropped = self.dropped
        if dropped > self._told:
            self._write(b'{"event":"access_log_dropped","count":%d}\n' % (dropped - self._told))
            self._told = dropped

    def _write(self, data: bytes) -> None:
        if self._broken:
            return
        try:
            self._stream.write(data)
            self._stream.flush()
        except (OSError, ValueError):
            # The reader is gone (EPIPE), the disk is full, the file is closed: the gateway serves on without a log.
            self._broken = True

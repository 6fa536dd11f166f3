"""Keeps the registry's state in a file: written a moment after each change, and at the end; replaced whole or not at all."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from discovery.snapshot_store import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

SAVE_AFTER_S: Final = 0.2
"""A deploy is many changes, and one write is enough for it."""


class StateFile:
    """`content` is asked for what to write. What cannot be written is said once, and tried again with the next change."""

    def __init__(self, path: str | Path, content: Callable[[], bytes], save_after_s: float = SAVE_AFTER_S) -> None:
        # for life
        self.path = Path(path)
        self._content = content
        self._save_after_s = save_after_s
        # while it runs
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        # since the last success
        self._failure: str | None = None

    def read(self) -> bytes | None:
        """What was written last; None if there is nothing.

        Raises:
            OSError: there is something, and it cannot be read.

        """
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    def start(self) -> None:
        """Begin; needs a running loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"registry file {self.path}")

    def touch(self) -> None:
        """Something has changed."""
        self._changed.set()

    async def aclose(self) -> None:
        """Write what was not written yet; may be called twice."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await self._save()

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(self._save_after_s)
            self._changed.clear()
            await self._save()

    async def _save(self) -> None:
        try:
            await asyncio.to_thread(replace_file, self.path, self._content())
        except OSError as error:
            why = error.strerror or str(error)
            if why != self._failure:
                self._failure = why
                log.warning("the embedded registry cannot be saved: %s", why, extra={"path": str(self.path)})
        else:
            self._failure = None

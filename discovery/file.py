"""A file that lists the instances of all services, followed while it changes.

A file that is bad, gone or still being written takes nothing away: the last good list stays, stale,
with the error beside it, and the next good one replaces it whole.

Changes are found by asking the file system for the file's stamp four times a second, not by inotify:
that misses changes on network file systems, in bind mounts and behind the symbolic link that a
Kubernetes ConfigMap swaps, and would need this as its fallback anyway. A stamp is a few
microseconds of work. What has changed is read once its stamp has been the same twice, so a file that is
written in place is seldom seen half, and one that is renamed into place never.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from discovery.errors import MalformedAnswer, Unreachable
from discovery.instance import SnapshotState
from discovery.static import ListedSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from discovery.instance import Instance

    Services = Mapping[str, Iterable[Instance]]

log = logging.getLogger(__name__)

PROVIDER: Final = "file"
LOOK_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Stamp:
    """What changes with a file; all zero for one that is not there."""

    modified_ns: int = 0
    size: int = 0
    inode: int = 0
    device: int = 0


GONE: Final = Stamp()


def stamp_of(path: Path) -> Stamp:
    """The stamp of a file, links followed; `GONE` if it cannot be had."""
    try:
        found = path.stat()
    except OSError:
        return GONE
    return Stamp(found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev)


class FileSource(ListedSource):
    """A `Source` over the file at `path`.

    `read` turns the file into services (name to instances); it raises ValueError with one line per
    mistake, and for a file that cannot be read. It runs on a thread. `on_error` gets the kind of
    every failure once: ``unreachable`` or ``malformed``.
    """

    def __init__(
        self,
        path: str | Path,
        read: Callable[[Path], Services],
        *,
        clock: Callable[[], float] = time.monotonic,
        on_error: Callable[[str], None] = lambda _kind: None,
        on_update: Callable[[str], None] = lambda _service: None,
    ) -> None:
        super().__init__(PROVIDER, clock=clock, on_update=on_update)
        # for life
        self._read = read
        self._on_error = on_error
        # until the next configuration
        self._path = Path(path)
        # since the last look
        self._looked: Stamp | None = None
        self._settled: Stamp | None = None
        """What has been read, or told to be missing."""
        # while it runs
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look; the file is read at once."""
        self._looked = stamp_of(self._path)
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"watch {self._path}")

    def follow(self, path: str | Path) -> None:
        """From now on another file is the list; until it has been read, the old one counts."""
        if Path(path) != self._path:
            self._path = Path(path)
            self._settled = None

    async def aclose(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await super().aclose()

    async def _run(self) -> None:
        while True:
            try:
                await self._look()
            except Exception as error:  # a bug must not end discovery for good
                log.exception("a bug while watching %s", self._path)
                self._failed(MalformedAnswer.kind, f"internal error: {error!r}")
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        path = self._path
        stamp = await asyncio.to_thread(stamp_of, path)
        quiet, self._looked = stamp == self._looked, stamp
        if stamp == self._settled:
            self._confirm()
        elif quiet:
            await self._take(path, stamp)

    async def _take(self, path: Path, stamp: Stamp) -> None:
        """Read what has changed. A file that changes meanwhile is looked at again before it is believed."""
        services, error = await asyncio.to_thread(self._attempt, path)
        if await asyncio.to_thread(stamp_of, path) != stamp or path != self._path:
            return
        self._settled = stamp
        if error:
            self._failed(Unreachable.kind if stamp == GONE else MalformedAnswer.kind, error)
        else:
            self._replace(services)

    def _attempt(self, path: Path) -> tuple[Services, str]:
        try:
            return self._read(path), ""
        except ValueError as error:
            return {}, str(error) or "cannot be read"

    def _replace(self, services: Services) -> None:
        was = self.trust.state
        if was is SnapshotState.STALE:
            log.info("the instances file is good again", extra={"path": str(self._path)})
        self.trust.confirm(self._clock())
        changed = self._put(services)
        if was is not SnapshotState.FRESH:
            self._tell(sorted(self._listeners))
        elif changed:
            self._tell(changed)

    def _confirm(self) -> None:
        """Nothing has changed since the last good list; what was bad stays bad."""
        if self.trust.state is SnapshotState.FRESH:
            self.trust.confirm(self._clock())

    def _failed(self, kind: str, error: str) -> None:
        first, *others = error.splitlines()
        self._on_error(kind)
        log.warning("the instances file is not used, what is known stays: %s", error, extra={"path": str(self._path), "reason": kind})
        self.trust.failed(f"{first} (and {len(others)} more)" if others else first, self._clock())
        self._tell(sorted(self._listeners))

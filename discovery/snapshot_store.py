"""The last good snapshots on disk, for a start while the registry is away.

Looked at four times a second, written when something has changed, at most every five seconds, every minute
to note that all of it was confirmed again, and at the end. A file is replaced whole or not at all:
written beside itself, synced, renamed. Nothing that goes wrong here ever stops discovery.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from discovery.errors import SNAPSHOT_WRITE
from discovery.instance import NOTHING, SnapshotState
from discovery.snapshot_format import Unusable, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from discovery.instance import Remembered

log = logging.getLogger(__name__)

LOOK_S: Final = 0.25
WRITE_EVERY_S: Final = 5.0
CONFIRM_EVERY_S: Final = 60.0
LEFTOVER_S: Final = 60.0


class SnapshotStore:
    """Keeps what `known` says in the file at `path`, readable for its owner only.

    `provider` and `datacenter` name the registry: a file of another one is not read. `on_error` gets
    the kind of every failure to write. `clock` is monotonic, `wall` Unix seconds.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        provider: str = "consul",
        datacenter: str | None = None,
        on_error: Callable[[str], None] = lambda _kind: None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        # for life
        self.path = Path(path)
        self._provider = provider
        self._datacenter = datacenter or ""
        self._on_error = on_error
        self._clock = clock
        self._wall = wall
        # while it runs
        self._known: Callable[[], Remembered] = lambda: NOTHING
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._passed_on = False
        # since the last write
        self._written: Remembered = NOTHING
        self._written_at_s = float("-inf")
        self._failure: str | None = None

    def __repr__(self) -> str:
        return f"<SnapshotStore {self.path} services={len(self._written.snapshots)}>"

    def load(self) -> Remembered:
        """What the file remembers; nothing if there is none, or if it cannot be served from, which is said aloud."""
        self._remove_leftovers()
        try:
            content = self.path.read_bytes()
            known = decode(content, provider=self._provider, datacenter=self._datacenter, now_s=self._clock(), wall_s=self._wall())
        except FileNotFoundError:
            return NOTHING
        except (OSError, Unusable) as error:
            why = error.strerror if isinstance(error, OSError) else error
            log.warning("the registry snapshot is ignored: %s", why, extra={"path": str(self.path)})
            return NOTHING
        assert known.catalog is not None
        age_s = round(self._clock() - known.catalog.confirmed_at_s)
        log.info("registry snapshot read", extra={"path": str(self.path), "services": len(known.snapshots), "age_seconds": age_s})
        return known

    def start(self, known: Callable[[], Remembered]) -> None:
        """Begin to write what `known` returns, from within the running loop."""
        self._known = known
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"snapshot store {self.path}")

    def pass_on(self) -> None:
        """Write no more, not even at the end: the file is another process's from now on."""
        self._passed_on = True
        self._stopping.set()

    async def aclose(self) -> None:
        """Write for the last time; to be called while `known` still knows. May be called twice."""
        self._stopping.set()
        task, self._task = self._task, None
        if task is not None:
            await task
            if not self._passed_on:
                await self._write(self._known())

    async def _run(self) -> None:
        while not self._stopping.is_set():
            known = self._known()
            if is_due(self._written, known, self._clock() - self._written_at_s):
                await self._write(known)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), LOOK_S)

    async def _write(self, known: Remembered) -> None:
        if not worth_writing(known):
            return
        self._written_at_s = self._clock()
        now_s, wall_s = self._clock(), self._wall()

        def write() -> None:
            content = encode(known, provider=self._provider, datacenter=self._datacenter, now_s=now_s, wall_s=wall_s)
            replace_file(self.path, content)

        try:
            await asyncio.to_thread(write)
        except OSError as error:
            self._failed(error.strerror or str(error))
        except Exception as error:  # a bug must end neither the store nor the gateway that is being stopped
            log.exception("a bug while writing the registry snapshot")
            self._failed(f"internal error: {error!r}")
        else:
            self._written, self._failure = known, None

    def _failed(self, why: str) -> None:
        self._on_error(SNAPSHOT_WRITE)
        if why != self._failure:
            self._failure = why
            log.warning("the registry snapshot cannot be written: %s", why, extra={"path": str(self.path)})

    def _remove_leftovers(self) -> None:
        """Of a gateway that was killed while it wrote; not of one that writes now."""
        with suppress(OSError):
            for path in self.path.parent.glob(f".{self.path.name}.*.new"):
                if self._wall() - path.stat().st_mtime > LEFTOVER_S:
                    path.unlink()


def worth_writing(known: Remembered) -> bool:
    """Whether the registry has said anything yet: until then the file knows as much, or more."""
    return known.catalog is not None and known.catalog.state in (SnapshotState.FRESH, SnapshotState.STALE)


def is_due(written: Remembered, known: Remembered, since_s: float) -> bool:
    """Whether to write `known` now, `since_s` after `written` was: news soon, mere confirmations when there is time."""
    if since_s >= CONFIRM_EVERY_S:
        return known != written
    return since_s >= WRITE_EVERY_S and content_of(known) != content_of(written)


def content_of(known: Remembered) -> object:
    """What of it makes a difference for a later start."""
    names = None if known.catalog is None else known.catalog.services
    return names, {name: snapshot.instances for name, snapshot in known.snapshots.items()}


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` in the place of the file, whole or not at all, for the owner's eyes only.

    Raises:
        OSError: nothing was changed.

    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.parent / f".{path.name}.{os.getpid()}.new"
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # a leftover may have had other rights
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
    except OSError:
        with suppress(OSError):
            new.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """A rename is on disk only when its folder is. Some file systems cannot do that, and lose nothing but the newest file."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

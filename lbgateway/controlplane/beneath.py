"""A file of a folder, opened so that nothing leads out of it in the meantime.

A path that was looked at may be another one when it is opened: somebody who may write into the folder puts a link in the
place of a file, or of a folder on the way. So what was resolved is opened part by part, each in the folder that has just
been opened, and none through a link; and what was opened is what is looked at, and what is sent.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""Not blocking: a pipe would wait for somebody who writes into it."""


LONGEST_NAME, DEEPEST = 4096, 64
"""No more than that is looked for: each part of a name costs a look at the disk, and clients choose names."""


class OpenFile:
    """A regular file, until it is closed or forgotten."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.status = os.fstat(descriptor)
        """As it was when it was opened."""

    def __repr__(self) -> str:
        return f"<OpenFile {'closed' if self._descriptor < 0 else self.status.st_size}>"

    def __del__(self) -> None:
        self.close()

    def read(self, offset: int, most: int) -> bytes:
        """At most so many bytes from there on; empty at the end, and where nothing can be read any more."""
        try:
            return os.pread(self._descriptor, most, offset)
        except OSError:
            return b""

    def close(self) -> None:
        """May be called again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def open_beneath(folder: Path, name: str) -> OpenFile | None:
    """The regular file that `name` leads to, through links as well, if they stay inside of `folder`; else None.

    `folder` itself may be a link, and lead elsewhere the next time.
    """
    if len(name) > LONGEST_NAME or name.count("/") > DEEPEST:
        return None
    try:
        root = folder.resolve()
        full = (root / name).resolve()
        if not full.is_relative_to(root):
            return None
        return open_parts(root, full.relative_to(root).parts)
    except (OSError, ValueError, RuntimeError):  # gone, unreadable, links in circles, a name that no file system takes
        return None


def open_parts(root: Path, parts: tuple[str, ...]) -> OpenFile | None:
    """The regular file at the end of `parts`, none of which is a link. Raises `OSError`."""
    if not parts:
        return None
    *folders, last = parts
    inside = os.open(root, _FOLDER)
    try:
        for part in folders:
            deeper = os.open(part, _FOLDER, dir_fd=inside)
            os.close(inside)
            inside = deeper
        found = OpenFile(os.open(last, _FILE, dir_fd=inside))
    finally:
        os.close(inside)
    if stat.S_ISREG(found.status.st_mode):
        return found
    found.close()
    return None

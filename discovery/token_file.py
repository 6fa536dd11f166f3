"""A token that somebody else renews: a file, read again whenever it was changed."""

from __future__ import annotations

import logging
from pathlib import Path

log = logging.getLogger(__name__)


class TokenFile:
    """Called for every read: the token as the file has it now (one ``stat``, 2 µs).

    While the file is away, empty or unreadable, for instance half-written, the last token stays. `token` is
    what it held when the configuration was read.
    """

    def __init__(self, path: str | Path, token: str) -> None:
        self._path = Path(path)
        self._token = token
        self._stamp: tuple[int, int, int] | None = None

    def __repr__(self) -> str:
        return f"<TokenFile {self._path}>"

    def __call__(self) -> str:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._stamp:
                self._take(self._path.read_text(encoding="utf-8").strip())
                self._stamp = stamp
        except (OSError, UnicodeDecodeError):
            pass
        return self._token

    def _take(self, token: str) -> None:
        if token and token != self._token:
            self._token = token
            log.info("another Consul token was read", extra={"path": str(self._path)})

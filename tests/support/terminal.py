"""A terminal of a given size: what a program writes to it is seen as a person would see it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import pyte


class Terminal:
    """Runs `command` in a terminal of `columns` by `rows`; ended with the ``with``."""

    def __init__(self, command: Sequence[str], *, columns: int = 80, rows: int = 24, environment: Mapping[str, str] | None = None) -> None:
        self.screen = pyte.Screen(columns, rows)
        self.written = b""
        """All that came, as it came."""
        self._stream = pyte.ByteStream(self.screen)
        self._ended: int | None = None
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            self._size(0, columns, rows)
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)  # whoever started the tests may ignore them, and Ctrl-C would be nothing
            os.environ.pop("COLUMNS", None)
            os.environ.pop("LINES", None)
            os.execvpe(command[0], command, {**os.environ, "TERM": "xterm-256color", **(environment or {})})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._ended is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._master)

    @staticmethod
    def _size(descriptor: int, columns: int, rows: int) -> None:
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        """As when somebody drags the window's corner."""
        self._size(self._master, columns, rows)
        self.screen.resize(rows, columns)

    def type(self, text: str) -> None:
        """As on a keyboard: ``\\x03`` is Ctrl-C, ``\\t`` the tab."""
        os.write(self._master, text.encode())

    def lines(self) -> list[str]:
        """What is to be seen now, without what is empty at the end."""
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def until(self, seen: Callable[[list[str]], bool], seconds: float = 20) -> list[str]:
        """Wait until the screen is as it should be; returns its lines."""
        end_s = time.monotonic() + seconds
        while not seen(self.lines()):
            if time.monotonic() > end_s:
                raise TimeoutError("\n".join(self.lines()))
            self._read(0.1)
        return self.lines()

    def wait(self, seconds: float = 20) -> int:
        """Wait until the program ends, and return its exit code."""
        end_s = time.monotonic() + seconds
        while self._read(0.1):
            if time.monotonic() > end_s:
                raise TimeoutError("\n".join(self.lines()))
        _, status = os.waitpid(self.pid, 0)
        self._ended = os.waitstatus_to_exitcode(status)
        return self._ended

    def _read(self, seconds: float) -> bool:
        """False when nothing can come any more."""
        if not select.select([self._master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:
            return False
        self.written += data
        self._stream.feed(data)
        return bool(data)

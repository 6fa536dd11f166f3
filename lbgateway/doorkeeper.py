"""Who accepts: one connection after the other, and none that there is no file for.

The servers of event loops do otherwise: where a process may open no more files, libuv accepts whoever waits and closes them all,
without a word. Here they stay where they are, in the kernel's queue, until there is room again. And whoever is accepted shall have an
answer, so the last `SPARE_FILES` are not for clients: they are for the ways to instances, to the registry, and for operators.
"""

from __future__ import annotations

import asyncio
import os
import resource
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine

    TakeIn = Callable[[socket.socket], Coroutine[Any, Any, Any]]

log = structlog.get_logger("lbgateway")

SPARE_FILES = 16

AGAIN_S = 0.05
"""How long nobody is accepted until it is looked whether there are files again."""

TELL_EVERY_S = 10.0


class Doorkeeper:
    """Accepts on `listener` and has each connection taken in by a task of its own: in the place of an `asyncio.Server`.

    `spare`: how many of the files that this process may open are not for those who come in here.
    """

    def __init__(self, listener: socket.socket, take_in: TakeIn, *, spare: int = 0) -> None:
        # for life
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._take_in = take_in
        self._spare = spare
        # as it goes
        self._tasks: set[asyncio.Task[Any]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._short_since_s: float | None = None
        """When the want of files began that the log tells of."""
        self._told_at_s = float("-inf")
        listener.setblocking(False)
        self._open()

    def close(self) -> None:
        """Accept no more; those who are being looked at are let in."""
        if self._pause is not None:
            self._pause.cancel()
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)

    async def wait_closed(self) -> None:
        """As a server's; there is nothing to wait for."""

    def _open(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._on_readable)

    def _on_readable(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            self._wait(error.strerror or str(error))
            return
        connection.setblocking(False)
        task = self._loop.create_task(self._take_in(connection))
        self._tasks.add(task)
        task.add_done_callback(self._on_taken)
        if self._is_last(connection.fileno()):
            self._wait("the last files are kept for the ways to instances")

    def _on_taken(self, task: asyncio.Task[Any]) -> None:
        """Whoever was gone before is forgotten; what is a bug the loop tells."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, OSError):
            self._loop.call_exception_handler({"message": "a bug while a connection was taken in", "exception": error, "task": task})

    # -- no room -------------------------------------------------------------------------------

    def _is_last(self, descriptor: int) -> bool:
        """Whether no files but the spare ones are left now that this one is open: the kernel gives away the lowest free number."""
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return most != resource.RLIM_INFINITY and descriptor >= most - 1 - self._spare

    def _wait(self, reason: str) -> None:
        """Whoever comes waits in the kernel's queue."""
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(AGAIN_S, self._open_if_there_is_room)
        if self._loop.time() >= self._told_at_s + TELL_EVERY_S:
            self._short_since_s = self._told_at_s = self._loop.time()
            log.warning("no more connections are accepted for now, who comes waits", reason=reason)

    def _open_if_there_is_room(self) -> None:
        if not self._has_room():
            self._pause = self._loop.call_later(AGAIN_S, self._open_if_there_is_room)
            return
        self._open()
        if self._short_since_s is not None:
            log.info("connections are accepted again", after_seconds=round(self._loop.time() - self._short_since_s, 2))
            self._short_since_s = None

    def _has_room(self) -> bool:
        try:
            descriptor = os.dup(self._listener.fileno())
        except OSError:
            return False
        os.close(descriptor)
        return not self._is_last(descriptor)

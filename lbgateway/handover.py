"""The running gateway's half of a takeover: it offers its listening sockets to a successor, and leaves once that one serves.

The successor asks, gets the sockets, and says when it accepts connections. Until then everything here goes on as if
nothing had happened, so a successor that fails is simply forgotten. `lbgateway.takeover` is its half.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from lbgateway.rendezvous import LONGEST_MESSAGE, is_private, name_of, peer_of, say, understood

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

log = structlog.get_logger("lbgateway")

QUESTION_S = 5.0
"""How long somebody who has come may take to say what for."""
AFTER_ERROR_S = 1.0


@dataclass(frozen=True, slots=True)
class Successor:
    """The process that accepts connections now; `registration`: the id of its entry in the registry, if it has one."""

    pid: int
    registration: str | None


class Handover:
    """Waits for a successor, from `open` to `close`.

    `sockets` tells the listening sockets of the moment, the first of which gives the meeting point its name; `admin` those
    of `admin.listen`. `retire` is called once, when a successor serves.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        sockets: Callable[[], Sequence[socket.socket]],
        retire: Callable[[Successor], None],
        admin: Callable[[], Sequence[socket.socket]] = tuple,
    ) -> None:
        # for life
        self._folders = folders
        self._sockets = sockets
        self._admin = admin
        self._retire = retire
        self._tasks: set[asyncio.Task[None]] = set()
        # while it is offered
        self._receiving: asyncio.Task[None] | None = None
        self._path: Path | None = None
        self._inode = 0
        self._successor: int | None = None

    def __repr__(self) -> str:
        return f"<Handover {self._path or 'closed'} successor={self._successor}>"

    def open(self) -> None:
        """Begin to offer, in the place of whoever did so before. Where that cannot be, it is said: the gateway serves all the same."""
        name = name_of(self._sockets()[0].getsockname()[:2])
        failure: OSError | None = None
        for folder in self._folders:
            try:
                meeting = meet_at(folder, name)
            except OSError as error:
                failure = failure or error
                continue
            self._path, self._inode = folder / name, (folder / name).stat().st_ino
            self._receiving = self._spawn(self._receive(meeting))
            return
        log.warning("no --takeover from this process: there is no place to meet a successor", reason=str(failure))

    def close(self) -> None:
        """Offer nothing any more; the meeting point stays if it is somebody else's by now."""
        if self._path is not None and self._is_ours(self._path):
            self._path.unlink(missing_ok=True)
        self._path = None
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()

    def _is_ours(self, path: Path) -> bool:
        try:
            return path.stat().st_ino == self._inode
        except OSError:
            return False

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _receive(self, meeting: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with meeting:  # closed here and nowhere else: the loop must have let go of its descriptor first
            while True:
                try:
                    connection, _ = await loop.sock_accept(meeting)
                except OSError:  # too many open files
                    await asyncio.sleep(AFTER_ERROR_S)
                    continue
                connection.setblocking(False)
                self._spawn(self._converse(connection))

    async def _converse(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, TimeoutError):  # who leaves in the middle wants nothing any more
            peer = peer_of(connection)
            if peer.uid not in (os.getuid(), 0):
                return
            async with asyncio.timeout(QUESTION_S):
                asked = await heard(connection)
            if asked is None or asked.get("want") != "sockets":
                return
            if self._successor is not None:
                say(connection, {"refused": f"process {self._successor} is about to take over already"})
                return
            self._successor = peer.pid
            try:
                await self._hand_over(connection, peer.pid)
            finally:
                self._successor = None

    async def _hand_over(self, connection: socket.socket, pid: int) -> None:
        log.info("a successor starts, this process serves on until that one is ready", successor=pid)
        ready = None
        with contextlib.suppress(OSError):
            public, admin = self._sockets(), self._admin()
            say(connection, {"sockets": len(public), "admin": len(admin)}, [*public, *admin])
            ready = await heard(connection)
        if ready is not None and "ready" in ready:
            self._retire(Successor(pid, ready.get("registration")))
            say(connection, {"leaving": True})
            return
        log.warning("the successor ended before it was ready, this process serves on", successor=pid)
        if self._path is not None and not self._is_ours(self._path):
            if self._receiving is not None:
                self._receiving.cancel()
            self.open()  # the successor was in our place already


async def heard(connection: socket.socket) -> dict[str, Any] | None:
    """The next message; None if there is none any more."""
    return understood(await asyncio.get_running_loop().sock_recv(connection, LONGEST_MESSAGE))


def meet_at(folder: Path, name: str) -> socket.socket:
    """A socket that waits in `folder` under `name`, for its owner only. It takes the place of any other at one stroke.

    Raises:
        OSError: the folder cannot be had, or is not ours alone.

    """
    folder.mkdir(mode=0o700, exist_ok=True)
    if not is_private(folder, os.getuid()):
        raise PermissionError(f"{folder} is not a folder that this user alone can write to")
    new = folder / f".{name}.{os.getpid()}"
    meeting = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        new.unlink(missing_ok=True)
        meeting.bind(str(new))
        new.chmod(0o600)  # before anybody can connect
        meeting.listen()
        new.rename(folder / name)
    except OSError:
        meeting.close()
        raise
    return meeting

"""The workers as processes: started, watched, replaced, stopped. They are the only children of the parent.

A worker that ends without having been told to is replaced at once, and if it does so again and again, ever later. One that
has said nothing for `STUCK_S`, four reports a second being due, is killed and replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import structlog

from lbgateway.workers.link import Link

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lbgateway.workers.board import Board
    from lbgateway.workers.frames import Frame

log = structlog.get_logger("lbgateway")

STUCK_S, STARTING_S = 20.0, 60.0
"""How long a worker may say nothing; the second is for one that starts."""
WATCH_S = 1.0
PROVEN_S = 10.0
"""Who has lived for so long did not end because of its start."""
FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 10.0
REAP_S, REAP_EVERY_S = 5.0, 0.01
"""How long a worker that has closed its link may take to end."""


class Member:
    """One worker process. `serving` from when it accepts connections until it is told not to."""

    def __init__(
        self, index: int, process: subprocess.Popen[bytes], on_frame: Callable[[Member, Frame], None], on_end: Callable[[Member], None]
    ) -> None:
        self.index = index
        self.process = process
        self.link = Link(lambda frame: on_frame(self, frame), lambda: on_end(self))
        self.born_s = self.heard_s = time.monotonic()
        self.serving = False
        self.leaving = False

    def __repr__(self) -> str:
        return f"<Member {self.index} pid={self.process.pid}{' serving' if self.serving else ''}{' leaving' if self.leaving else ''}>"


class Crew:
    """`sockets` tells the listening sockets of the moment.

    `greet` tells a new member everything; `on_frame` and `on_left` hear what it says, and that it has left.
    """

    def __init__(
        self,
        board: Board,
        sockets: Callable[[], Sequence[socket.socket]],
        *,
        greet: Callable[[Member], None],
        on_frame: Callable[[Member, Frame], None],
        on_left: Callable[[Member], None],
    ) -> None:
        # for life
        self._board = board
        self._sockets = sockets
        self._greet = greet
        self._on_frame = on_frame
        self._on_left = on_left
        self._tasks: set[asyncio.Task[None]] = set()
        # as it goes
        self.members: dict[int, Member] = {}
        self.stopping = False
        self._failures = [0] * board.workers
        self._empty = asyncio.Event()
        self._serving = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Crew {list(self.members.values())}>"

    # -- life ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start all of them; returns as soon as the processes are there."""
        for index in range(self._board.workers):
            await self._start_one(index)
        self._spawn(self._watch())

    async def all_serving(self, within_s: float) -> bool:
        """Wait until all accept connections; False if that takes too long, or if they are stopped."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._serving.wait(), within_s)
        return self._serving.is_set() and not self.stopping

    def stop(self, kind: str, **facts: Any) -> None:
        """Tell all to finish what runs and leave, as `kind` says; nobody is replaced from now on."""
        self.stopping = True
        self._serving.set()
        for member in self.members.values():
            member.leaving = True
        self.tell(kind, **facts)
        if not self.members:
            self._empty.set()

    async def gone(self, within_s: float) -> None:
        """Wait until all have left; who has not after `within_s` seconds is killed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), within_s)
        for member in self.members.values():
            log.warning("a worker does not leave, it is killed", worker=member.index, pid=member.process.pid)
            member.process.kill()
        with contextlib.suppress(TimeoutError):  # one that even the kernel cannot end, for it hangs there itself
            await asyncio.wait_for(self._empty.wait(), REAP_S if self.members else 0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def replace(self, member: Member) -> None:
        """Let it finish what it has and leave; another one comes in its place when it has left."""
        if not self.stopping and not member.leaving:
            member.leaving = True
            member.link.send("stop")

    # -- words ---------------------------------------------------------------------------------

    def tell(self, kind: str, payload: bytes = b"", *, but: Member | None = None, **facts: Any) -> None:
        """Tell all, or all but one."""
        for member in self.members.values():
            if member is not but:
                member.link.send(kind, payload, **facts)

    def serves(self, member: Member) -> None:
        """It has said that it accepts connections."""
        member.serving = True
        log.info("a worker serves", worker=member.index, pid=member.process.pid)
        if len(self.members) == self._board.workers and all(each.serving for each in self.members.values()):
            self._serving.set()

    # -- inside --------------------------------------------------------------------------------

    async def _start_one(self, index: int) -> None:
        ours, theirs = socket.socketpair()
        passed = (theirs.fileno(), self._board.descriptor, *(each.fileno() for each in self._sockets()))
        command = [sys.executable, "-P", "-m", "lbgateway.workers", str(theirs.fileno()), str(index)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with theirs:
            try:
                process = subprocess.Popen(command, pass_fds=passed, env=environment)  # noqa: ASYNC220, S603 ourselves; it does not wait for the child
            except OSError:
                ours.close()
                raise
        member = self.members[index] = Member(index, process, self._hear, lambda left: self._spawn(self._bury(left)))
        await member.link.over(ours)
        self._greet(member)  # with what was told meanwhile, which it has not heard
        if self.stopping:
            member.leaving = True
            member.link.send("stop")

    def _hear(self, member: Member, frame: Frame) -> None:
        member.heard_s = time.monotonic()
        self._on_frame(member, frame)

    async def _bury(self, member: Member) -> None:
        """Its link has ended: so does it."""
        end_s = time.monotonic() + REAP_S
        while member.process.poll() is None:
            if time.monotonic() >= end_s:
                member.process.kill()
            await asyncio.sleep(REAP_EVERY_S)
        del self.members[member.index]
        self._board.wipe(member.index)
        self._on_left(member)
        if member.leaving or self.stopping:
            log.info("a worker has left", worker=member.index, pid=member.process.pid, exit_code=member.process.returncode)
        if self.stopping:
            if not self.members:
                self._empty.set()
            return
        await self._replace(member)

    async def _replace(self, member: Member) -> None:
        delay_s = 0.0
        if not member.leaving:
            proven = member.serving and time.monotonic() - member.born_s >= PROVEN_S
            failures = self._failures[member.index] = 0 if proven else self._failures[member.index] + 1
            delay_s = 0.0 if failures <= 1 else min(FIRST_DELAY_S * 2.0 ** (failures - 2), LONGEST_DELAY_S)
            log.error(
                "a worker has ended, another one takes its place",
                worker=member.index,
                pid=member.process.pid,
                exit_code=member.process.returncode,
                in_seconds=delay_s,
            )
        while not await self._started_after(delay_s, member.index):
            delay_s = LONGEST_DELAY_S

    async def _started_after(self, delay_s: float, index: int) -> bool:
        """False if the system has no process to give, or no memory for one; then it is to be tried again."""
        await asyncio.sleep(delay_s)
        try:
            if not self.stopping:
                await self._start_one(index)
        except OSError as error:
            log.error("no worker can be started", worker=index, error=str(error))  # noqa: TRY400 the error says it all
            return False
        return True

    async def _watch(self) -> None:
        """Kill who hangs. Whether it does is looked at twice: it may be us who have not listened."""
        suspected: set[Member] = set()
        while True:
            await asyncio.sleep(WATCH_S)
            now_s = time.monotonic()
            silent = {each for each in self.members.values() if now_s - each.heard_s > (STUCK_S if each.serving else STARTING_S)}
            for member in silent & suspected:
                log.error("a worker says nothing, it is killed", worker=member.index, pid=member.process.pid)
                member.process.kill()
            suspected = silent

    def _spawn(self, coroutine: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

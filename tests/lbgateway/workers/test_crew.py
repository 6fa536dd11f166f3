"""Worker processes, real ones: who dies, hangs or cannot be started is replaced. They wait for their first word, and serve nobody."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from lbgateway.workers import crew as crew_module
from lbgateway.workers.board import NOT_SERVING, Board
from lbgateway.workers.crew import Crew, Member
from lbgateway.workers.frames import Frame
from tests.support.worker_gateways import until
from tests.support.workers import alive


class Watched:
    """A crew, and what it has told."""

    def __init__(self, workers: int) -> None:
        self.board = Board.create(workers)
        self.greeted: list[Member] = []
        self.left: list[Member] = []
        self.frames: list[Frame] = []
        self.logs: Sequence[Any] = ()
        self.crew = Crew(self.board, lambda: (), greet=self.greet, on_frame=self.hear, on_left=self.left.append)

    def greet(self, member: Member) -> None:
        assert self.crew.members[member.index] is member
        self.greeted.append(member)

    def hear(self, member: Member, frame: Frame) -> None:
        self.frames.append(frame)
        if frame.facts["kind"] == "asked_to_stop":
            self.crew.replace(member)


@asynccontextmanager
async def started(workers: int) -> AsyncIterator[Watched]:
    watched = Watched(workers)
    with capture_logs() as logs:
        watched.logs = logs
        await watched.crew.start()
        yield watched
        pids = [each.process.pid for each in watched.greeted]
        watched.crew.stop("stop")
        await watched.crew.gone(20.0)
    assert (watched.crew.members, [pid for pid in pids if alive(pid)]) == ({}, [])


def catches(pid: int, number: int) -> bool:
    """Whether the process has a handler for the signal by now."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt:")]
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)


async def test_who_is_killed_is_replaced_and_its_row_is_blank():
    """At once; nobody else notices."""
    async with started(2) as watched:
        victim, other = watched.crew.members[0], watched.crew.members[1]
        watched.board.rows[0][3], watched.board.doors[0], watched.board.doors[2] = 7, 5, 5
        os.kill(victim.process.pid, signal.SIGKILL)
        await until(lambda: len(watched.greeted) == 3)
        assert (watched.left, watched.greeted[2].index, watched.crew.members[1]) == ([victim], 0, other)
        assert (watched.board.rows[0][3], watched.board.doors.tolist()) == (0, [NOT_SERVING, 0, 5, 0])


async def test_who_asks_to_leave_may_and_another_one_comes():
    """SIGTERM to one worker is a wish, which the parent grants; it is no failure."""
    async with started(1) as watched:
        first = watched.crew.members[0]
        await until(lambda: catches(first.process.pid, signal.SIGTERM))
        os.kill(first.process.pid, signal.SIGTERM)
        await until(lambda: len(watched.greeted) == 2)
        assert (first.leaving, [frame.facts["kind"] for frame in watched.frames]) == (True, ["asked_to_stop"])
        assert not [each for each in watched.logs if each["log_level"] == "error"]


async def test_who_says_nothing_is_killed(monkeypatch: pytest.MonkeyPatch):
    """It may hang, or may have been stopped."""
    async with started(1) as watched:
        os.kill(watched.crew.members[0].process.pid, signal.SIGSTOP)
        monkeypatch.setattr(crew_module, "STARTING_S", 0.0)
        await until(lambda: bool(watched.left))
        monkeypatch.undo()
        await until(lambda: len(watched.greeted) == 2)
        assert "a worker says nothing, it is killed" in [each["event"] for each in watched.logs]


async def test_who_does_not_leave_is_killed():
    """When its time is up."""
    watched = Watched(1)
    await watched.crew.start()
    pid = watched.crew.members[0].process.pid
    os.kill(pid, signal.SIGSTOP)
    watched.crew.stop("stop")
    assert not await watched.crew.all_serving(1.0)
    with capture_logs() as logs:
        await watched.crew.gone(0.1)
    assert not alive(pid)
    assert logs[0]["event"] == "a worker does not leave, it is killed"


class Unending:
    """A process that even SIGKILL does not end: it hangs in the kernel."""

    def __init__(self, real: Any) -> None:
        self.pid, self.real, self.killed = real.pid, real, 0

    def kill(self) -> None:
        self.killed += 1

    def poll(self) -> None:
        return None


async def test_who_cannot_be_killed_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    """The gateway ends all the same."""
    watched = Watched(1)
    await watched.crew.start()
    member = watched.crew.members[0]
    member.process = unending = Unending(member.process)  # type: ignore[assignment]  # as much of a process as it needs
    monkeypatch.setattr(crew_module, "REAP_S", 0.1)
    watched.crew.stop("stop")
    with capture_logs():
        async with asyncio.timeout(5):
            await watched.crew.gone(0.0)
    assert unending.killed > 0
    member.process = unending.real
    unending.real.kill()
    await until(lambda: member.link.ended)
    await asyncio.gather(*watched.crew._tasks, return_exceptions=True)
    unending.real.wait()


async def test_a_process_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch):
    """The system may have none to give for a while."""
    monkeypatch.setattr(crew_module, "LONGEST_DELAY_S", 0.05)
    async with started(1) as watched:
        monkeypatch.setattr(sys, "executable", "/none")
        watched.crew.members[0].process.kill()
        failed = "no worker can be started"
        await until(lambda: sum(each["event"] == failed for each in watched.logs) >= 3)
        monkeypatch.undo()
        await until(lambda: len(watched.greeted) == 2)


async def test_whoever_fails_at_once_again_and_again_is_started_ever_later():
    """Else a start that cannot succeed would keep the machine busy."""
    async with started(1) as watched:
        for count in range(1, 4):
            watched.crew.members[0].process.kill()
            await until(lambda count=count: len(watched.greeted) == count + 1)
        ended = "a worker has ended, another one takes its place"
        assert [each["in_seconds"] for each in watched.logs if each["event"] == ended] == [0.0, 0.1, 0.2]


async def test_all_serve_when_each_has_said_so():
    """And words go to all, or to all but one."""
    async with started(2) as watched:
        first, second = watched.crew.members.values()
        watched.crew.serves(first)
        assert not await watched.crew.all_serving(0.01)
        watched.crew.serves(second)
        assert await watched.crew.all_serving(0.01)
        assert repr(first).endswith("serving>")
        watched.crew.tell("stop", but=first)
        await until(lambda: watched.left == [second])
        assert first.process.poll() is None

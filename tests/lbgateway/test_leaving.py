"""How long the port stays open after the word to stop."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from lbgateway.dataplane.exchange_state import RESPONDING, TUNNEL, WAITING
from lbgateway.leaving import LOOK_S, Leaving


def running(phase: Any = WAITING) -> Any:
    return SimpleNamespace(phase=phase)


class Scene:
    """A plane with what runs on it, and whether `stop` has been called."""

    def __init__(self, *exchanges: Any, pause_s: float = 0.0, drain_timeout_s: float = 60.0) -> None:
        self.plane: Any = SimpleNamespace(loop=asyncio.get_running_loop(), active=list(exchanges))
        self.stops = 0
        self.leaving = Leaving(self.plane, pause_s, drain_timeout_s, self.stop)
        if not self.leaving.over:
            self.leaving.look()

    def stop(self) -> None:
        self.stops += 1

    async def after(self, seconds: float) -> int:
        await asyncio.sleep(seconds)
        return self.stops


async def test_where_nothing_runs_there_is_nothing_to_wait_for():
    """A tunnel may last for days: it is no reason."""
    assert Scene().leaving.over
    assert Scene(running(TUNNEL)).leaving.over


async def test_what_runs_is_answered_first():
    """What has come in the meantime is not waited for; `stop` is called once."""
    slow = running(RESPONDING)
    scene = Scene(slow)
    assert scene.leaving.facts() == {"requests_active": 1, "at_most_seconds": 30.0}
    assert await scene.after(3 * LOOK_S) == 0
    scene.plane.active.append(running())
    scene.plane.active.remove(slow)
    assert await scene.after(4 * LOOK_S) == 1
    assert scene.leaving.over
    assert await scene.after(3 * LOOK_S) == 1


async def test_who_hangs_is_not_waited_for_without_end():
    """Half of the time to drain; what it took is no longer there for the drain."""
    scene = Scene(running(), drain_timeout_s=0.4)
    assert await scene.after(0.1) == 0
    assert await scene.after(0.3) == 1
    assert scene.leaving.late_s >= 0.2


async def test_the_pause_is_kept_though_nothing_runs():
    """The registry has been told, and those who have asked it a moment ago are on their way; that is no time of the drain."""
    scene = Scene(pause_s=0.2)
    assert scene.leaving.facts() == {"requests_active": 0, "at_most_seconds": 0.2}
    assert await scene.after(0.1) == 0
    assert scene.leaving.late_s == 0.0
    assert await scene.after(0.2) == 1


@pytest.mark.parametrize("pause_s", [0.0, 0.1])
async def test_a_second_word_ends_the_waiting(pause_s):
    """Whoever stops at once has no use for it."""
    scene = Scene(running(), pause_s=pause_s, drain_timeout_s=0.2)
    scene.leaving.cancel()
    assert await scene.after(0.4) == 0
    assert scene.leaving.over

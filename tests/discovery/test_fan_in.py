"""When services are swept, and when they block again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from discovery.fan_in import FanIn
from tests.support.virtual_time import run_virtual


class Modes:
    """A watch that only knows in which mode it is."""

    def __init__(self) -> None:
        self.mode: bool | None = None

    def direct(self, *, direct: bool) -> None:
        self.mode = direct


class Passes:
    """A sweep that counts how often it was told that the catalog moved."""

    def __init__(self) -> None:
        self.moved = 0
        self.stopped = 0

    def catalog_moved(self) -> None:
        self.moved += 1

    def stop(self) -> None:
        self.stopped += 1


class Scene:
    """Room for ten, one other watch."""

    def __init__(self) -> None:
        self.room = 10
        self.services: dict[str, Any] = {}
        self.sweep: Any = Passes()
        self.made: list[Any] = []
        self.ended: list[Any] = []
        self.fan_in = FanIn(
            self.services,
            self.sweep,
            room=lambda: self.room,
            others=lambda: 1,
            make_watcher=self.make,
            end=self.ended.append,
            clock=asyncio.get_running_loop().time,
        )

    def make(self) -> Any:
        self.made.append(object())
        return self.made[-1]

    def watch(self, count: int) -> None:
        """So many services from now on."""
        self.services.clear()
        self.services.update({f"s{n}": (None, Modes()) for n in range(count)})
        self.fan_in.settle()

    def modes(self) -> set[bool | None]:
        return {watcher.mode for _, watcher in self.services.values()}


def play(story: Callable[[Scene], Awaitable[None]]) -> None:
    async def whole() -> None:
        scene = Scene()
        scene.fan_in.start()
        await story(scene)
        scene.fan_in.stop()
        scene.fan_in.stop()
        assert len(scene.made) == len(scene.ended)

    run_virtual(whole())


@pytest.mark.parametrize(("services", "direct"), [(0, True), (8, True), (9, False), (300, False)])
def test_there_must_be_room_for_all_and_the_sweep(services: int, *, direct: bool) -> None:
    """Otherwise one watch more would leave none for the sweep that it makes necessary."""

    async def story(scene: Scene) -> None:
        scene.watch(services)
        assert scene.fan_in.direct is direct
        assert scene.modes() <= ({None} if direct else {False})

    play(story)


def test_it_blocks_again_when_there_is_room_but_not_at_once() -> None:
    """Each end of a sweep costs a slot for a while."""

    async def story(scene: Scene) -> None:
        scene.watch(9)
        scene.watch(8)
        await asyncio.sleep(4.5)
        assert not scene.fan_in.direct
        await asyncio.sleep(1.0)
        assert scene.fan_in.direct
        assert scene.modes() == {True}
        assert scene.sweep.stopped == 1

    play(story)


def test_room_that_shrinks_is_noticed() -> None:
    """Lingering reads, and an agent that takes no more connections: within a second, and back when it grows."""

    async def story(scene: Scene) -> None:
        scene.watch(8)
        scene.room = 5
        await asyncio.sleep(1.1)
        assert not scene.fan_in.direct
        scene.room = 10
        await asyncio.sleep(5.1)
        assert scene.fan_in.direct

    play(story)


def test_a_catalog_that_moves_concerns_the_sweep_only() -> None:
    """A blocking read sees for itself."""

    async def story(scene: Scene) -> None:
        scene.fan_in.catalog_moved()
        assert scene.sweep.moved == 0
        scene.watch(9)
        scene.fan_in.catalog_moved()
        assert scene.sweep.moved == 1

    play(story)

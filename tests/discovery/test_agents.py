"""Which agent is asked, and who hears of it when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from discovery.agents import Agents
from discovery.consul_client import ConsulClient
from discovery.consul_wire import Read
from discovery.errors import ConnectionLost, DiscoveryError
from tests.discovery.fake_consul import FakeConsul, entry
from tests.support.virtual_time import run_virtual

PATH = "/v1/health/service/orders"


class Scene:
    """Agents a, b and c of one cluster."""

    def __init__(self, count: int = 3) -> None:
        self.consuls = [FakeConsul() for _ in range(count)]
        self.moves: list[tuple[str, str]] = []
        clients = [ConsulClient(f"http://{name}", transport=one) for name, one in zip("abc", self.consuls, strict=False)]
        self.agents = Agents(clients, lambda left, taken: self.moves.append((left[-1], taken[-1])))
        for consul in self.consuls:
            consul.put("orders", entry(1))

    async def read(self, index: int = 0) -> str:
        """Which kind of answer comes."""
        try:
            return str((await self.agents.ask(PATH, Read(index, 30.0))).status)
        except DiscoveryError as error:
            return error.kind


def play(story: Callable[[Scene], Awaitable[None]], count: int = 3) -> None:
    async def whole() -> None:
        scene = Scene(count)
        await story(scene)
        await scene.agents.aclose()
        await scene.agents.aclose()

    run_virtual(whole())


def test_the_choice_is_sticky() -> None:
    """The first one, for as long as it answers; the next one, from then on; and round."""

    async def story(scene: Scene) -> None:
        assert [await scene.read() for _ in range(3)] == ["200"] * 3
        assert [len(consul.reads) for consul in scene.consuls] == [3, 0, 0]
        scene.consuls[0].down = True
        assert [await scene.read() for _ in range(3)] == ["unreachable", "200", "200"]
        scene.consuls[0].down = False
        assert await scene.read() == "200"
        assert [len(consul.reads) for consul in scene.consuls] == [4, 3, 0]
        scene.consuls[1].down = scene.consuls[2].down = True
        assert [await scene.read() for _ in range(3)] == ["unreachable", "unreachable", "200"]
        assert scene.moves == [("a", "b"), ("b", "c"), ("c", "a")]
        assert repr(scene.agents) == "<Agents http://a of 3>"

    play(story)


@pytest.mark.parametrize(("status", "moves"), [(500, 1), (403, 0), (400, 0), (429, 0)])
def test_only_an_outage_moves(status: int, moves: int) -> None:
    """A refusal would be the same everywhere."""

    async def story(scene: Scene) -> None:
        scene.consuls[0].status = status
        assert await scene.read() == str(status)
        assert len(scene.moves) == moves

    play(story)


def test_what_hangs_at_a_silent_agent_is_called_away() -> None:
    """One read has timed out, so the others need not wait for it; their slots stay taken there."""

    async def story(scene: Scene) -> None:
        hanging = [asyncio.create_task(scene.read(10_000)) for _ in range(3)]
        await asyncio.sleep(1.0)
        scene.consuls[0].error = httpx.ReadTimeout("silence")
        assert await scene.read() == "timeout"
        assert await asyncio.gather(*hanging) == ["connection_lost"] * 3
        assert asyncio.get_running_loop().time() == 1001.0
        assert scene.moves == [("a", "b")]
        assert scene.agents.slots_in_use() == 3
        assert scene.consuls[0].blocked == 0
        assert await scene.read() == "200"

    play(story)


def test_a_cluster_without_a_leader_interrupts_nobody() -> None:
    """Stale reads still answer: what blocks goes on, wherever it is."""

    async def story(scene: Scene) -> None:
        hanging = asyncio.create_task(scene.read(scene.consuls[0].index))
        await asyncio.sleep(1.0)
        scene.consuls[0].refused_modes = frozenset({"stale"})
        assert await scene.read() == "500"
        scene.consuls[0].put("orders", entry(1), entry(2))
        assert await hanging == "200"

    play(story)


def test_the_failures_of_one_agent_move_once() -> None:
    """Eighty reads end together when it dies; the next agent must not pay for that."""

    async def story(scene: Scene) -> None:
        hanging = [asyncio.create_task(scene.read(10_000)) for _ in range(80)]
        await asyncio.sleep(1.0)
        scene.consuls[0].kill()
        assert set(await asyncio.gather(*hanging)) == {"connection_lost"}
        assert scene.moves == [("a", "b")]
        assert scene.agents.room() == 82

    play(story)


def test_a_single_agent_has_no_other() -> None:
    """It is asked again, and nobody is told of a move."""

    async def story(scene: Scene) -> None:
        scene.consuls[0].error = httpx.ReadError("reset")
        with pytest.raises(ConnectionLost):
            await scene.agents.ask(PATH, Read())
        scene.consuls[0].error = None
        assert await scene.read() == "200"
        assert scene.moves == []

    play(story, count=1)

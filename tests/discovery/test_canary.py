"""What a token that sees too little looks like."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from discovery.canary import AGAIN_S, SELDOM_S, Canary, diagnose
from discovery.consul_wire import Read, Reply
from tests.support.virtual_time import run_virtual


@pytest.mark.parametrize(
    ("services", "nodes", "verdict"),
    [
        (["consul"], ["n1"], None),
        (["orders"], ["n1"], None),
        ([], ["n1"], "no services, not even its own: the token needs service:read ("),
        (["consul", "orders"], [], "no nodes, not even its own: the token needs node:read ("),
        ([], [], "no services and no nodes, not even its own: the token needs service:read and node:read ("),
    ],
)
def test_the_missing_rule_is_named(services: list[str], nodes: list[str], verdict: str | None) -> None:
    """By the list that is empty, which none ever is."""
    told = diagnose(services, nodes)
    assert told is None if verdict is None else verdict in str(told)


class Registry:
    """Shows what it is told to show."""

    def __init__(self) -> None:
        self.services: dict[str, list[str]] = {"consul": []}
        self.nodes: list[dict[str, str]] = [{"Node": "n1"}]
        self.status = 200
        self.reads = 0

    async def ask(self, path: str, _read: Read) -> Reply:
        self.reads += 1
        return Reply(self.status, json.dumps(self.nodes if path.endswith("nodes") else self.services).encode(), "7")


def play(story: Callable[[Registry, Canary], Awaitable[None]]) -> None:
    async def whole() -> None:
        registry = Registry()
        canary = Canary(registry.ask, asyncio.get_running_loop().time)
        await story(registry, canary)
        task = canary.stop()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)
        assert canary.stop() is None

    run_virtual(whole())


def test_an_empty_service_may_just_be_empty() -> None:
    """One look a minute, however often it is suspected; and until the next one nobody doubts what is known."""

    async def story(registry: Registry, canary: Canary) -> None:
        canary.suspect()
        assert canary.doubtful
        for _ in range(int(SELDOM_S) - 1):
            await asyncio.sleep(1.0)
            canary.suspect()
            assert not canary.doubtful
        assert (canary.blind, registry.reads) == (None, 2)
        await asyncio.sleep(1.5)
        assert (canary.doubtful, registry.reads) == (False, 4)

    play(story)


def test_who_has_shown_an_instance_is_not_doubted_before_a_look_has_ended() -> None:
    """The last instance leaves: nothing is taken back while the first look is under way, all of it if that finds nothing."""

    async def story(registry: Registry, canary: Canary) -> None:
        registry.nodes = []
        canary.sees()
        canary.suspect()
        assert not canary.doubtful
        await asyncio.sleep(0.1)
        assert canary.doubtful

    play(story)


def test_what_looks_blind_just_after_a_look_is_not_forgotten() -> None:
    """A token that is narrowed then is found out a minute later, though nothing else happens that would wake us."""

    async def story(registry: Registry, canary: Canary) -> None:
        canary.suspect()
        await asyncio.sleep(1.0)
        registry.nodes = []
        canary.suspect()
        await asyncio.sleep(SELDOM_S)
        assert "node:read" in str(canary.blind)

    play(story)


def test_who_is_blind_looks_until_it_sees(caplog: pytest.LogCaptureFixture) -> None:
    """One line when it is found out, one when it is over, though nothing woke it."""

    async def story(registry: Registry, canary: Canary) -> None:
        registry.nodes = []
        canary.suspect()
        await asyncio.sleep(AGAIN_S * 4.5)
        assert "node:read" in str(canary.blind)
        assert canary.doubtful
        registry.nodes = [{"Node": "n1"}]
        await asyncio.sleep(AGAIN_S)
        assert canary.blind is None
        assert registry.reads == 12

    play(story)
    assert [record.getMessage()[:25] for record in caplog.records] == ["Consul shows no nodes, no", "the token shows services "]


def test_an_outage_says_nothing_about_tokens() -> None:
    """Neither that it is blind, nor that it is not."""

    async def story(registry: Registry, canary: Canary) -> None:
        registry.status = 500
        canary.suspect()
        await asyncio.sleep(1.0)
        assert (canary.blind, canary.doubtful) == (None, False)
        registry.status, registry.services = 200, {}
        canary.suspect()
        await asyncio.sleep(1.0)
        registry.status = 500
        await asyncio.sleep(60.0)
        assert "service:read" in str(canary.blind)

    play(story)

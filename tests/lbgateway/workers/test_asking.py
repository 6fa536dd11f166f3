"""A question to all workers."""

from __future__ import annotations

import asyncio

import pytest

from lbgateway.workers import asking
from lbgateway.workers.asking import Asking


class Workers:
    """Those who will answer, and the questions so far."""

    def __init__(self, *who: int) -> None:
        self.who = list(who)
        self.asked: list[int] = []
        self.asking = Asking(self.ask)

    def ask(self, number: int) -> list[int]:
        self.asked.append(number)
        return self.who


async def soon(task: asyncio.Task[None]) -> bool:
    """Whether it is done after all that can be done now."""
    for _ in range(10):
        await asyncio.sleep(0)
    return task.done()


async def test_it_ends_when_all_have_answered():
    """Not before; an answer to another question is none."""
    workers = Workers(0, 1)
    question = asyncio.create_task(workers.asking.all())
    assert not await soon(question)
    for number, who in ((0, 0), (None, 1), (7, 1)):
        workers.asking.answered(number, who)
        assert not await soon(question)
    workers.asking.answered(0, 1)
    assert await soon(question)


async def test_who_asks_meanwhile_is_answered_together_with_others():
    """By a question that was asked later than they did: what they want to know has happened before it."""
    workers = Workers(0)
    first, *later = [asyncio.create_task(workers.asking.all()) for _ in range(5)]
    assert not await soon(first)
    assert workers.asked == [0]
    workers.asking.answered(0, 0)
    assert await soon(first)
    assert workers.asked == [0, 1]
    assert not any(task.done() for task in later)
    workers.asking.answered(1, 0)
    assert [await soon(task) for task in later] == [True] * 4


async def test_nobody_waits_for_who_has_left():
    """Nor for nobody at all."""
    workers = Workers(0, 1)
    question = asyncio.create_task(workers.asking.all())
    await soon(question)
    workers.asking.answered(0, 0)
    workers.asking.left(1)
    assert await soon(question)
    workers.who = []
    await workers.asking.all()


async def test_who_hangs_is_waited_for_a_while_only(monkeypatch: pytest.MonkeyPatch):
    """And the next question is asked all the same."""
    monkeypatch.setattr(asking, "ANSWER_S", 0.01)
    workers = Workers(0)
    await workers.asking.all()
    await workers.asking.all()
    assert workers.asked == [0, 1]


async def test_who_does_not_wait_any_longer_ends_nobody_s_question():
    """A client that has left, while another one waits for the same answers."""
    workers = Workers(0)
    first, second, third = [asyncio.create_task(workers.asking.all()) for _ in range(3)]
    await soon(first)
    first.cancel()
    second.cancel()
    await soon(second)
    workers.asking.answered(0, 0)
    await soon(third)
    workers.asking.answered(1, 0)
    assert await soon(third)
    assert not third.cancelled()

"""The account of blocking reads, as the agent keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from hypothesis import given
from hypothesis import strategies as st

from discovery.budget import LEAST, PLAIN, SOCKETS, Budgets, SlotBudget
from tests.support.virtual_time import run_virtual


class Clock:
    """A clock to be set by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def play(story: Callable[[SlotBudget], Awaitable[None]], slots: int = 2) -> None:
    async def whole() -> None:
        await story(SlotBudget(slots, clock=asyncio.get_running_loop().time))

    run_virtual(whole())


def test_all_kinds_of_connections_fit_into_one_budget() -> None:
    """Slots for blocking reads and connections for the others together are never more than the sockets."""
    assert SlotBudget(clock=Clock()).slots + PLAIN == SOCKETS == 90


def test_a_slot_is_waited_for() -> None:
    """First come, first served, when one is given back."""

    async def story(budget: SlotBudget) -> None:
        order: list[str] = []

        async def read(name: str, seconds: float) -> None:
            await budget.take()
            order.append(name)
            await asyncio.sleep(seconds)
            budget.give_back()

        began_s = asyncio.get_running_loop().time()
        await asyncio.gather(read("a", 5), read("b", 3), read("c", 1), read("d", 1))
        assert order == ["a", "b", "c", "d"]
        assert asyncio.get_running_loop().time() - began_s == 5.0
        assert repr(budget) == "<SlotBudget 0 of 2>"

    play(story)


def test_an_abandoned_slot_is_free_when_its_wait_is_over() -> None:
    """Nobody gives it back: its end is waited for."""

    async def story(budget: SlotBudget) -> None:
        loop = asyncio.get_running_loop()
        for until_s in (1030.0, 1020.0):
            await budget.take()
            budget.linger(until_s)
        assert (budget.in_use(), budget.lingering(), budget.room()) == (2, 2, 0)
        await budget.take()
        assert 1020.0 <= loop.time() < 1020.1
        assert (budget.in_use(), budget.lingering(), budget.room()) == (2, 1, 1)

    play(story)


def test_whoever_gives_up_waiting_holds_nobody_up() -> None:
    """The next in the queue gets the slot, even if the one before was called and cancelled in the same moment."""

    async def story(budget: SlotBudget) -> None:
        await budget.take()
        first, second = (asyncio.create_task(budget.take()) for _ in range(2))
        await asyncio.sleep(0)
        budget.give_back()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await asyncio.wait_for(second, 1.0)
        assert budget.in_use() == 1

    play(story, slots=1)


def test_an_agent_that_ended_holds_nothing() -> None:
    """Its slots are free at once, and who waits for one is called."""

    async def story(budget: SlotBudget) -> None:
        await budget.take()
        budget.linger(2000.0)
        waiting = asyncio.create_task(budget.take())
        await asyncio.sleep(1.0)
        budget.clear()
        await asyncio.wait_for(waiting, 0.1)

    play(story, slots=1)


def test_a_squeeze_is_what_goes_on_elsewhere() -> None:
    """Not below what a sweep needs, and over with its time, with the agent, or when it turns out that nothing goes on."""
    clock = Clock()
    budget = SlotBudget(20, clock=clock)
    for _ in range(10):
        asyncio.run(budget.take())
    budget.squeeze(1030.0)
    assert budget.room() == 10
    clock.now_s = 1031.0
    assert budget.room() == 20
    for _ in range(9):
        budget.give_back()
    budget.squeeze(1060.0)
    assert budget.room() == LEAST
    budget.linger(1032.0)
    assert budget.room() == 19
    budget.squeeze(1060.0)
    assert budget.room() == 19


def test_one_account_per_agent() -> None:
    """However many sources there are, and whenever."""
    budgets = Budgets(clock=Clock())
    assert budgets.of("http://a") is budgets.of("http://a")
    assert budgets.of("http://a") is not budgets.of("http://b")


@given(st.lists(st.tuples(st.sampled_from(["take", "back", "linger", "wait", "squeeze", "clear"]), st.floats(0.1, 60))))
def test_the_books_always_balance(history: list[tuple[str, float]]) -> None:
    """Over any history: never more slots than there are, none lost, and room for no more than is free."""

    async def story() -> None:
        clock, active = Clock(), 0
        budget = SlotBudget(5, clock=clock)
        for step, number in history:
            if step == "take" and budget.in_use() < 5:
                await budget.take()
                active += 1
            elif step == "back" and active:
                budget.give_back()
                active -= 1
            elif step == "linger" and active:
                budget.linger(clock.now_s + number)
                active -= 1
            elif step == "wait":
                clock.now_s += number
            elif step == "squeeze":
                budget.squeeze(clock.now_s + number)
            elif step == "clear":
                budget.clear()
            assert active <= budget.in_use() <= 5
            assert 0 <= budget.room() <= 5
        clock.now_s += 100.0
        assert budget.in_use() == active

    asyncio.run(story())

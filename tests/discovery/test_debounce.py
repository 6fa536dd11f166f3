"""What is told at once, and what may wait for more of its kind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from discovery.debounce import Debouncer, is_urgent
from discovery.instance import Instance, InstanceKey, InstanceState, Snapshot, SnapshotState
from tests.support.virtual_time import run_virtual


def instance(number: int, **more: object) -> Instance:
    return replace(Instance(InstanceKey("consul", "dc1", "", "n1", f"o{number}"), "orders", "10.0.0.1", 9000 + number), **more)  # type: ignore[arg-type] any field


def snapshot(*instances: Instance, version: int = 1, state: SnapshotState = SnapshotState.FRESH) -> Snapshot:
    return Snapshot("orders", version, instances, 7, 0.0, state)


ONE, TWO = instance(1), instance(2)
WARNING, SUSPECT, CRITICAL, MAINTENANCE = (
    InstanceState.WARNING,
    InstanceState.SUSPECT,
    InstanceState.CRITICAL,
    InstanceState.MAINTENANCE,
)


@pytest.mark.parametrize(
    ("before", "after", "urgent"),
    [
        ([ONE], [ONE, TWO], False),
        ([ONE], [instance(1, weight=5)], False),
        ([ONE], [instance(1, meta={"a": "b"})], False),
        ([ONE], [instance(1, state=WARNING)], False),
        ([instance(1, state=CRITICAL)], [ONE], False),
        ([instance(1, state=SUSPECT)], [ONE], False),
        ([instance(1, state=CRITICAL)], [instance(1, state=MAINTENANCE)], False),
        ([ONE, TWO], [ONE], True),
        ([ONE, TWO], [ONE, instance(3)], True),
        ([ONE], [instance(1, state=CRITICAL)], True),
        ([ONE], [instance(1, state=MAINTENANCE)], True),
        ([ONE], [instance(1, state=SUSPECT)], True),
        ([instance(1, state=SUSPECT)], [instance(1, state=CRITICAL)], True),
        ([ONE], [instance(1, weight=0)], True),
        ([ONE], [instance(1, port=1)], True),
        ([instance(1, state=CRITICAL)], [], True),
    ],
)
def test_what_takes_traffic_away_is_urgent(before: list[Instance], after: list[Instance], *, urgent: bool) -> None:
    """What adds some, or changes how it is shared, is not."""
    assert is_urgent(snapshot(*before), snapshot(*after)) is urgent


def test_the_first_snapshot_and_a_change_of_state_are_urgent() -> None:
    """Requests wait for the one; operators look at the other."""
    assert is_urgent(None, snapshot())
    assert is_urgent(snapshot(ONE), snapshot(ONE, state=SnapshotState.STALE))


def play(story: Callable[[Debouncer, list[tuple[float, int]]], Awaitable[None]]) -> None:
    async def whole() -> None:
        loop = asyncio.get_running_loop()
        told: list[tuple[float, int]] = []
        debouncer = Debouncer(lambda s: told.append((round(loop.time() - 1000.0, 3), len(s.instances))), loop.time)
        debouncer.offer(snapshot())
        assert told.pop() == (0.0, 0)
        await story(debouncer, told)

    run_virtual(whole())


def test_a_burst_of_good_news_is_told_at_its_end() -> None:
    """25 ms after the last of it."""

    async def story(debouncer: Debouncer, told: list[tuple[float, int]]) -> None:
        for count in range(1, 6):
            debouncer.offer(snapshot(*map(instance, range(count)), version=count))
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.0)
        assert told == [(0.065, 5)]

    play(story)


def test_a_burst_without_an_end_is_told_in_parts() -> None:
    """Nobody waits for more than 250 ms."""

    async def story(debouncer: Debouncer, told: list[tuple[float, int]]) -> None:
        for count in range(1, 61):
            debouncer.offer(snapshot(*map(instance, range(count)), version=count))
            await asyncio.sleep(0.01)
        assert [at_s for at_s, _ in told] == pytest.approx([0.25, 0.51], abs=0.011)

    play(story)


def test_bad_news_takes_the_good_ones_along() -> None:
    """At once, and nothing is told twice."""

    async def story(debouncer: Debouncer, told: list[tuple[float, int]]) -> None:
        debouncer.offer(snapshot(ONE))
        await asyncio.sleep(0.1)
        debouncer.offer(snapshot(ONE, TWO))
        debouncer.offer(snapshot(TWO))
        await asyncio.sleep(1.0)
        assert told == [(0.025, 1), (0.1, 1)]

    play(story)


def test_another_listener_hears_at_once_and_a_stopped_one_nothing() -> None:
    """What waits is told with it."""

    async def story(debouncer: Debouncer, told: list[tuple[float, int]]) -> None:
        later: list[Snapshot] = []
        debouncer.offer(snapshot(ONE))
        debouncer.replace(later.append)
        assert [len(s.instances) for s in later] == [1]
        debouncer.offer(snapshot(ONE, TWO))
        debouncer.stop()
        await asyncio.sleep(1.0)
        assert (len(later), told) == (1, [])

    play(story)


def test_before_anything_is_known_nothing_is_told() -> None:
    """Not even to another listener."""
    told: list[Snapshot] = []
    Debouncer(told.append, lambda: 0.0).replace(told.append)
    assert told == []

"""The store on a real Redis: batches, the script's arithmetic, outages and ways back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Self

import pytest
from structlog.testing import capture_logs

from lbgateway.config.store_address import parse_store
from lbgateway.policies.gcra import Limit
from lbgateway.policies.wait import Flight
from lbgateway.ratelimit.redis_store import KEYS_PER_CALL, RedisStore
from lbgateway.ratelimit.share import Share, pace_of
from lbgateway.redis_client import redis_client
from tests.support.redis_server import RedisServer

HOURLY = Limit(100, 3600.0, 100)


def share_of(name: str, limit: Limit = HOURLY) -> Share:
    return Share(name, pace_of(limit), asyncio.get_running_loop().time(), epoch=0)


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 what is awaited happens in another process
            await asyncio.sleep(0.01)


async def answered(store: RedisStore, *shares: Share) -> None:
    """Ask until the answer is there: this machine may be so busy that it comes too late."""
    left = {share: share.heard_at_s for share in shares}
    while left:
        for share in left:
            store.ask(share)
        await until(lambda: not any(share.asked for share in shares))
        left = {share: heard_at_s for share, heard_at_s in left.items() if share.heard_at_s == heard_at_s}


class Waiter:
    """Somebody who waits."""

    def __init__(self) -> None:
        self.landed = False

    def on_landed(self) -> None:
        self.landed = True


def waiting(share: Share, count: int) -> list[Waiter]:
    share.flight = Flight()
    waiters = [Waiter() for _ in range(count)]
    for waiter in waiters:
        share.flight.join(waiter)
    return waiters


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    store = RedisStore(parse_store(redis_server.url), on_failure="local", gateways=lambda: 1)
    store.start()
    yield store
    await store.aclose()


async def commands(store: RedisStore) -> dict[str, int]:
    client = redis_client(store.address, timeout_s=2.0)
    stats = await client.info("commandstats")
    await client.aclose()
    return {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}


async def test_reports_of_two_gateways_add_up(store):
    """Each hears of what the other has let pass, and what it wants is granted from what is left."""
    here, there = share_of("a"), share_of("a")
    here.spent = 60
    await answered(store, here)
    there.spent, waiters = 30, waiting(there, 20)

    await answered(store, there)

    assert (here.spent, here.granted) == (0, 0)
    assert there.granted == 10
    assert all(waiter.landed for waiter in waiters)
    await answered(store, here)
    assert here.full_at_s - here.heard_at_s == pytest.approx(3600.0, abs=2.0)


async def test_time_brings_back_what_was_used(store):
    """By the server's clock."""
    share = share_of("b", Limit(100, 1.0, 100))
    share.spent = 100
    await answered(store, share)
    await asyncio.sleep(0.3)
    waiting(share, 100)
    await answered(store, share)
    assert 25 <= share.granted <= 70


async def test_too_much_at_once_is_missing_afterwards_but_not_for_ever(store):
    """Two bursts of debt at most."""
    share = share_of("c")
    share.spent = 100_000
    await answered(store, share)
    assert share.full_at_s - share.heard_at_s == pytest.approx(7200.0, abs=2.0)


async def test_what_is_due_together_is_asked_together(store):
    """One script call for many clients; nothing in it takes a call for each request."""
    shares = [share_of(f"d{number}") for number in range(250)]
    for share in shares:
        share.spent = 1
    before = await commands(store)
    await answered(store, *shares)
    after = await commands(store)
    calls = after.get("evalsha", 0) - before.get("evalsha", 0)
    assert calls <= 2 * (250 // KEYS_PER_CALL + 1)
    assert all(share.spent == 0 for share in shares)


async def test_questions_that_are_not_urgent_gather(store):
    """Clients far from their limits share a command however apart they come, and one who waits takes all along at once."""
    shares = [share_of(f"i{number}", Limit(100, 60.0, 100)) for number in range(40)]
    await answered(store, *shares)
    before = await commands(store)
    for share in shares:
        share.spent, share.heard_at_s = 1, share.heard_at_s - 10.0
    for share in shares[:20]:
        store.ask(share)
        await asyncio.sleep(0)
    await until(lambda: not any(share.asked for share in shares))
    for share in shares[20:]:
        store.ask(share)
        await asyncio.sleep(0)
    assert all(share.asked for share in shares[20:])
    waiters = waiting(shares[20], 1)
    store.hurry()
    await until(lambda: waiters[0].landed)
    assert not any(share.asked for share in shares)
    assert (await commands(store))["evalsha"] - before.get("evalsha", 0) <= 4


async def test_a_forgotten_script_is_sent_again(store):
    """A server that was restarted does not know it; nothing is counted twice."""
    share = share_of("e")
    share.spent = 5
    await answered(store, share)
    client = redis_client(store.address, timeout_s=2.0)
    await client.script_flush()
    await client.aclose()
    share.spent = 5
    await answered(store, share)
    assert share.full_at_s - share.heard_at_s == pytest.approx(360.0, abs=2.0)


async def test_a_killed_store_is_noticed_and_its_return_too(store, redis_server):
    """Without any request; what was learnt of an earlier life is not believed any more."""
    await answered(store, share_of("x"))
    redis_server.kill()
    await until(lambda: store.down)
    assert store.last_error
    redis_server.start()
    await until(lambda: not store.down, 5.0)
    assert (store.epoch, store.last_error) == (1, None)


@pytest.mark.alone
async def test_nobody_waits_for_a_store_that_hangs(store, redis_server):
    """Those who wait are let go after three milliseconds, and nobody else begins to."""
    share = share_of("f")
    await answered(store, share)
    redis_server.pause()
    waiters = waiting(share, 3)
    begun_s = asyncio.get_running_loop().time()
    store.ask(share)
    await until(lambda: all(waiter.landed for waiter in waiters))
    took_s = asyncio.get_running_loop().time() - begun_s
    redis_server.resume()
    assert took_s < 0.2
    assert store.late
    await until(lambda: not share.asked)


async def test_a_store_that_never_was_there_is_down_at_once():
    """The gateway starts all the same."""
    store = RedisStore(parse_store("redis://127.0.0.1:1"), on_failure="open", gateways=lambda: 1)
    store.start()
    await until(lambda: store.down)
    assert repr(store) == "<RedisStore <StoreAddress single 127.0.0.1:1> down due=0>"
    await store.aclose()


async def test_who_waits_when_the_gateway_ends_is_let_go(store):
    """Nothing is left hanging."""
    share = share_of("g")
    waiters = waiting(share, 2)
    store.ask(share)
    await store.aclose()
    assert all(waiter.landed for waiter in waiters)


class Nonsense:
    """A server that answers with something else."""

    def pipeline(self, **_: object) -> Nonsense:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""

    def execute_command(self, *_: object) -> None:
        """It is not listening."""

    async def execute(self, **_: object) -> list[list[int]]:
        return [[1]]

    async def ping(self) -> None:
        """It is there."""

    aclose = ping


async def test_a_bug_holds_up_nobody():
    """Who waits is let go, and what comes after is asked for as before."""
    store = RedisStore(parse_store("redis://h"), on_failure="local", gateways=lambda: 1, client=Nonsense())  # type: ignore[arg-type]  # as above
    store.start()
    for _ in range(2):
        share = share_of("h")
        waiters = waiting(share, 2)
        store.ask(share)
        with capture_logs() as logs:
            await until(lambda share=share: not share.asked)
        assert all(waiter.landed for waiter in waiters)
        assert logs[0]["event"] == "a bug while limits are shared"
    await store.aclose()

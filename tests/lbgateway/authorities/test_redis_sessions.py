"""Sessions in a real Redis: what is there, for how long, and what is asked for a crowd."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from lbgateway.authorities import redis_sessions
from lbgateway.authorities.asking import Unanswered
from lbgateway.authorities.redis_sessions import MOST_AT_ONCE, RedisSessions
from lbgateway.policies.testimony import MAX_BYTES, Fails, Holds
from tests.support.redis_server import RedisServer

PASSWORD = "s3cret"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer(options=("--requirepass", PASSWORD)) as running:
        yield running


@pytest.fixture
def store(server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis(port=server.port, password=PASSWORD) as client:
        client.flushall()
        client.config_resetstat()
        yield client


@pytest.fixture
async def sessions(server: RedisServer, store: redis.Redis) -> AsyncIterator[RedisSessions]:
    made = RedisSessions(f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0", "app:")
    yield made
    await made.asking.aclose()


async def test_a_session_is_what_the_application_wrote(store, sessions):
    """JSON, or not: it is there. What has another type is none."""
    store.set("app:ann", json.dumps({"sub": "ann", "scope": "a b"}))
    store.set("app:pickled", b"\x80\x04")
    store.hset("app:hash", "sub", "ann")
    store.set("ann", json.dumps({"sub": "without the prefix"}))
    store.set("app:large", b"x" * (MAX_BYTES + 1))

    assert await sessions._ask(b"ann") == Holds({"sub": "ann", "scope": "a b"}, math.inf)
    assert await sessions._ask(b"pickled") == Holds({}, math.inf)
    for name in (b"nobody", b"hash", b"large", b"*", b""):
        assert await sessions._ask(name) == Fails("session")


async def test_no_memory_outlives_the_session(store, sessions):
    """Redis says for how long it will be there yet."""
    store.set("app:ann", json.dumps({"sub": "ann"}), px=5000)
    found = await sessions._ask(b"ann")
    assert isinstance(found, Holds)
    assert 4.0 < found.for_s <= 5.0


async def test_a_crowd_is_asked_about_together(store, sessions):
    """Over one connection, in a few round trips; each gets its own answer."""
    many = 3 * MOST_AT_ONCE
    for number in range(0, many, 2):
        store.set(f"app:{number}", json.dumps({"sub": str(number)}))
    before = store.info("stats")["total_connections_received"]

    found = await asyncio.gather(*(sessions._ask(b"%d" % number) for number in range(many)))

    assert found == [Holds({"sub": str(n)}, math.inf) if n % 2 == 0 else Fails("session") for n in range(many)]
    assert store.info("stats")["total_connections_received"] - before == 1


async def test_who_does_not_wait_any_more_is_not_asked_about(store, sessions):
    """A question that was given up costs Redis nothing."""
    first = asyncio.ensure_future(sessions._ask(b"first"))
    given_up = asyncio.ensure_future(sessions._ask(b"given up"))
    await asyncio.sleep(0)
    given_up.cancel()
    assert await first == Fails("session")
    assert store.info("commandstats")["cmdstat_getrange"]["calls"] == 1


@pytest.mark.parametrize("password", ["", ":wrong@"])
async def test_a_redis_that_lets_nobody_in_does_not_answer(server, password):
    """It is no session's fault, and the password is in no message."""
    made = RedisSessions(f"redis://{password}127.0.0.1:{server.port}/0", "app:")
    for question in (made._ask(b"ann"), made._ping()):
        with pytest.raises(Unanswered) as refused:
            await question
        assert "wrong" not in str(refused.value).replace("wrong number", "").replace("WRONGPASS", "")
    await made.asking.aclose()


async def test_what_a_user_may_not_read_is_no_answer(server, store):
    """Rights in Redis that do not fit are a mistake of the operator, not of clients."""
    store.acl_setuser("reader", enabled=True, passwords=["+pw"], keys=["other:*"], commands=["+@read", "+ping"])
    made = RedisSessions(f"redis://reader:pw@127.0.0.1:{server.port}/0", "app:")
    with pytest.raises(Unanswered):
        await made._ask(b"ann")
    await made._ping()
    await made.asking.aclose()


async def test_nobody_there_is_no_answer():
    """Neither for a question nor for a probe; the log's name for it tells the place and no password."""
    made = RedisSessions("redis://ops:s3cret@127.0.0.1:1/0", "app:")
    assert made.asking.what == "the sessions in Redis at 127.0.0.1:1"
    sentinels = RedisSessions("redis+sentinel://:s3cret@h1,h2:5/mymaster", "app:")
    assert sentinels.asking.what == "the sessions in Redis at h1:26379,h2:5 mymaster"
    await sentinels.asking.aclose()
    for question in (made._ask(b"ann"), made._ping()):
        with pytest.raises(Unanswered, match="connecting to 127"):
            await question
    await made.asking.aclose()


async def test_an_answer_without_an_end_is_none(monkeypatch: pytest.MonkeyPatch):
    """Each byte comes in time, but nobody is asked about afterwards until that is over."""

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while not gone.is_set():
                writer.write(b"+")
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        gone.set()

    gone = asyncio.Event()
    monkeypatch.setattr(redis_sessions, "WITHIN_S", 0.2)
    async with await asyncio.start_server(drip, "127.0.0.1", 0) as dripping:
        sessions = RedisSessions(f"redis://127.0.0.1:{dripping.sockets[0].getsockname()[1]}/0", "app:")
        async with asyncio.timeout(5):
            with pytest.raises(Unanswered):
                await sessions._ask(b"ann")
            await sessions.asking.aclose()
            await gone.wait()

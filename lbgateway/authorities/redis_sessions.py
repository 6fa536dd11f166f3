"""Sessions in a Redis (``auth.session.store``), as an application has written them there: JSON under a prefix and the session's id.

All that is asked within one round trip goes together in the next: over one connection, or one to each node of a cluster,
whatever the crowd. GETRANGE bounds what a session may bring; PTTL says how long it is there yet, so that no memory outlives it.
"""

from __future__ import annotations

import asyncio
import time
from math import inf
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from lbgateway.authorities.asking import Asking, Unanswered
from lbgateway.config.store_address import parse_store
from lbgateway.policies.testimony import MAX_BYTES, Fails, Testimony, of_stored
from lbgateway.redis_client import FAILURES, close_client, redis_client

if TYPE_CHECKING:
    from collections.abc import Sequence

WITHIN_S = 1.0
"""A question, waiting for its turn included."""
ROUND_TRIP_S = 0.5
MOST_AT_ONCE = 200


class RedisSessions:
    """Asks the Redis at `url`, of any kind, about session ids that are known to be clean."""

    def __init__(self, url: str, prefix: str) -> None:
        address = parse_store(url)
        # A connection that Redis has closed meanwhile is worth a second try; a silent one is not.
        self._redis = redis_client(address, timeout_s=ROUND_TRIP_S, again=True)
        self._prefix = prefix.encode()
        self._waiting: list[tuple[bytes, asyncio.Future[Testimony]]] = []
        self._asking: asyncio.Task[None] | None = None
        what = f"the sessions in Redis at {address.places}"
        self.asking = Asking(what, self._ask, within_s=WITHIN_S, kind="redis", probe=self._ping, close=self._aclose)

    async def _ask(self, session_id: bytes) -> Testimony:
        answer: asyncio.Future[Testimony] = asyncio.get_running_loop().create_future()
        self._waiting.append((session_id, answer))
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask_in_turns(), name="sessions")
        return await answer

    async def _ask_in_turns(self) -> None:
        try:
            while self._waiting:
                turn, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
                turn = [(session_id, answer) for session_id, answer in turn if not answer.done()]
                try:
                    answers = await self._fetch([session_id for session_id, _ in turn])
                except FAILURES as error:
                    answers = [Unanswered(str(error) or type(error).__name__)] * len(turn)
                _deliver([answer for _, answer in turn], answers)
        finally:
            self._asking = None

    async def _fetch(self, session_ids: Sequence[bytes]) -> list[Testimony | Unanswered]:
        async with asyncio.timeout(WITHIN_S), self._redis.pipeline(transaction=False) as pipeline:
            for session_id in session_ids:
                key = self._prefix + session_id
                pipeline.getrange(key, 0, MAX_BYTES)
                pipeline.pttl(key)
            told = await pipeline.execute(raise_on_error=False)
        now_s = time.time()
        return [_read(value, ttl, now_s) for value, ttl in zip(told[::2], told[1::2], strict=True)]

    async def _ping(self) -> object:
        try:
            return await self._redis.ping()
        except FAILURES as error:
            raise Unanswered(str(error) or type(error).__name__) from error

    async def _aclose(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        await close_client(self._redis)


def _deliver(waiting: Sequence[asyncio.Future[Testimony]], answers: Sequence[Testimony | Unanswered]) -> None:
    for future, answer in zip(waiting, answers, strict=True):
        if future.done():
            continue
        if isinstance(answer, Unanswered):
            future.set_exception(answer)
        else:
            future.set_result(answer)


def _read(value: object, ttl_ms: object, now_s: float) -> Testimony | Unanswered:
    """The two answers about one key; PTTL is negative for a key without an end, and for none."""
    for each in (value, ttl_ms):
        if isinstance(each, ResponseError) and str(each).startswith("WRONGTYPE"):
            return Fails("session")
        if isinstance(each, Exception):
            return Unanswered(str(each))
    assert isinstance(value, bytes)
    assert isinstance(ttl_ms, int)
    return of_stored(value, ttl_ms / 1000 if ttl_ms >= 0 else inf, now_s)

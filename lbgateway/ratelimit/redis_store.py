"""The store that all gateways share: one task that reports and asks in batches, and knows whether anybody is there.

What is due goes out together, as one script call for up to `KEYS_PER_CALL` clients: at once if somebody waits for it, or soon
will, and otherwise after `share.GATHER_S` at most. What comes while a batch is answered is the next one. A breaker watches
over the calls; while it is open nobody waits for the store, and a call every `PROBE_S` finds out whether it is back.
"""

from __future__ import annotations

import asyncio
import time
from hashlib import sha1
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
from pybreaker import CircuitBreaker, CircuitBreakerError
from redis.exceptions import NoScriptError

from lbgateway.redis_client import FAILURES, close_client, redis_client

if TYPE_CHECKING:
    from collections.abc import Callable

    from lbgateway.config.store_address import StoreAddress
    from lbgateway.policies.wait import Flight
    from lbgateway.ratelimit.share import Share
    from lbgateway.redis_client import Client

log = structlog.get_logger("lbgateway")

SCRIPT = files(__package__).joinpath("script.lua").read_text(encoding="utf-8")
SHA = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
KEYS_PER_CALL = 100
PATIENCE_S, PATIENT_TURNS = 0.003, 3
"""For how long a request waits for an answer, in so many turns of the loop: a turn that takes long is our own fault."""
TIMEOUT_S = 0.25
FAILURES_IN_ROW = 3
PROBE_S = 0.5
IDLE_PROBE_S = 2.0
SECOND = 1_000_000


class Ask(NamedTuple):
    """One share's report and question, as they stood when they went out."""

    share: Share
    spent: int
    wanted: int
    flight: Flight | None


class RedisStore:
    """`gateways` tells how many share the limits when each is on its own. `on_failure`: the contract's ``on_store_failure``."""

    def __init__(self, address: StoreAddress, *, on_failure: str, gateways: Callable[[], int], client: Client | None = None) -> None:
        # for life
        self.address = address
        self.gateways = gateways
        self._client = client if client is not None else redis_client(address, timeout_s=TIMEOUT_S)
        self._keys_per_call = 1 if address.kind == "cluster" else KEYS_PER_CALL
        self._breaker = CircuitBreaker(fail_max=FAILURES_IN_ROW, reset_timeout=PROBE_S * 0.8)
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        # until the next reload
        self.on_failure = on_failure
        # as it goes
        self.down = False
        self.late = False
        """The last answer took so long that nobody waited for it."""
        self.epoch = 0
        """How often it has come back."""
        self.last_error: str | None = None
        self._due: list[Share] = []
        self._gathering: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<RedisStore {self.address!r} {'down' if self.down else 'late' if self.late else 'up'} due={len(self._due)}>"

    # -- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to ask; harmless if that has been done."""
        if not self._tasks:
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self._run(), name="limits"), loop.create_task(self._probe(), name="limits' store")]

    async def aclose(self) -> None:
        """Stop; those who wait decide by themselves."""
        tasks, self._tasks = self._tasks, []
        self._stop_gathering()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._give_up_waiting()
        await close_client(self._client)

    # -- asking --------------------------------------------------------------------------------

    def ask(self, share: Share) -> None:
        """Report and ask for `share` with the next batch, which goes out before its answer is needed."""
        share.asked = True
        self._due.append(share)
        can_wait_s = share.can_wait_s(time.monotonic())
        if can_wait_s <= 0:
            self.hurry()
            return
        loop, gathering = asyncio.get_running_loop(), self._gathering
        at_s = loop.time() + can_wait_s
        if gathering is None or at_s < gathering.when():
            self._stop_gathering()
            self._gathering = loop.call_at(at_s, self.hurry)

    def hurry(self) -> None:
        """Somebody waits: what is due goes out now."""
        self._stop_gathering()
        self._wake.set()

    def _stop_gathering(self) -> None:
        gathering, self._gathering = self._gathering, None
        if gathering is not None:
            gathering.cancel()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._stop_gathering()
            due, self._due = self._due, []
            if due:
                await self._send([self._take(share) for share in due])

    def _take(self, share: Share) -> Ask:
        flight, share.flight = share.flight, None
        return Ask(share, share.spent, flight.waiting if flight is not None else 0, flight)

    async def _send(self, asks: list[Ask]) -> None:
        self._patience = asyncio.get_running_loop().call_later(PATIENCE_S / PATIENT_TURNS, self._on_late, asks, PATIENT_TURNS - 1)
        try:
            answers = await self._call(asks)
        except (*FAILURES, CircuitBreakerError) as error:
            self._failed(error)
            answers = []
        except asyncio.CancelledError:
            self._settle(asks, [])
            raise
        except Exception as error:
            log.exception("a bug while limits are shared")
            self._failed(error)
            answers = []
        in_time = self._in_time()
        if answers and in_time:
            self.late = False
        self._settle(asks, answers)

    async def _call(self, asks: list[Ask]) -> list[tuple[int, int]]:
        with self._breaker.calling():
            async with asyncio.timeout(TIMEOUT_S):
                calls = [asks[start : start + self._keys_per_call] for start in range(0, len(asks), self._keys_per_call)]
                replies = await self._evaluate([_arguments(call) for call in calls])
        self._answered()
        numbers = [number for reply in replies for number in reply]
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    async def _evaluate(self, calls: list[tuple[Any, ...]]) -> list[list[int]]:
        """One pipeline; what a server does not know the script for is asked again, with it, and nothing else is."""
        replies = await self._pipeline([("EVALSHA", SHA, *call) for call in calls])
        unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            again = await self._pipeline([("EVAL", SCRIPT, *calls[index]) for index in unknown])
            for index, reply in zip(unknown, again, strict=True):
                replies[index] = reply
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    async def _pipeline(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return await pipeline.execute(raise_on_error=False)

    def _settle(self, asks: list[Ask], answers: list[tuple[int, int]]) -> None:
        """Let all know; without answers they are as wise as before."""
        now_s = time.monotonic()
        for index, ask in enumerate(asks):
            ask.share.asked = False
            if answers:
                ahead, granted = answers[index]
                ask.share.hear(ask.spent, ahead / SECOND, granted, now_s)
        for ask in asks:
            _land(ask.flight)
        # Who came while this was under way waits for the next one.
        for ask in asks:
            if ask.share.flight is not None and not ask.share.asked:
                self.ask(ask.share)

    # -- lateness ------------------------------------------------------------------------------

    def _in_time(self) -> bool:
        """Whether nobody has lost patience with the batch that has ended."""
        patience, self._patience = self._patience, None
        if patience is not None:
            patience.cancel()
        return patience is not None

    def _on_late(self, asks: list[Ask], turns: int) -> None:
        if turns:
            self._patience = asyncio.get_running_loop().call_later(PATIENCE_S / PATIENT_TURNS, self._on_late, asks, turns - 1)
            return
        self._patience, self.late = None, True
        for ask in asks:
            _land(ask.flight)
            _land(_taken_flight(ask.share))
        self._give_up_waiting()

    def _give_up_waiting(self) -> None:
        self.late = True
        for share in self._due:
            _land(_taken_flight(share))

    # -- whether anybody is there --------------------------------------------------------------

    async def _probe(self) -> None:
        """Notice an outage, and its end, when no request does."""
        while True:
            await self._look()
            await asyncio.sleep(IDLE_PROBE_S if self.last_error is None else PROBE_S)

    async def _look(self) -> None:
        try:
            with self._breaker.calling():
                async with asyncio.timeout(TIMEOUT_S):
                    await self._client.ping()
            self._answered()
        except (*FAILURES, CircuitBreakerError) as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self.late = True
        if not isinstance(error, CircuitBreakerError):
            self.last_error = str(error) or f"no answer within {TIMEOUT_S:g} s"
        if not self.down and self._breaker.current_state != "closed":
            self.down = True
            log.warning("the limits' store is down", on_store_failure=self.on_failure, error=self.last_error)
            self._give_up_waiting()

    def _answered(self) -> None:
        if self.down:
            self.down = self.late = False
            self.epoch += 1
            log.info("the limits' store is back: limits are shared again")
        self.last_error = None


def _taken_flight(share: Share) -> Flight | None:
    flight, share.flight = share.flight, None
    return flight


def _land(flight: Flight | None) -> None:
    if flight is not None and not flight.landed:
        flight.land()


def _arguments(asks: list[Ask]) -> tuple[Any, ...]:
    numbers: list[int] = []
    for ask in asks:
        pace = ask.share.pace
        numbers += (ask.spent, ask.wanted, max(1, round(pace.emission_s * SECOND)), round(pace.tolerance_s * SECOND))
    return (len(asks), *(ask.share.name for ask in asks), *numbers)

"""Questions to somebody who may not answer: bounded in time, with a breaker around them, and never asked by a request itself.

After some failures in a row nobody is asked for a while (pybreaker): who waits would wait for nothing, and whoever comes
back should not be met by a crowd. Then one trial decides. Where there is a way to ask without a credential (`probe`) the
trial needs no request, and the first one is made at the start: a mistake in the configuration shows at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, TypeVar

import pybreaker
import structlog

from lbgateway.policies.testimony import Silence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lbgateway.policies.testimony import Testimony

T = TypeVar("T")

log = structlog.get_logger("lbgateway")

FAILURES, PAUSE_S = 5, 1.0
"""So many in a row open the breaker, for so long (seconds)."""
IN_PAUSE = "it does not answer, and gets a pause"
GIVEN_UP = Silence("the gateway does not ask there any more")


class Unanswered(Exception):
    """There was no answer, or none that makes sense; the text says why, for operators."""


class Asking:
    """One authority. `ask` raises `Unanswered`; `what` names it in the log; `within_s` bounds each question (seconds).

    `kind`: ``redis`` or ``service``, for operators.
    """

    def __init__(
        self,
        what: str,
        ask: Callable[[bytes], Awaitable[Testimony]],
        *,
        within_s: float,
        kind: str = "service",
        probe: Callable[[], Awaitable[object]] | None = None,
        close: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        # for life
        self.what, self.kind = what, kind
        self._ask = ask
        self._probe = probe
        self._close = close
        self._within_s = within_s
        self._breaker = pybreaker.CircuitBreaker(FAILURES, PAUSE_S, throw_new_error_on_trip=False)
        self._tasks: set[asyncio.Task[Testimony]] = set()
        self._probing: asyncio.Task[None] | None = None
        # as it goes
        self.answers: bool | None = None
        """The last question was answered; None before the first."""
        self.last_error: str | None = None

    def __repr__(self) -> str:
        return f"<Asking {self.what} {self._breaker.current_state} {len(self._tasks)} under way>"

    def start(self) -> None:
        """Find out whether it answers."""
        if self._probe is not None and self._probing is None:
            self._probing = asyncio.get_running_loop().create_task(self._keep_probing(), name=f"probe {self.what}")

    def begin(self, credential: bytes, tell: Callable[[Testimony], None]) -> None:
        """Ask about a credential; `tell` gets what comes of it, whatever it is."""

        def done(task: asyncio.Task[Testimony]) -> None:
            self._tasks.discard(task)
            tell(GIVEN_UP if task.cancelled() else task.result())

        task = asyncio.get_running_loop().create_task(self._question(credential), name=f"ask {self.what}")
        self._tasks.add(task)
        task.add_done_callback(done)

    async def retire(self) -> None:
        """Close when all that is under way has been answered."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.aclose()

    async def aclose(self) -> None:
        """Give up; who still waits is told."""
        tasks = [task for task in (*self._tasks, self._probing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._close is not None:
            await self._close()

    async def _question(self, credential: bytes) -> Testimony:
        try:
            return await self._guarded(lambda: self._ask(credential))
        except pybreaker.CircuitBreakerError:
            return Silence(f"{IN_PAUSE}: {self.last_error}")
        except Unanswered as error:
            return Silence(str(error))
        except Exception as error:
            log.exception("a bug while asking about a credential", authority=self.what)
            return Silence(type(error).__name__)

    async def _guarded(self, ask: Callable[[], Awaitable[T]]) -> T:
        with self._breaker.calling():
            try:
                async with asyncio.timeout(self._within_s):
                    answer = await ask()
            except TimeoutError:
                self._failed(f"no answer within {self._within_s:g} s")
                raise Unanswered(f"no answer within {self._within_s:g} s") from None
            except Unanswered as error:
                self._failed(str(error))
                raise
            self._answered()
            return answer

    def _answered(self) -> None:
        if self.answers is False:
            log.info("credentials can be checked again", authority=self.what)
        self.answers, self.last_error = True, None

    def _failed(self, why: str) -> None:
        if self.answers is not False:
            log.warning("credentials cannot be checked: what is remembered counts until its time is up", authority=self.what, error=why)
        self.answers, self.last_error = False, why

    async def _keep_probing(self) -> None:
        """At the start, and for as long as it does not answer."""
        assert self._probe is not None
        while True:
            if self.answers is not True:
                with contextlib.suppress(Unanswered, pybreaker.CircuitBreakerError):
                    await self._guarded(self._probe)
            await asyncio.sleep(PAUSE_S)

"""One task per watched thing: asks, waits, asks again, for as long as it is wanted.

The task only waits. When and how to ask is decided in `pacing`, what to believe in `protection`,
what is kept lies in `last_good`. Nothing that a registry answers, or fails to answer, ends the task.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from discovery.consul_wire import failure
from discovery.errors import INDEX_RESET, DiscoveryError
from discovery.pacing import WatchState, is_outage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from discovery.consul_wire import Read, Reply
    from discovery.last_good import LastGood
    from discovery.pacing import Pacer

    Ask = Callable[[str, Read], Awaitable[Reply]]

log = logging.getLogger(__name__)


class Watcher:
    """Keeps `kept` up to date.

    `ask` performs one read of a path and raises `DiscoveryError` when no answer comes; `on_error` gets
    every failure's kind and text; `on_recovered` is called with the first good answer after failures.
    `hold_s`: for how long after an outage answers are taken to come from a registry that has just restarted.
    """

    def __init__(
        self,
        kept: LastGood,
        pacer: Pacer,
        ask: Ask,
        *,
        clock: Callable[[], float],
        hold_s: float,
        on_error: Callable[[str, str], None],
        on_recovered: Callable[[Watcher], None],
    ) -> None:
        # for life
        self.kept = kept
        self.pacer = pacer
        self._ask = ask
        self._clock = clock
        self._hold_s = hold_s
        self._on_error = on_error
        self._on_recovered = on_recovered
        # while it runs
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._expiry: asyncio.TimerHandle | None = None
        # since the last outage
        self._outage = False
        self._back_at_s = float("-inf")

    def __repr__(self) -> str:
        return f"<Watcher {self.kept.path} {self.pacer.state.value}>"

    def start(self) -> None:
        """Begin; the first read goes out with the next turn of the loop."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"watch {self.kept.path}")

    def nudge(self) -> None:
        """Another watch has reached the registry: stop waiting for it."""
        self.pacer.nudged(self._clock())
        self._wake.set()

    def tell(self) -> None:
        """Something changed, says a sweep: read it."""
        self.pacer.tell()
        self._wake.set()

    def direct(self, *, direct: bool) -> None:
        """Block in the registry from the next read on, or wait to be told. A read under way goes on."""
        self.pacer.direct = direct
        self._wake.set()

    def assure(self, at_s: float) -> None:
        """A sweep has seen that nothing had changed until then."""
        if self.pacer.quiet:
            self.kept.trust.reconfirm(at_s)

    def worry(self, error: DiscoveryError) -> None:
        """The registry does not answer, says the read that all rely on."""
        if self.pacer.state is WatchState.SWEPT:
            self._doubt(error, self._clock())

    def stop(self) -> asyncio.Task[None] | None:
        """End the task, a blocked read included, with the next turn of the loop; returns it for awaiting."""
        if self._expiry is not None:
            self._expiry.cancel()
        self.pacer.stopped()
        if self._task is not None:
            self._task.cancel()
        return self._task

    async def _run(self) -> None:
        while True:
            await self._pause()
            read = self.pacer.next_read(self._clock(), self.kept.recheck)
            try:
                self._answered(read, await self._ask(self.kept.path, read))
            except DiscoveryError as error:
                self._failed(error)
            except Exception as error:  # a bug must not end discovery for good
                log.exception("a bug while watching %s", self.kept.path)
                self._failed(DiscoveryError(f"internal error: {error!r}"))

    async def _pause(self) -> None:
        while (left_s := self.pacer.begins_at_s(self.kept.recheck) - self._clock()) > 0:
            self._wake.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._wake.wait()
            except TimeoutError:
                return

    def _answered(self, read: Read, reply: Reply) -> None:
        error = failure(reply)
        if error is not None:
            raise error
        now_s = self._clock()
        self.kept.accept(reply, read, now_s, recovering=self._outage or now_s - self._back_at_s < self._hold_s)
        if reply.dubious is not None:
            self.pacer.doubted(now_s)
        else:
            self._confirmed(now_s, read, reply)
        self._watch_expiry(now_s)

    def _confirmed(self, now_s: float, read: Read, reply: Reply) -> None:
        failures = self.pacer.failures
        if self.pacer.answered(now_s, reply.index, read):
            self._on_error(INDEX_RESET, "the registry's index went backwards")
        if self._outage:
            self._outage, self._back_at_s = False, now_s
        if failures:
            self._on_recovered(self)

    def _failed(self, error: DiscoveryError) -> None:
        now_s, wait_s = self._clock(), self.pacer.wait.seconds
        self.pacer.failed(now_s, error)
        if self.pacer.wait.seconds < wait_s:
            told = {"path": self.kept.path, "wait_s": round(self.pacer.wait.seconds, 3)}
            log.info("long polls are cut before they end, they are shorter from now on", extra=told)
        self._on_error(error.kind, str(error))
        self._doubt(error, now_s)

    def _doubt(self, error: DiscoveryError, now_s: float) -> None:
        self._outage = self._outage or is_outage(error)
        self.kept.refuse(str(error), now_s)
        self._watch_expiry(now_s)

    def _watch_expiry(self, now_s: float) -> None:
        """Stale turns expired on its own, even while a read hangs."""
        if self._expiry is not None:
            self._expiry.cancel()
        left_s = self.kept.trust.expires_in_s(now_s)
        self._expiry = None if left_s is None else asyncio.get_running_loop().call_later(left_s, self._expire)

    def _expire(self) -> None:
        now_s = self._clock()
        self.kept.refuse(self.kept.trust.last_error or "", now_s)
        self._watch_expiry(now_s)  # timers may fire a hair early

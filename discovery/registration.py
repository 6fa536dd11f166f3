"""One instance in Consul, kept there by a thread of its own: introduced, heartbeats, introduced anew, signed off.

Leaving has three steps: closed to traffic (critical, or in maintenance), `drain_s` in which what was on its way
still arrives, deregistered.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from random import Random
from typing import TYPE_CHECKING, Self

from discovery.announcement import Ttl
from discovery.consul_agent import AgentUnavailable, ConsulAgent, RegistrationRefused
from discovery.stop_signals import stop_postponed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from discovery.announcement import Announcement
    from discovery.consul_access import ConsulAccess

LONGEST_RETRY_S = 2.0
FAREWELL_TRIES, FAREWELL_TIMEOUT_S, FAREWELL_PAUSE_S = 3, 0.7, 0.15
"""With the one call before: three seconds at most, or whoever stops the service loses patience and kills it."""
PORT_POLL_S, CLOSED_TOLD_AFTER = 0.05, 200
"""How often we look whether the port is open, and after how many looks it is worth a word."""

log = logging.getLogger(__name__)


class Registration:
    """One instance: registered by entering, kept up by a thread of its own, gone after leaving."""

    def __init__(self, announcement: Announcement, access: ConsulAccess, drain_s: float = 0.0) -> None:
        # for life
        self.id = announcement.id
        self.announcement = announcement
        self.access = access
        self.drain_s = drain_s
        # while entered
        self._leaving = threading.Event()
        self._drained = threading.Event()
        self._silently = False
        self._thread: threading.Thread | None = None
        # of the thread
        self._announced = False
        self._known = False
        self._failures = 0
        self._refusal = ""

    def __repr__(self) -> str:
        state = "closed" if self._thread is None else "registered" if self._known else f"trying, {self._failures} failures"
        return f"<Registration {self.id} at {self.access.url} {state}>"

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
        self._join()

    async def __aenter__(self) -> Self:
        await self._start_in_thread()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()  # before the first await: the thread signs off even if we are cancelled now
        await asyncio.to_thread(self._join)

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """Register as the lifespan of an ASGI application, or within one, but not before its port accepts connections.

        Servers open their port after the application has started; registered earlier, the first
        requests would be sent to a closed door. And they close it before they end the application: with
        `drain_s` a stop signal first makes us leave, and reaches the server that much later.
        """
        self.begin(when_listening=True)
        try:
            with stop_postponed(self.leave, self.drain_s):
                yield
        finally:
            self._drained.set()  # the door is closed by now: nothing can arrive any more
            await self.__aexit__()

    @property
    def announced(self) -> bool:
        """Whether somebody may have been sent here."""
        return self._announced

    def begin(self, *, when_listening: bool = False) -> None:
        """Register without waiting for it, at once or when the port accepts connections. Refusals are logged."""
        self._reset()
        self._run_in_thread(None, when_listening=when_listening)

    def take_over(self, before: Registration) -> None:
        """Register in the place of `before`, which has the same id, with no moment in which nothing is registered. Returns at once."""
        self._reset()
        before.pass_on()
        thread, before._thread = before._thread, None
        self._run_in_thread(None, after=thread)

    def pass_on(self) -> None:
        """Look after the entry no longer, and leave it as it is: somebody else does from now on. Returns at once."""
        self._silently = True
        self.leave()

    def leave(self) -> None:
        """Begin to sign off. Returns at once; deregistered `drain_s` later, or with `close`."""
        self._leaving.set()

    def close(self) -> None:
        """Sign off without waiting for what is left of `drain_s`; returns when that is done, after three seconds at most."""
        self._drained.set()
        self.__exit__()

    async def _start_in_thread(self) -> None:
        try:
            await asyncio.to_thread(self._start)
        except asyncio.CancelledError:
            self.leave()  # what has begun meanwhile ends by itself
            raise

    def _reset(self) -> None:
        if self._thread is not None:
            raise RuntimeError(f"{self.id} is registered already")
        self._leaving.clear()
        self._drained.clear()
        self._silently = self._announced = self._known = False
        self._failures, self._refusal = 0, ""

    def _start(self) -> None:
        self._reset()
        agent = ConsulAgent(self.access)
        try:
            self._beat(agent)
        except RegistrationRefused:
            agent.close()
            raise
        self._run_in_thread(agent)

    def _run_in_thread(self, agent: ConsulAgent | None, *, when_listening: bool = False, after: threading.Thread | None = None) -> None:
        arguments = (agent, when_listening, after)
        self._thread = threading.Thread(target=self._run, args=arguments, name=f"registration {self.id}", daemon=True)
        self._thread.start()

    def _join(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def _run(self, agent: ConsulAgent | None, when_listening: bool, after: threading.Thread | None) -> None:  # noqa: FBT001 positional in a thread
        begun = agent is not None
        if after is not None:
            after.join()  # or it might put its own words over ours
        agent = agent or ConsulAgent(self.access)
        try:
            if when_listening:
                self._wait_until_listening()
            if not begun and not self._leaving.is_set():
                self._try_beat(agent)
            while not self._leaving.wait(delay_s(self._failures, self.announcement.check.heartbeat_s, Random())):
                self._try_beat(agent)
            if not self._silently:
                self._sign_off(agent)
        finally:
            agent.close()

    def _wait_until_listening(self) -> None:
        port, polls = self.announcement.port, 0
        while not self._leaving.is_set() and not listening(port, self.announcement.address):
            polls += 1
            if polls == CLOSED_TOLD_AFTER:
                log.warning("%s: nothing listens on port %d yet; registered as soon as something does", self.id, port)
            self._leaving.wait(PORT_POLL_S)

    def _try_beat(self, agent: ConsulAgent) -> None:
        try:
            self._beat(agent)
        except RegistrationRefused as refusal:
            self._failures += 1
            level = logging.ERROR if str(refusal) != self._refusal else logging.DEBUG
            self._refusal = str(refusal)
            log.log(level, "%s: Consul at %s refuses the registration, trying on: %s", self.id, self.access.url, refusal)

    def _beat(self, agent: ConsulAgent) -> None:
        """Say that we live; register first if the agent does not know us (any more)."""
        try:
            if self._known and not self._alive(agent):
                log.warning("%s: Consul at %s has forgotten this registration", self.id, self.access.url)
                self._known = False
            if not self._known:
                self._introduce(agent)
            self._failures, self._refusal = 0, ""
        except AgentUnavailable as error:
            self._failures += 1
            level = logging.WARNING if self._failures == 1 else logging.DEBUG
            log.log(level, "%s: Consul at %s does not answer, trying on: %s", self.id, self.access.url, error)

    def _introduce(self, agent: ConsulAgent) -> None:
        payload = self.announcement.payload(agent.own_address() if self.announcement.address is None else None)
        before, self._announced = self._announced, True  # first: clients may be here before the answer is
        try:
            agent.register(payload)
        except RegistrationRefused:
            self._announced = before
            raise
        self._known = self._alive(agent)  # a real heartbeat: only that survives a restart of the agent
        address = payload["Address"] or "the address of its node"
        log.info("%s: registered at %s: %s, port %d", self.id, self.access.url, address, payload["Port"])

    def _alive(self, agent: ConsulAgent) -> bool:
        return agent.heartbeat(self.id) if isinstance(self.announcement.check, Ttl) else agent.knows(self.id)

    def _sign_off(self, agent: ConsulAgent) -> None:
        agent.timeout_s = FAREWELL_TIMEOUT_S
        with contextlib.suppress(AgentUnavailable, RegistrationRefused):
            # First, and separately: if what follows is lost, at least nobody is sent here any more.
            agent.close_to_traffic(self.id, ttl=isinstance(self.announcement.check, Ttl))
        if self._announced:
            self._drained.wait(self.drain_s)
        for attempt in range(FAREWELL_TRIES):
            if attempt:
                time.sleep(FAREWELL_PAUSE_S)
            try:
                agent.deregister(self.id)
            except (AgentUnavailable, RegistrationRefused) as error:
                last = attempt == FAREWELL_TRIES - 1
                log.log(logging.WARNING if last else logging.DEBUG, "%s: not deregistered at %s: %s", self.id, self.access.url, error)
            else:
                log.log(logging.INFO if self._announced else logging.DEBUG, "%s: deregistered at %s", self.id, self.access.url)
                return


def listening(port: int, address: str | None) -> bool:
    """Whether something accepts connections: on this machine's loopback, or at `address`, which need not be ours to reach."""
    for host in ("127.0.0.1", "::1", *((address,) if address else ())):
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
            return True
    return False


def delay_s(failures: int, heartbeat_s: float, random: Random) -> float:
    """Seconds until the next heartbeat: never later than `heartbeat_s`, sooner after a failure.

    Both are jittered, so that the instances of a machine do not speak in chorus.
    """
    if not failures:
        return heartbeat_s * random.uniform(0.8, 1.0)
    return min(0.25 * 2.0 ** min(failures - 1, 8), LONGEST_RETRY_S, heartbeat_s) * random.uniform(0.5, 1.0)

"""Whether the token lets us see anything at all.

Consul does not refuse what a token may not read, it leaves it out: without ``node:read`` every service
has no instances, without ``service:read`` there are no services, and all of it is a good answer. But there
is always a node, and Consul registers itself as a service. So an answer that looks blind is followed by
a look at both lists, and what is missing from them names the missing rule.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from discovery.consul_body import decode_catalog, decode_list
from discovery.consul_wire import Read, failure
from discovery.errors import DiscoveryError
from discovery.instance import SnapshotState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from discovery.consul_wire import Reply
    from discovery.instance import SourceStatus

log = logging.getLogger(__name__)

AGAIN_S: Final = 5.0
"""While blind: a token may be given a rule without any change that would wake us."""
SELDOM_S: Final = 60.0
"""While not: a service without instances may just have none."""


def diagnose(services: Collection[str], nodes: Collection[object]) -> str | None:
    """What the token lacks, in an operator's words, by what it shows; None if it shows both kinds."""
    missing = [rule for rule, seen in (("service:read", services), ("node:read", nodes)) if not seen]
    if not missing:
        return None
    hidden = {"service:read": "no services", "node:read": "no nodes"}
    shows = " and ".join(hidden[rule] for rule in missing)
    return f"Consul shows {shows}, not even its own: the token needs {' and '.join(missing)} (discovery.consul.token)"


class Canary:
    """Looks when it is told that something looks blind. `ask` performs a read; `clock`: monotonic seconds."""

    def __init__(self, ask: Callable[[str, Read], Awaitable[Reply]], clock: Callable[[], float]) -> None:
        # for life
        self._ask = ask
        self._clock = clock
        # since the start
        self._has_seen = False
        # since the last look
        self.blind: str | None = None
        """What the token lacks; None if nothing."""
        self._looked_at_s = float("-inf")
        # while it looks, or waits for its time
        self._looking = False
        self._task: asyncio.Task[None] | None = None

    @property
    def doubtful(self) -> bool:
        """What looks empty is hidden, or may be: the first look is under way.

        A look takes nothing back before it has ended if one before it, or an instance, has shown that the token sees.
        """
        first = self._looked_at_s == float("-inf") and not self._has_seen
        return self.blind is not None or (self._task is not None and first)

    def opinion(self, status: SourceStatus, *, seen: bool) -> SourceStatus:
        """A source's status, if what it calls fresh may be hidden. `seen`: some instance is known; else nothing is known at all."""
        if not seen and self.doubtful:
            status = replace(status, state=None)
        elif self.blind is not None and status.state is SnapshotState.FRESH:
            status = replace(status, state=SnapshotState.STALE)
        return status if status.last_error is not None else replace(status, last_error=self.blind)

    def sees(self) -> None:
        """An instance was shown."""
        self._has_seen = True

    def suspect(self) -> None:
        """Something looks blind: look; if that was done a moment ago, in a while."""
        if self._task is None:
            later_s = max(0.0, self._looked_at_s + SELDOM_S - self._clock())
            self._looking = not later_s
            self._task = asyncio.get_running_loop().create_task(self._watch(later_s), name="canary")

    def stop(self) -> asyncio.Task[None] | None:
        """End a look that is under way; returns it for awaiting."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        return task

    async def _watch(self, later_s: float) -> None:
        await asyncio.sleep(later_s)
        await self._look()
        while self.blind is not None:
            await asyncio.sleep(AGAIN_S)
            await self._look()
        self._task = None

    async def _look(self) -> None:
        """An outage says nothing about tokens, and the watches tell of it."""
        self._looking = True
        try:
            services, nodes = [await self._read(path) for path in ("/v1/catalog/services", "/v1/catalog/nodes")]
            verdict = diagnose(decode_catalog(services), decode_list(nodes))
        except DiscoveryError:
            return
        finally:
            self._looking = False
        self._looked_at_s = self._clock()
        if verdict != self.blind:
            log.warning("%s", verdict or "the token shows services and nodes again")
        self.blind = verdict

    async def _read(self, path: str) -> bytes:
        reply = await self._ask(path, Read())
        error = failure(reply)
        if error is not None:
            raise error
        return reply.body

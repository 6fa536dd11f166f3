"""Several agents of one cluster: one is asked, the others wait for it to fail.

The choice is sticky. Each failure that means that the agent is away moves all watches to the next
one, at once: what hangs at an agent that says nothing would otherwise hang there until its own
timeout, deaf to all changes. An agent that answers 500 is left, too, but what blocks there goes on: that is
the cluster's trouble (no leader), and the others have it as well.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from discovery.consul_wire import failure
from discovery.errors import ConnectionLost, DiscoveryError, ServerFailed
from discovery.pacing import is_outage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from discovery.consul_client import ConsulClient
    from discovery.consul_wire import Read, Reply


class Agents:
    """`clients`, at least one, in order of preference; `on_moved` gets the URLs of the agents left and taken."""

    def __init__(self, clients: Sequence[ConsulClient], on_moved: Callable[[str, str], None]) -> None:
        # for life
        self._clients = tuple(clients)
        self._on_moved = on_moved
        # until the next failure
        self._chosen = 0
        self._hanging: dict[asyncio.Timeout, ConsulClient] = {}

    def __repr__(self) -> str:
        return f"<Agents {self.url} of {len(self._clients)}>"

    @property
    def url(self) -> str:
        """The address of the agent that is asked."""
        return self._clients[self._chosen].url

    def room(self) -> int:
        """How many reads should block at the agent that is asked."""
        return self._clients[self._chosen].budget.room()

    def slots_in_use(self) -> int:
        """Blocking slots at all agents, those of reads given up included."""
        return sum(client.budget.in_use() for client in self._clients)

    async def ask(self, path: str, read: Read) -> Reply:
        """Perform one read at the agent of choice.

        Raises:
            DiscoveryError: no complete answer came.

        """
        client = self._clients[self._chosen]
        try:
            reply = await self._ask(client, path, read)
        except DiscoveryError as error:
            self._failed(client, error)
            raise
        self._failed(client, failure(reply))
        return reply

    async def _ask(self, client: ConsulClient, path: str, read: Read) -> Reply:
        if len(self._clients) == 1:
            return await client.ask(path, read)
        patience = asyncio.timeout(None)
        try:
            async with patience:
                self._hanging[patience] = client
                return await client.ask(path, read)
        except TimeoutError:
            raise ConnectionLost(f"{client.url} failed, {self.url} is asked instead") from None
        finally:
            self._hanging.pop(patience, None)

    def _failed(self, client: ConsulClient, error: DiscoveryError | None) -> None:
        if error is None or not is_outage(error) or len(self._clients) == 1 or client is not self._clients[self._chosen]:
            return
        self._chosen = (self._chosen + 1) % len(self._clients)
        self._on_moved(client.url, self.url)
        if not isinstance(error, ServerFailed):
            now_s = asyncio.get_running_loop().time()
            for patience, asked in self._hanging.items():
                if asked is client and not patience.expired():
                    patience.reschedule(now_s)

    async def aclose(self) -> None:
        """Close all connections; may be called twice."""
        for client in self._clients:
            await client.aclose()

"""The connections to one endpoint that httpx makes: a `Pool` like any other, but for how one is made and how its end is noticed."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from lbgateway.dataplane.httpx_transport import HttpxConnection
from lbgateway.dataplane.pool import Pool

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from lbgateway.dataplane.exchange_state import Connection
    from lbgateway.dataplane.pool import ConnectWaiter
    from lbgateway.dataplane.reach import HttpxReach


class HttpxPool(Pool):
    """The connections to one address that httpx makes."""

    __slots__ = ("_tasks", "context", "proxy", "reach")

    def __init__(self, host: str, port: int, idle_timeout_s: float, loop: asyncio.AbstractEventLoop, reach: HttpxReach) -> None:
        super().__init__(host, port, idle_timeout_s, loop)
        self._tasks: set[asyncio.Task[None]] = set()
        self.reach = reach
        self.proxy = reach.proxy_for(host, port)
        # An empty one for cleartext: httpx would load all authorities of the machine, for each connection.
        self.context = reach.context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def __repr__(self) -> str:
        return f"<HttpxPool {self.reach.scheme}://{self.host}:{self.port} active={self.active} idle={len(self.idle)}>"

    def lease(self, now_s: float, *, fresh: bool = False) -> Connection | None:
        """As in `Pool`, past connections that have ended meanwhile: a loop does not tell us of these."""
        idle = self.idle
        while idle and idle[-1].is_closing():
            idle.pop().close()
        return super().lease(now_s, fresh=fresh)

    def sweep(self, now_s: float) -> None:
        """Close what has been idle for too long, has ended, or brought bytes that belong to nobody."""
        super().sweep(now_s)
        for connection in [each for each in self.idle if each.is_closing()]:
            self.idle.remove(connection)
            connection.close()

    def connect(self, waiter: ConnectWaiter, timeout_s: float) -> asyncio.Task[None]:
        """As in `Pool`; httpx connects when it sends, so that `waiter` is told when its head is about to go."""
        self._make_room()
        return self._hold(HttpxConnection(self, timeout_s).open(waiter))

    def connected(self, task: asyncio.Task[None] | None) -> None:
        """A connection is there and leased; its `task` goes on with the request."""
        if task is not None:
            self._connecting.discard(task)
        self.active += 1

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` beside the rest, and hold on to its task."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

"""The connections to one endpoint: idle ones on a stack, new ones on demand.

One small list per endpoint, newest on top: a lease is a pop, and what nobody needs grows old at the
bottom, where the sweep finds it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from lbgateway.dataplane.connection import UpstreamConnection
from lbgateway.errors import ConnectFailed, ConnectTimeout

if TYPE_CHECKING:
    from lbgateway.errors import GatewayError

FRESH_S = 1.0
"""A request that may not be replayed trusts no connection that has been idle for longer (seconds)."""


class ConnectWaiter(Protocol):
    """Whoever asked for a new connection."""

    def on_connected(self, connection: UpstreamConnection) -> None: ...

    def on_connect_failed(self, error: GatewayError) -> None: ...


class Pool:
    """Connections to one address. ``active`` counts those that are leased, ``idle`` holds the others."""

    __slots__ = ("_connecting", "active", "host", "idle", "idle_timeout_s", "loop", "port", "retired")

    def __init__(self, host: str, port: int, idle_timeout_s: float, loop: asyncio.AbstractEventLoop) -> None:
        self.host = host
        self.port = port
        self.idle_timeout_s = idle_timeout_s
        self.loop = loop
        self.idle: list[UpstreamConnection] = []
        self.active = 0
        self.retired = False
        self._connecting: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Pool {self.host}:{self.port} active={self.active} idle={len(self.idle)}>"

    def lease(self, now_s: float, *, fresh: bool = False) -> UpstreamConnection | None:
        """Take the connection that was idle for the shortest time, or None: then `connect`.

        `fresh`: the request may not be replayed, so a connection that the other side may have closed
        by now will not do.
        """
        idle = self.idle
        while idle:
            age_s = now_s - idle[-1].idle_at_s
            if age_s < self.idle_timeout_s:
                if fresh and age_s >= FRESH_S:
                    return None
                connection = idle.pop()
                if connection.transport.is_closing():
                    continue
                self.active += 1
                return connection
            self._close_idle()
            return None
        return None

    def connect(self, waiter: ConnectWaiter, timeout_s: float) -> asyncio.Task[None]:
        """Open a connection, lease it to `waiter` and tell it; or tell it why not. Cancelled, it tells nothing."""
        task = self.loop.create_task(self._connect(waiter, timeout_s))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return task

    async def _connect(self, waiter: ConnectWaiter, timeout_s: float) -> None:
        connection = UpstreamConnection(self)
        try:
            async with asyncio.timeout(timeout_s):
                await self.loop.create_connection(lambda: connection, self.host, self.port)
        except (TimeoutError, asyncio.CancelledError) as stopped:
            # It may have been made in the very tick in which it was given up.
            if connection.transport is not None:
                connection.close()
            if isinstance(stopped, asyncio.CancelledError):
                raise
            waiter.on_connect_failed(ConnectTimeout(cause=f"no connection within {timeout_s:g} s"))
        except OSError as error:
            waiter.on_connect_failed(ConnectFailed(cause=str(error)))
        else:
            self.active += 1
            waiter.on_connected(connection)

    def release(self, connection: UpstreamConnection, now_s: float, *, reusable: bool) -> None:
        """End a lease: keep the connection for the next one if it is `reusable` and agrees, else close it."""
        self.active -= 1
        if reusable and connection.keep_alive and not self.retired and not connection.transport.is_closing():
            connection.exchange = None
            connection.uses += 1
            connection.idle_at_s = now_s
            self.idle.append(connection)
        else:
            connection.close()

    def forget(self, connection: UpstreamConnection) -> None:
        """The other side closed a connection; an idle one must not be leased again."""
        if connection.exchange is None and connection in self.idle:
            self.idle.remove(connection)

    def sweep(self, now_s: float) -> None:
        """Close what has been idle for too long."""
        idle = self.idle
        while idle and now_s - idle[0].idle_at_s >= self.idle_timeout_s:
            idle.pop(0).close()

    def retire(self) -> None:
        """The endpoint gets no new requests: close the idle connections, and each other one when its lease ends."""
        self.retired = True
        self._close_idle()

    def revive(self) -> None:
        """The endpoint is back."""
        self.retired = False

    def _close_idle(self) -> None:
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.close()

"""The connections to one endpoint: idle ones on a stack, new ones on demand.

One small list per endpoint, newest on top: a lease is a pop, and what nobody needs grows old at the
bottom, where the sweep finds it.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from lbgateway.dataplane.connection import UpstreamConnection
from lbgateway.errors import ConnectFailed, ConnectTimeout, Overloaded

if TYPE_CHECKING:
    from lbgateway.dataplane.exchange_state import Connection
    from lbgateway.dataplane.reach import TlsReach
    from lbgateway.errors import GatewayError

FRESH_S = 1.0
"""A request that may not be replayed trusts no connection that has been idle for longer (seconds)."""

OWN_LIMITS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL))
"""What says that this process, or its machine, has no connection left to give: no instance is to blame for it."""


class ConnectWaiter(Protocol):
    """Whoever asked for a new connection."""

    def first_bytes(self) -> bytes:
        """The head that it will write first, as it is now; for connections that are made with it."""

    def on_connected(self, connection: Connection) -> None: ...

    def on_connect_failed(self, error: GatewayError) -> None: ...


class Pool:
    """Connections to one address. ``active`` counts those that are leased, ``idle`` holds the others."""

    __slots__ = ("_connecting", "active", "host", "idle", "idle_timeout_s", "loop", "max_connections", "port", "retired", "tls")

    def __init__(self, host: str, port: int, idle_timeout_s: float, loop: asyncio.AbstractEventLoop, tls: TlsReach | None = None) -> None:
        self.host = host
        self.port = port
        self.idle_timeout_s = idle_timeout_s
        self.loop = loop
        self.tls: dict[str, Any] = {} if tls is None else {"ssl": tls.context, "server_hostname": tls.server_name or host}
        """What asyncio is told of TLS; nothing for plain TCP."""
        self.idle: list[Connection] = []
        self.active = 0
        self.max_connections: float = inf
        self.retired = False
        self._connecting: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Pool {self.host}:{self.port} active={self.active} idle={len(self.idle)}>"

    def lease(self, now_s: float, *, fresh: bool = False) -> Connection | None:
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
                if connection.is_closing():
                    continue
                self.active += 1
                return connection
            self._close_idle()
            return None
        return None

    def connect(self, waiter: ConnectWaiter, timeout_s: float) -> asyncio.Task[None]:
        """Open a connection, lease it to `waiter` and tell it; or tell it why not. Cancelled, it tells nothing.

        Who asks has made sure that less than `max_connections` are leased; idle ones make room.
        """
        self._make_room()
        return self._hold(self.loop.create_task(self._connect(waiter, timeout_s)))

    def _make_room(self) -> None:
        while self.idle and self.active + len(self._connecting) + len(self.idle) >= self.max_connections:
            self.idle.pop(0).close()

    def _hold(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return task

    async def _connect(self, waiter: ConnectWaiter, timeout_s: float) -> None:
        connection = UpstreamConnection(self)
        try:
            async with asyncio.timeout(timeout_s):
                await self.loop.create_connection(lambda: connection, self.host, self.port, **self.tls)
        except (TimeoutError, asyncio.CancelledError) as stopped:
            # It may have been made in the very tick in which it was given up.
            if connection.transport is not None:
                connection.close()
            if isinstance(stopped, asyncio.CancelledError):
                raise
            waiter.on_connect_failed(ConnectTimeout(cause=f"no connection within {timeout_s:g} s"))
        except ssl.SSLError as error:
            waiter.on_connect_failed(ConnectFailed(cause=f"TLS: {tls_cause(error)}"))
        except OSError as error:
            waiter.on_connect_failed(connect_error(error))
        else:
            self.active += 1
            waiter.on_connected(connection)

    def release(self, connection: Connection, now_s: float, *, reusable: bool) -> None:
        """End a lease: keep the connection for the next one if it is `reusable` and agrees, else close it."""
        self.active -= 1
        if reusable and connection.keep_alive and not self.retired and not connection.is_closing():
            connection.exchange = None
            connection.uses += 1
            connection.idle_at_s = now_s
            self.idle.append(connection)
        else:
            connection.close()

    def forget(self, connection: Connection) -> None:
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


def connect_error(error: BaseException) -> ConnectFailed | Overloaded:
    """Why there is no connection; `error` may be what a library has made of the operating system's."""
    told: BaseException | None = error
    while told is not None:
        if isinstance(told, OSError) and told.errno in OWN_LIMITS:
            return Overloaded(cause=f"the gateway can open no connection: {told.strerror}")
        told = told.__cause__ or told.__context__
    return ConnectFailed(cause=str(error) or type(error).__name__)


def tls_cause(error: ssl.SSLError) -> str:
    """Why a handshake failed, in words: what is wrong with a certificate, or OpenSSL's reason."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {error.verify_message}"
    return (error.reason or str(error)).replace("_", " ").lower()

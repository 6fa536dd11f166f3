"""A client connection as a transport: what bounds it in time, when it is read from, how it ends.

Whatever a client does or leaves undone, its connection ends: each wait has its deadline, looked after by the
data plane's sweep, and a close waits for a reader only as long as it reads.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from lbgateway.dataplane.exchange_state import NEVER_S
from lbgateway.dataplane.request_parser import Mode, RequestParser
from lbgateway.errors import RequestTimeout

if TYPE_CHECKING:
    import asyncio
    from collections import deque
    from collections.abc import Callable

    from lbgateway.dataplane.handlers import Handler, Queued
    from lbgateway.dataplane.plane import DataPlane

LINGER_S = 2.0
"""How long a connection that is closed with unread input keeps reading, so that the client sees the answer (RFC 9112, 9.6)."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends a reset."""


class ClientConnection(RequestParser):
    """The part of a client connection that knows its transport; `GatewayProtocol` answers the requests."""

    __slots__ = ("_pausing", "_queue", "_unsent", "goodbye", "handler", "transport", "write", "write_paused")

    write: Callable[[bytes], None]
    transport: asyncio.Transport

    def __init__(self, plane: DataPlane) -> None:
        super().__init__(plane)
        # as it goes
        self.write_paused = False
        self._pausing = False
        self._unsent = 0
        self.goodbye = False
        """The next answer is the last."""
        # what is being answered
        self.handler: Handler | None = None
        self._queue: deque[Queued] | None = None

    # -- reading and not reading ---------------------------------------------------------------

    def pause_request(self) -> None:
        if not self._pausing and not self.transport.is_closing():
            self._pausing = True
            self.transport.pause_reading()

    def resume_request(self) -> None:
        if self._pausing and not self._queue and self._early is None and not self.transport.is_closing():
            self._pausing = False
            self.transport.resume_reading()

    # -- time ----------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """Uvicorn is going down. Answers say ``Connection: close`` by now; who asks for nothing any more is closed by `on_tick`."""
        if not self._reading_head:
            self.deadline_s = NEVER_S

    def on_tick(self, now_s: float) -> None:
        """Called by the sweep: bounds what no handler watches over."""
        if self.handler is not None or self.mode is Mode.TUNNEL:
            self.deadline_s = NEVER_S
        elif self.deadline_s == NEVER_S:
            limits = self.plane.limits
            limit_s = limits.keep_alive_s if not self.plane.draining else self.plane.farewell_s
            if self._reading_head:
                limit_s = limits.header_timeout_s
            if self.mode is Mode.LINGER:
                limit_s = limits.body_timeout_s if self.transport.get_write_buffer_size() else LINGER_S
            self.deadline_s = now_s + limit_s
        elif now_s >= self.deadline_s:
            self._on_deadline()

    def _on_deadline(self) -> None:
        if self.mode is Mode.LINGER:
            self._on_linger_end()
        elif self._reading_head:
            self._refuse(RequestTimeout())
        else:
            self._close()

    def _on_linger_end(self) -> None:
        """A slow reader may take its time as long as it reads at all."""
        unsent = self.transport.get_write_buffer_size()
        if unsent and unsent != self._unsent:
            self._unsent = unsent
            self.deadline_s = NEVER_S
        else:
            self.transport.abort()

    # -- ends ----------------------------------------------------------------------------------

    def abort(self) -> None:
        """Cut the connection; the client must see that the answer is incomplete."""
        self.mode = Mode.LINGER
        self._ignoring = True
        self._reading_head = False
        self.handler = self.feeding = None
        # With a reset: where only the end of the connection ends the body, an orderly one would make it look complete.
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.transport.abort()

    def _close(self) -> None:
        if self.mode is Mode.LINGER:
            return
        unread = self._in_message or self._pausing or self.mode in (Mode.DEAF, Mode.HOLD)
        self.mode = Mode.LINGER
        # What follows in the same read is no request any more.
        self._ignoring = True
        self._reading_head = False
        self.handler = self._queue = self._early = self.feeding = None
        self.deadline_s = NEVER_S
        if self.transport.is_closing():
            # The client has ended its side; whether it still reads what is unsent is for `on_tick` to see.
            return
        if unread:
            # Closing with unread input makes TCP reset, and a reset can overtake the answer.
            if self.transport.can_write_eof():  # TLS has no half-closed connections
                self.transport.write_eof()
            self.resume_request()
        else:
            self.transport.close()

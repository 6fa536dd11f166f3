"""Transports without a network: what is written can be read, what arrives is what a test lets arrive.

They are as strict as uvloop's: a call that a real transport would refuse raises here. What a real loop
would do a moment later (``connection_lost`` after a close, reads after a pause) waits for `Later.turn`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any


class Later:
    """What happens a moment later, in its order: the part of an event loop that the data plane can feel."""

    def __init__(self) -> None:
        self._soon: deque[Callable[[], None]] = deque()

    def __call__(self, do: Callable[[], None]) -> None:
        self._soon.append(do)

    def turn(self) -> None:
        """Let it all happen."""
        while self._soon:
            self._soon.popleft()()


class FakeTransport(asyncio.Transport):
    """One end of a connection; the test is the other end."""

    def __init__(self, later: Later, *, peer: str = "192.0.2.7", extra: dict[str, Any] | None = None) -> None:
        super().__init__({"peername": (peer, 50000), "sockname": ("192.0.2.1", 8080), **(extra or {})})
        # for life
        self.protocol: Any = None
        self._later = later
        # out
        self.sent = bytearray()
        """What has left this end and was not yet looked at."""
        self._buffer = bytearray()
        self._stalled = False
        self.ended = False
        """No more will come from this end, in good order."""
        # in
        self._arriving: deque[bytes | Exception | None] = deque()
        self._over = False
        """The other end has said its last."""
        self._delivering = False
        self.paused = False
        # its end
        self._closing = False
        self.aborted = False
        self.lost = False

    def start(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol
        protocol.connection_made(self)

    # -- asyncio.Transport ---------------------------------------------------------------------

    def write(self, data: Any) -> None:
        assert isinstance(data, bytes | bytearray | memoryview)
        if self.lost or self.ended:
            raise RuntimeError("written behind the end")
        if self._closing:
            return
        if not self._stalled:
            self.sent += data
            return
        first = not self._buffer
        self._buffer += data
        if first and data:
            self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self.lost or self._closing:
            raise RuntimeError("ended behind the end")
        self.ended = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def pause_reading(self) -> None:
        self._must_be_open()
        self.paused = True

    def resume_reading(self) -> None:
        self._must_be_open()
        self.paused = False
        self._later(self._deliver)

    def is_reading(self) -> bool:
        return not self.paused and not self._closing

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            if not self._buffer:
                self._later(lambda: self._lose(None))

    def abort(self) -> None:
        if self.lost or (self._closing and not self._buffer):
            return
        self.aborted = True
        self._closing = True
        self._buffer.clear()
        self._later(lambda: self._lose(None))

    # -- the other end -------------------------------------------------------------------------

    def arrive(self, what: bytes | Exception | None) -> None:
        """Bytes; None for the end; an exception for the end without order. Read as soon as this end reads.

        Behind an end nothing comes any more, but for a reset.
        """
        if not self._over or isinstance(what, Exception):
            self._over = self._over or what is None or isinstance(what, Exception)
            self._arriving.append(what)
        self._deliver()

    def stall(self) -> None:
        """Nothing is taken any more: what is written from now on stays in the buffer."""
        self._stalled = True

    def takes(self, size: int) -> None:
        """Some of what waits in the buffer is taken."""
        self.sent += self._buffer[:size]
        del self._buffer[:size]

    def flow(self) -> None:
        """Everything is taken again."""
        self._stalled = False
        if self._buffer:
            self.sent += self._buffer
            self._buffer.clear()
            if self._closing:
                self._later(lambda: self._lose(None))
            else:
                self.protocol.resume_writing()

    def _deliver(self) -> None:
        if self._delivering:
            return
        self._delivering = True
        while self._arriving and not self.paused and not self._closing:
            what = self._arriving.popleft()
            if isinstance(what, bytes):
                self.protocol.data_received(what)
            elif what is None:
                if not self.protocol.eof_received():
                    self.close()
            else:
                self._closing = True
                self._buffer.clear()
                self._later(lambda error=what: self._lose(error))
        self._delivering = False

    def _lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = True
            self.protocol.connection_lost(error)

    def _must_be_open(self) -> None:
        if self._closing or self.lost:
            raise RuntimeError("the transport is closing")

"""One end of the socket pair between the parent and a worker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from lbgateway.workers.frames import Broken, Decoder, framed

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from lbgateway.workers.frames import Frame

log = structlog.get_logger("lbgateway")


class Link(asyncio.Protocol):
    """Hands each frame to `on_frame`, in order; `on_end` is called once, when the other end is gone or cannot be understood.

    A frame that `on_frame` fails over is logged and lost, and nothing else is.
    """

    def __init__(self, on_frame: Callable[[Frame], None], on_end: Callable[[], None]) -> None:
        self.on_frame = on_frame
        self.on_end = on_end
        self._decoder = Decoder()
        self._transport: asyncio.Transport | None = None
        self.keeps_up = True
        """Whether the other end reads what it is sent: to one that does not, nothing should go that can wait."""
        self.ended = False

    def __repr__(self) -> str:
        return f"<Link {'ended' if self.ended else 'open'}>"

    async def over(self, pair: socket.socket) -> None:
        """Speak over `pair`, a connected Unix stream socket, which belongs to the link from now on."""
        pair.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=pair)

    def send(self, kind: str, payload: bytes = b"", **facts: Any) -> None:
        """Write one frame; never waits. Before the link speaks, and after its end, it goes nowhere."""
        if self._transport is not None and not self.ended:
            self._transport.write(framed({"kind": kind, **facts}, payload))

    def tell(self, kind: str, /, **facts: Any) -> None:
        """As `send`, without a payload."""
        self.send(kind, **facts)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # -- asyncio.Protocol ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's say of themselves that they are less

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._decoder.feed(data):
                try:
                    self.on_frame(frame)
                except Exception:
                    log.exception("a bug in what processes of the gateway tell each other", kind=frame.facts["kind"])
        except Broken:
            log.exception("the other process of the gateway cannot be understood")
            self.close()

    def pause_writing(self) -> None:
        self.keeps_up = False

    def resume_writing(self) -> None:
        self.keeps_up = True

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 asyncio's signature; gone is gone
        self.ended = True
        self.on_end()

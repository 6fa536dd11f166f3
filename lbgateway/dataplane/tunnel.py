"""Two transports joined after an upgrade (101): WebSocket or whatever both sides agreed to speak.

Bytes are bytes: each side's are written to the other, end of file is passed on, and a side that reads
slowly makes the other side wait.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lbgateway.dataplane.connection import UpstreamConnection
    from lbgateway.dataplane.exchange import Exchange
    from lbgateway.dataplane.protocol import GatewayProtocol


class Tunnel:
    """The client's side stays a `GatewayProtocol`, which passes its events on; the upstream's side is `_UpstreamEnd`."""

    __slots__ = ("_client", "_closed", "_exchange", "_half_closed", "_protocol", "_upstream", "bytes_in", "bytes_out")

    def __init__(self, exchange: Exchange, client: GatewayProtocol, connection: UpstreamConnection) -> None:
        self._exchange = exchange
        self._protocol = client
        self._client = client.transport
        self._upstream = connection.transport
        self._half_closed = False
        self._closed = False
        self.bytes_in = 0
        self.bytes_out = 0

    def start(self, early: bytes, rest: bytes) -> None:
        """Join the two; `early` came from the client before, `rest` from the upstream with its 101."""
        self._upstream.set_protocol(_UpstreamEnd(self))
        if early:
            self.on_client_data(early)
        if rest:
            self.on_upstream_data(rest)

    # -- from the client -----------------------------------------------------------------------

    def on_client_data(self, data: bytes) -> None:
        self.bytes_in += len(data)
        self._exchange.moved = True
        if not self._upstream.is_closing():
            self._upstream.write(data)

    def on_client_eof(self) -> bool:
        """Pass the end on and keep the other direction open; at the second end all is over."""
        return self._pass_eof(self._upstream)

    def on_client_lost(self) -> None:
        """What is unsent may still go out: until then, or until it takes too long, the exchange lives."""
        self._upstream.close()

    def pause_upstream(self) -> None:
        """The client reads slowly."""
        if not self._upstream.is_closing():
            self._upstream.pause_reading()

    def resume_upstream(self) -> None:
        if not self._upstream.is_closing():
            self._upstream.resume_reading()

    # -- from the upstream ---------------------------------------------------------------------

    def on_upstream_data(self, data: bytes) -> None:
        self.bytes_out += len(data)
        self._exchange.moved = True
        if not self._client.is_closing():
            self._client.write(data)

    def on_upstream_eof(self) -> bool:
        return self._pass_eof(self._client)

    def on_upstream_lost(self) -> None:
        self._protocol.end_tunnel()
        self._end()

    def pause_client(self) -> None:
        """The upstream reads slowly."""
        if not self._client.is_closing():
            self._client.pause_reading()

    def resume_client(self) -> None:
        if not self._client.is_closing():
            self._client.resume_reading()

    # -- ends ----------------------------------------------------------------------------------

    def _pass_eof(self, other: asyncio.Transport) -> bool:
        if self._half_closed or other.is_closing() or not other.can_write_eof():
            return False
        self._half_closed = True
        other.write_eof()
        return True

    def _end(self) -> None:
        if not self._closed:
            self._closed = True
            self._exchange.on_tunnel_closed(self.bytes_in, self.bytes_out)


class _UpstreamEnd(asyncio.Protocol):
    """The upstream's transport, for as long as the tunnel stands."""

    __slots__ = ("_tunnel",)

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    def data_received(self, data: bytes) -> None:
        self._tunnel.on_upstream_data(data)

    def eof_received(self) -> bool:
        return self._tunnel.on_upstream_eof()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 asyncio's signature
        self._tunnel.on_upstream_lost()

    def pause_writing(self) -> None:
        self._tunnel.pause_client()

    def resume_writing(self) -> None:
        self._tunnel.resume_client()

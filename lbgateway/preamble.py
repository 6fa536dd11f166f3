"""Who is really there: the preambles of proxies in front (``server.proxy_protocol``), read off a socket before anything else.

Exactly the preamble is taken from the socket, so that what follows, TLS or HTTP, begins where it begins. Only trusted proxies
may come; everybody else, and whoever sends no preamble, a bad one or a slow one, finds the connection closed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from typing import TYPE_CHECKING

import structlog

from lbgateway.proxy_protocol import HEAD_BYTES, LEAST_BYTES, LINE_BYTES, SIGNATURE, BadPreamble, Named, length_of, read_binary, read_line

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger("lbgateway")

HINT_EVERY_S = 10.0


class Preambles:
    """Reads them. `trusts`: whether an address is a trusted proxy's. `timeout_s`: for all of one. `most`: at the same time."""

    def __init__(self, trusts: Callable[[str], bool], *, timeout_s: float, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._trusts = trusts
        self._timeout_s = timeout_s
        self._most = most
        self._clock = clock
        self._reading = 0
        self._hinted_at_s = float("-inf")

    async def receive(self, connection: socket.socket) -> Named | None:
        """Whose connection it is; None if it was closed because nobody may say."""
        peer, port = _ends_of(connection)
        reason = "not a trusted proxy" if not self._trusts(peer) else "too many preambles at once" if self._reading >= self._most else ""
        if not reason:
            self._reading += 1
            try:
                async with asyncio.timeout(self._timeout_s):
                    return _credible(await _read(connection) or Named(peer, port), peer, port)
            except (BadPreamble, OSError, EOFError, TimeoutError) as error:
                reason = str(error) or "no whole preamble in time"
            finally:
                self._reading -= 1
        connection.close()
        self._hint(peer, reason)
        return None

    def _hint(self, peer: str, reason: str) -> None:
        if self._clock() - self._hinted_at_s >= HINT_EVERY_S:
            self._hinted_at_s = self._clock()
            log.warning("a connection was closed: server.proxy_protocol expects a preamble of a trusted proxy", peer=peer, reason=reason)


async def _read(connection: socket.socket) -> Named | None:
    start = await _exactly(connection, LEAST_BYTES)
    if start == SIGNATURE:
        head = start + await _exactly(connection, HEAD_BYTES - LEAST_BYTES)
        return read_binary(head, await _exactly(connection, length_of(head)))
    if not start.startswith(b"PROXY "):
        raise BadPreamble("it begins otherwise")
    while not start.endswith(b"\n"):
        start += await _rest_of_line(connection, LINE_BYTES - len(start))
    return read_line(start)


async def _exactly(connection: socket.socket, size: int) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < size:
        piece = await loop.sock_recv(connection, size - len(data))
        if not piece:
            raise EOFError("closed before the end of the preamble")
        data += piece
    return data


async def _rest_of_line(connection: socket.socket, most: int) -> bytes:
    """What is there of the line, and not one byte behind it."""
    if most <= 0:
        raise BadPreamble("a line without an end")
    try:
        there = connection.recv(most, socket.MSG_PEEK)
    except BlockingIOError:
        there = b""
    end = there.find(b"\n") + 1
    return await _exactly(connection, end or len(there) or 1)


def _ends_of(connection: socket.socket) -> tuple[str, int]:
    """The other end's address and our port; empty if it is gone already."""
    try:
        return connection.getpeername()[0], connection.getsockname()[1]
    except OSError:
        return "", 0


def _credible(named: Named, peer: str, port: int) -> Named:
    """The proxy's own machine is no client of ours: another machine's loopback address is the proxy itself, or anybody could be local."""
    if ipaddress.ip_address(named.source).is_loopback and not ipaddress.ip_address(peer.partition("%")[0]).is_loopback:
        return Named(peer, port)
    return named

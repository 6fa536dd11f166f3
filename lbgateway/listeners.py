"""The doors: listening sockets, and who answers behind them; with or without TLS."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from lbgateway.doorkeeper import Doorkeeper

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine, Iterable

    from lbgateway.doorkeeper import TakeIn
    from lbgateway.preamble import Preambles

    class DoorkeeperMaker(Protocol):
        """What makes a `Doorkeeper`, or one that knows more."""

        def __call__(self, listener: socket.socket, take_in: TakeIn, /, *, spare: int) -> Doorkeeper: ...


BACKLOG = 4096


class Listeners:
    """Accepts on `sockets`; each connection gets a protocol of `make_protocol`.

    `tls`: what clients are greeted with, None for plain HTTP. A handshake that is not over after `handshake_s` seconds is
    given up. `preambles`: what has to come before anything else, TLS included, None for nothing; then protocols are made
    with ``named=``. `spare`: how many files are not for those who come in here. ``servers``: what accepts, always the present ones.
    """

    def __init__(
        self,
        sockets: Iterable[socket.socket],
        make_protocol: Callable[..., asyncio.BaseProtocol],
        *,
        tls: ssl.SSLContext | None,
        handshake_s: float,
        preambles: Preambles | None = None,
        spare: int = 0,
    ) -> None:
        # for life
        self._make_protocol = make_protocol
        self._spare = spare
        self.servers: list[Doorkeeper] = []
        self.doorkeeper: DoorkeeperMaker = Doorkeeper
        # until the next reload
        self._sockets = list(sockets)
        self._tls = tls
        self._handshake_s = handshake_s
        self.preambles = preambles

    def __repr__(self) -> str:
        return f"<Listeners {', '.join(address_of(each, secure=self._tls is not None) for each in self._sockets) or 'closed'}>"

    @property
    def sockets(self) -> list[socket.socket]:
        """Those that listen now."""
        return self._sockets

    @property
    def secure(self) -> bool:
        """Whether clients are greeted with TLS."""
        return self._tls is not None

    def open(self) -> None:
        """Begin to accept."""
        self.servers += [self._serve(each) for each in self._sockets]

    def rekey(self, tls: ssl.SSLContext | None, handshake_s: float, preambles: Preambles | None = None) -> None:
        """Greet new clients with `tls`; those who are here keep what they have. The door is never closed meanwhile."""
        self._tls, self._handshake_s, self.preambles = tls, handshake_s, preambles
        servers, sockets, doors = list(self.servers), self._sockets, [each.dup() for each in self._sockets]
        self.servers += [self._serve(each) for each in doors]
        self._sockets = doors
        del self.servers[: len(servers)]
        _end(servers, sockets)

    def close(self) -> list[socket.socket]:
        """Close the doors; returns the connections that clients believe to have, but that nobody has looked at yet."""
        waiting = [connection for listener in self._sockets for connection in accept_waiting(listener)]
        self.leave()
        return waiting

    def leave(self) -> None:
        """Accept no more; who waits is left to another process, which has the same sockets."""
        _end(self.servers, self._sockets)
        self._sockets = []

    async def take_in(self, connection: socket.socket) -> None:
        """Serve a connection that has been accepted: after its preamble, or because it was waiting when the doors were closed."""
        loop, make_protocol = asyncio.get_running_loop(), self._make_protocol
        if self.preambles is not None:
            named = await self.preambles.receive(connection)
            if named is None:
                return
            make_protocol = partial(make_protocol, named=named)
        with contextlib.suppress(OSError):  # gone already
            await loop.connect_accepted_socket(make_protocol, connection, **self._greeting())

    def _serve(self, listener: socket.socket) -> Doorkeeper:
        listener.listen(BACKLOG)  # who passed it may have meant fewer
        return self.doorkeeper(listener, self._taking_in, spare=self._spare)

    def _taking_in(self, connection: socket.socket) -> Coroutine[Any, Any, Any]:
        """`take_in`, for most without a coroutine in between, which costs as much as all the rest; who is gone already is an `OSError`."""
        if self.preambles is not None:
            return self.take_in(connection)
        return asyncio.get_running_loop().connect_accepted_socket(self._make_protocol, connection, **self._greeting())

    def _greeting(self) -> dict[str, Any]:
        return {} if self._tls is None else {"ssl": self._tls, "ssl_handshake_timeout": self._handshake_s}


def _end(servers: Iterable[Doorkeeper], sockets: Iterable[socket.socket]) -> None:
    for server in servers:
        server.close()
    for listener in sockets:
        listener.close()


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        OSError: the address cannot be had, with a message for people.

    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise OSError(error.errno, f"{host}:{port} is in use by another process") from None
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    listener.setblocking(False)
    return listener


def accept_waiting(listener: socket.socket) -> list[socket.socket]:
    """The connections that clients believe to have, but that nobody has looked at yet: closing the listener would reset them."""
    accepted = []
    with contextlib.suppress(OSError):  # in the end BlockingIOError; or too many open files
        while True:
            accepted.append(listener.accept()[0])
    return accepted


def address_of(listener: socket.socket, *, secure: bool = False) -> str:
    """The address as in a URL."""
    host, port = listener.getsockname()[:2]
    scheme = "https" if secure else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

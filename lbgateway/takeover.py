"""The successor's half of a takeover: it finds the running gateway, gets its sockets, and sends it away once it serves itself.

`lbgateway.handover` is the other half, `lbgateway.rendezvous` what both agree on.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any, Self

import structlog

from lbgateway.rendezvous import LONGEST_MESSAGE, MOST_SOCKETS, is_private, name_of, peer_of, say, understood

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

log = structlog.get_logger("lbgateway")

ANSWER_S = 5.0
"""How long the running gateway may take to answer; it has nothing to look up."""


class TakeoverFailed(Exception):
    """The running gateway stays; the message is for whoever wanted to replace it."""


class Predecessor:
    """A running gateway that waits for us to be ready. `sockets` are its listening sockets, and ours as well from now on.

    `admin`: those of its `admin.listen`, if it has one.
    """

    def __init__(self, connection: socket.socket, pid: int, sockets: list[socket.socket], admin: Sequence[socket.socket] = ()) -> None:
        self._connection = connection
        self.pid = pid
        self.sockets = sockets
        self.admin = admin

    def __repr__(self) -> str:
        return f"<Predecessor pid={self.pid} sockets={len(self.sockets)}>"

    @classmethod
    def find(cls, address: tuple[str, int], folders: Iterable[Path]) -> Self | None:
        """Ask the gateway at `address` (a host's number, and a port) for its sockets; None if there is none. Waits.

        Raises:
            TakeoverFailed: it refuses, or does not answer.

        """
        connection = meet(address, folders)
        if connection is None:
            return None
        pid = peer_of(connection).pid
        try:
            answer, sockets = ask(connection, {"want": "sockets"})
        except OSError as error:
            connection.close()
            why = f"does not answer within {ANSWER_S:g} s" if isinstance(error, TimeoutError) else f"does not answer: {error.strerror}"
            raise TakeoverFailed(f"the running gateway (process {pid}) {why}") from None
        refused = "it is about to end" if answer is None else answer.get("refused")
        if refused is None and sockets:
            public = len(sockets) - int((answer or {}).get("admin", 0))  # one from before there was `admin.listen` does not say
            return cls(connection, pid, sockets[:public], sockets[public:])
        connection.close()
        raise TakeoverFailed(f"the running gateway (process {pid}) hands nothing over: {refused or 'it has no socket'}")

    async def retire(self, registration: str | None) -> None:
        """Say that we serve, and wait until it does not any more. `registration`: the id of our entry in the registry, if any."""
        self._connection.setblocking(False)
        try:
            say(self._connection, {"ready": True, "registration": registration})
            async with asyncio.timeout(ANSWER_S):
                answer = understood(await asyncio.get_running_loop().sock_recv(self._connection, LONGEST_MESSAGE))
        except (OSError, TimeoutError):
            answer = None
        finally:
            self._connection.close()
        if answer is None:
            log.warning("the gateway before this one has not said that it leaves: it may have ended, or hang", predecessor=self.pid)
        else:
            log.info("taken over: the gateway before this one finishes what it has, and leaves", predecessor=self.pid)

    def close(self) -> None:
        """Give up: it serves on, as if nobody had asked."""
        self._connection.close()
        for each in (*self.sockets, *self.admin):
            each.close()


def running_at(address: tuple[str, int], folders: Iterable[Path]) -> int | None:
    """The process that would hand over `address`; None if there is none."""
    connection = meet(address, folders)
    if connection is None:
        return None
    with connection:
        return peer_of(connection).pid


def meet(address: tuple[str, int], folders: Iterable[Path]) -> socket.socket | None:
    """A connection to the gateway that serves `address`; None if nobody waits there. Only our own user's, or root's, is believed."""
    for folder in folders:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(ANSWER_S)
        try:
            connection.connect(str(folder / name_of(address)))
            if peer_of(connection).uid in (os.getuid(), 0) and any(is_private(folder, uid) for uid in (os.getuid(), 0)):
                return connection
        except OSError:
            pass
        connection.close()
    return None


def ask(connection: socket.socket, question: dict[str, str]) -> tuple[dict[str, Any] | None, list[socket.socket]]:
    """The answer, with the sockets that came along."""
    say(connection, question)
    data, descriptors, _, _ = socket.recv_fds(connection, LONGEST_MESSAGE, MOST_SOCKETS)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return understood(data), [socket.socket(fileno=each) for each in descriptors]

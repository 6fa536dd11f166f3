"""What systemd, or whoever speaks its two protocols, wants of a service: take sockets that are open already, and say how one is.

sd_listen_fds(3) and sd_notify(3), without their library: the first is two variables, the second one datagram.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, NamedTuple

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

log = structlog.get_logger("lbgateway")

FIRST_DESCRIPTOR = 3
ADMIN = "admin"
"""``FileDescriptorName=`` of the sockets that are for `admin.listen`; all others are the public ones."""


class NotListening(Exception):
    """A descriptor that was passed is no listening TCP socket; the message is for people."""


class Passed(NamedTuple):
    """Listening sockets that we were started with."""

    public: list[socket.socket]
    admin: list[socket.socket]


def passed_sockets(environ: MutableMapping[str, str], pid: int) -> Passed:
    """The listening sockets that process `pid` was started with; none if there are none, or if they were meant for another process.

    The variables are taken out: children of ours shall not think that they are meant.

    Raises:
        NotListening: there is something else among them.

    """
    meant_for, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    passed = Passed([], [])
    if meant_for == str(pid) and count.isdecimal():
        for index in range(int(count)):
            kind = passed.admin if names[index : index + 1] == [ADMIN] else passed.public
            kind.append(_listener(FIRST_DESCRIPTOR + index))
    return passed


def _listener(descriptor: int) -> socket.socket:
    try:
        passed = socket.socket(fileno=descriptor)
    except OSError as error:
        raise NotListening(f"descriptor {descriptor}, passed by LISTEN_FDS, is no socket: {error.strerror}") from None
    tcp = passed.family in (socket.AF_INET, socket.AF_INET6) and passed.type == socket.SOCK_STREAM
    if not tcp or not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        passed.detach()
        raise NotListening(f"descriptor {descriptor}, passed by LISTEN_FDS, is no listening TCP socket")
    passed.set_inheritable(False)
    passed.setblocking(False)
    return passed


class ServiceManager:
    """Hears how we are, if ``NOTIFY_SOCKET`` names it; otherwise nobody listens. Nothing here ever waits or fails."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def __repr__(self) -> str:
        return f"<ServiceManager {self._address or 'absent'}>"

    def ready(self) -> None:
        self._tell("READY=1")

    def reloading(self) -> None:
        # With the moment: that is what Type=notify-reload waits for.
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def succeeded_by(self, pid: int) -> None:
        """The service goes on, in another process."""
        self._tell(f"MAINPID={pid}", "READY=1")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as telling:
            try:
                telling.sendto("\n".join(lines).encode(), self._address)
            except OSError as error:
                log.warning("the service manager cannot be told", said=lines[0], reason=error.strerror)

"""Where the listening sockets of ``lbgateway run`` come from: passed by systemd, taken over from a running gateway, or bound."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from lbgateway.config.fields import split_host_port
from lbgateway.listeners import bind
from lbgateway.rendezvous import folders, hosts_at
from lbgateway.systemd import NotListening, passed_sockets
from lbgateway.takeover import Predecessor, TakeoverFailed, running_at

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence
    from pathlib import Path

    from lbgateway.config.server import ServerSettings

log = structlog.get_logger("lbgateway")


class NoDoor(Exception):
    """There is nowhere to serve; the message is for people."""


@dataclass(frozen=True, slots=True)
class Doors:
    """`sockets` listen, those of `admin` for `admin.listen`. `predecessor`: who serves on them until we do.

    `meeting`: where a successor of ours may find us.
    """

    sockets: list[socket.socket]
    predecessor: Predecessor | None
    meeting: list[Path]
    admin: list[socket.socket] = field(default_factory=list)

    def close(self) -> None:
        """For a start that has failed."""
        if self.predecessor is not None:
            self.predecessor.close()
        for each in (*self.sockets, *self.admin):
            each.close()


def open_doors(server: ServerSettings, environ: MutableMapping[str, str], *, takeover: bool, admin: str | None = None) -> Doors:
    """The sockets to serve on; with `takeover` those of the gateway that runs there, if there is one. `admin`: `admin.listen`.

    Raises:
        NoDoor: a port is taken, or what was passed is no socket, or the running gateway does not hand over.

    """
    meeting = folders(environ, os.getuid())
    try:
        passed = passed_sockets(environ, os.getpid())
        place = _place(server, passed.public)
        predecessor = Predecessor.find(place, meeting) if takeover and place is not None else None
    except (NotListening, TakeoverFailed) as error:
        raise NoDoor(str(error)) from None
    if passed.public:
        _say_if_elsewhere(server, passed.public)
        sockets = passed.public
    elif predecessor is not None:
        sockets = predecessor.sockets
    else:
        sockets = [_bound(server, place, meeting, takeover=takeover)]
        if takeover:
            log.info("no gateway to take over from, this one starts like any other", host=server.host, port=server.port)
    doors = Doors(sockets, predecessor, meeting)
    try:
        return replace(doors, admin=_admin_sockets(admin, passed.admin, predecessor.admin if predecessor else ()))
    except NoDoor:
        doors.close()
        raise


def _admin_sockets(listen: str | None, passed: list[socket.socket], offered: Sequence[socket.socket]) -> list[socket.socket]:
    """Passed, or taken over if it is the same address, or bound. What else is `offered` is closed: nobody would accept there."""
    wanted = _in_numbers(*split_host_port(listen)) if listen is not None and not passed else None
    taken = [each for each in offered if each.getsockname()[:2] == wanted]
    for each in offered:
        if each not in taken:
            each.close()
    if listen is None and passed:
        raise NoDoor("a socket named admin was passed to us, but admin.listen is not set: set it to that address")
    if listen is None or passed or taken:
        return passed or taken
    host, port = split_host_port(listen)
    try:
        return [bind(host, port)]
    except OSError as error:
        raise NoDoor(f"admin.listen: {error.strerror or error}") from None


def _place(server: ServerSettings, passed: Sequence[socket.socket]) -> tuple[str, int] | None:
    """The address in numbers, as the kernel would tell it; None if nobody can be there yet."""
    if passed:
        host, port = passed[0].getsockname()[:2]
        return host, port
    return None if server.port == 0 else _in_numbers(server.host, server.port)


def _in_numbers(host: str, port: int) -> tuple[str, int] | None:
    """None for a host that is not known: `bind` will say so."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4]
    except OSError:
        return None
    return str(found[0]), port


def _bound(server: ServerSettings, place: tuple[str, int] | None, meeting: Sequence[Path], *, takeover: bool) -> socket.socket:
    try:
        return bind(server.host, server.port)
    except OSError as error:
        told = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE and place is not None:
            told += _advice(place, meeting, takeover=takeover)
        raise NoDoor(told) from None


def _advice(place: tuple[str, int], meeting: Sequence[Path], *, takeover: bool) -> str:
    """Who has the port, as far as it can be told, and what to do."""
    pid = running_at(place, meeting)
    if pid is not None:
        return f": a running gateway (process {pid}); with --takeover it hands the port over, finishes what it has, and leaves"
    elsewhere = [host for host in hosts_at(place[1], meeting) if running_at((host, place[1]), meeting) is not None]
    if elsewhere:
        return f": a running gateway, but on host {elsewhere[0]}; only with the same host can it be replaced by --takeover"
    if takeover:
        return f", from which nothing can be taken over: no gateway of this user waits in {' or '.join(map(str, meeting))}"
    return ", which is no gateway that --takeover could take it from"


def _say_if_elsewhere(server: ServerSettings, passed: Sequence[socket.socket]) -> None:
    """Passed sockets win over the file; whoever reads the file shall know."""
    ports = [each.getsockname()[1] for each in passed]
    if server.port not in ports:
        log.warning("server.host and server.port are not used, the sockets were passed to us", configured=server.port, ports=ports)

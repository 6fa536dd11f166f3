"""Where a running gateway and its successor meet, and how they speak there: a Unix socket named after host and port.

Messages are JSON objects, one to a packet (SOCK_SEQPACKET keeps their bounds), with sockets beside them where they are
handed over. Only the same user, and root, gets as far as a word.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LONGEST_MESSAGE = 4096
MOST_SOCKETS = 16
_CREDENTIALS = struct.Struct("3i")


class Peer(NamedTuple):
    """Who is at the other end, by the kernel's word."""

    pid: int
    uid: int


def folders(environ: Mapping[str, str], uid: int) -> list[Path]:
    """Where to meet, the best place first: a service's own folder (systemd's ``RuntimeDirectory=``), the session's, the system's."""
    own = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    session = environ.get("XDG_RUNTIME_DIR", "")
    usual = "/run/lbgateway" if uid == 0 else f"/run/user/{uid}/lbgateway"
    named = [*([own] if own else ()), *([f"{session}/lbgateway"] if session else ()), usual]
    # Not `tempfile.gettempdir`, which fails where nothing can be written: there is just no takeover then, as in a read-only container.
    shared = environ.get("TMPDIR") or "/tmp"  # noqa: S108 what is made in it is the user's own, or not used
    return [Path(each) for each in dict.fromkeys([*named, f"{shared}/lbgateway-{uid}"])]


def name_of(address: tuple[str, int]) -> str:
    """The socket's file name; `address` as the kernel tells it, so that all spellings of a host meet."""
    host, port = address
    return f"{host}:{port}.sock"


def hosts_at(port: int, folders: Iterable[Path]) -> list[str]:
    """Under which hosts gateways with this `port` may be met, sorted; those that were killed are among them."""
    suffix = f":{port}.sock"
    names = {path.name for folder in folders if is_private(folder, os.getuid()) for path in folder.iterdir()}
    return sorted(name.removesuffix(suffix) for name in names if name.endswith(suffix) and not name.startswith("."))


def is_private(folder: Path, uid: int) -> bool:
    """Whether `folder` is a folder of `uid` in which nobody else can put anything. Links are not followed."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def peer_of(connection: socket.socket) -> Peer:
    """Raises OSError where the connection has ended."""
    pid, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return Peer(pid, uid)


def say(connection: socket.socket, message: Mapping[str, Any], sockets: Iterable[socket.socket] = ()) -> None:
    """Send one message. It fits into the socket's buffer: nobody is waited for.

    Raises:
        OSError: the other end has gone.

    """
    socket.send_fds(connection, [json.dumps(message).encode()], [each.fileno() for each in sockets])


def understood(data: bytes) -> dict[str, Any] | None:
    """A message as it was received; None for the end of the conversation, and for what is no message."""
    try:
        message = json.loads(data)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None

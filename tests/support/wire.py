"""One end of a TCP connection in a test's hands: bytes out, bytes in, and how it ended. Blocking, always with a bound."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from typing import Self

PATIENCE_S = 5.0


class Cut(Exception):
    """The other side ended the connection in the middle of something; ``got`` is what had come."""

    def __init__(self, got: bytes) -> None:
        super().__init__(f"cut after {got[-200:]!r}")
        self.got = got


@dataclass(frozen=True)
class Message:
    """A request or a response as it came."""

    start: str
    fields: tuple[tuple[str, str], ...]
    body: bytes = b""
    trailers: tuple[tuple[str, str], ...] = ()
    head: bytes = b""

    @property
    def status(self) -> int:
        return int(self.start.split(" ")[1])

    @property
    def target(self) -> str:
        return self.start.split(" ")[1]

    def all(self, name: str) -> list[str]:
        """The values of all fields of that name, in any spelling, in order."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        values = self.all(name)
        return values[0] if values else None

    def names(self) -> set[str]:
        return {key.lower() for key, _ in self.fields}


class Wire:
    """A connected socket with a memory of what was read too far."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(PATIENCE_S)
        self.rest = b""

    @classmethod
    def connect(cls, port: int, *, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None) -> Wire:
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(PATIENCE_S)
        sock.connect(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(sock if tls is None else tls.wrap_socket(sock, server_hostname="gw.example"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- out -----------------------------------------------------------------------------------

    def send(self, *parts: bytes, pause_s: float = 0.0) -> Self:
        """Each part in a write of its own; with a pause they arrive as reads of their own."""
        for number, part in enumerate(parts):
            if number and pause_s:
                time.sleep(pause_s)
            self.sock.sendall(part)
        return self

    def get(self, path: str = "/api/orders/", *lines: str) -> Self:
        """A complete GET."""
        return self.send("\r\n".join((f"GET {path} HTTP/1.1", "Host: shop.example", *lines, "", "")).encode("latin-1"))

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """End with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def end(self) -> None:
        """No more from here; reading goes on."""
        self.sock.shutdown(socket.SHUT_WR)

    # -- in ------------------------------------------------------------------------------------

    def read_some(self) -> bytes:
        """What is there or comes next; b"" at the end, reset or not."""
        if self.rest:
            data, self.rest = self.rest, b""
            return data
        try:
            return self.sock.recv(1 << 18)
        except ConnectionError:
            return b""

    def until(self, mark: bytes) -> bytes:
        """All up to and including `mark`."""
        data = b""
        while mark not in data:
            more = self.read_some()
            if not more:
                raise Cut(data)
            data += more
        before, _, self.rest = data.partition(mark)
        return before + mark

    def exactly(self, size: int) -> bytes:
        parts, have = [], 0
        while have < size:
            more = self.read_some()
            if not more:
                raise Cut(b"".join(parts))
            parts.append(more)
            have += len(more)
        data = b"".join(parts)
        self.rest = data[size:] + self.rest
        return data[:size]

    def to_end(self) -> bytes:
        """All until the other side closes in order; a reset raises `Cut`."""
        parts = [self.rest]
        self.rest = b""
        while True:
            try:
                more = self.sock.recv(1 << 18)
            except ConnectionError:
                raise Cut(b"".join(parts)) from None
            if not more:
                return b"".join(parts)
            parts.append(more)

    def head(self) -> Message:
        raw = self.until(b"\r\n\r\n")
        start, *lines = raw[:-4].decode("latin-1").split("\r\n")
        return Message(start, _fields(lines), head=raw)

    def message(self, *, bodyless: bool = False) -> Message:
        """A complete message; a response without framing ends with the connection. 1xx have no body."""
        head = self.head()
        status = int(head.start.split(" ")[1]) if head.start.startswith("HTTP/") else None
        trailers: tuple[tuple[str, str], ...] = ()
        length = head.get("Content-Length")
        if bodyless or (status is not None and (status < 200 or status in (204, 304))):
            body = b""
        elif head.get("Transfer-Encoding") == "chunked":
            body, trailers = self._chunks()
        elif length is not None:
            body = self.exactly(int(length))
        else:
            body = b"" if status is None else self.to_end()
        return Message(head.start, head.fields, body, trailers, head.head)

    def _chunks(self) -> tuple[bytes, tuple[tuple[str, str], ...]]:
        parts: list[bytes] = []
        while size := int(self.until(b"\r\n"), 16):
            parts.append(self.exactly(size))
            assert self.exactly(2) == b"\r\n"
        lines: list[str] = []
        while (line := self.until(b"\r\n")) != b"\r\n":
            lines.append(line[:-2].decode("latin-1"))
        return b"".join(parts), _fields(lines)

    # -- how it ends ---------------------------------------------------------------------------

    def ended(self, within_s: float = PATIENCE_S) -> bool:
        """Whether the other side ends the connection in that time; what comes before is thrown away."""
        end_s = time.monotonic() + within_s
        while (left_s := end_s - time.monotonic()) > 0:
            readable, _, _ = select.select([self.sock], [], [], left_s)
            if readable and not self._drop():
                return True
        return False

    def _drop(self) -> bytes:
        try:
            return self.sock.recv(1 << 16)
        except ConnectionError:
            return b""

    def silent(self, for_s: float = 0.15) -> bool:
        """Whether the connection stays open and nothing comes for that long."""
        return not self.rest and not select.select([self.sock], [], [], for_s)[0]


def _fields(lines: list[str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value.strip(" \t")) for name, _, value in (line.partition(":") for line in lines))


class Listener:
    """An upstream in the test's hands: accept, read, answer."""

    def __init__(self) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self.sock.getsockname()[1]
        self.sock.settimeout(PATIENCE_S)
        self.accepted: list[Wire] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_all()
        self.sock.close()

    def accept(self) -> Wire:
        """The next connection."""
        sock, _ = self.sock.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = Wire(sock)
        self.accepted.append(wire)
        return wire

    def serve(self, response: bytes) -> Wire:
        """Answer the first request of the next connection."""
        wire = self.accept()
        wire.message()
        wire.send(response)
        return wire

    def nobody(self, for_s: float = 0.025) -> bool:
        """Whether no connection comes for that long."""
        return not select.select([self.sock], [], [], for_s)[0]

    def close_all(self) -> None:
        """Close all connections, also those that nobody has accepted."""
        while not self.nobody(0):
            with contextlib.suppress(OSError):
                self.accept()
        for wire in self.accepted:
            wire.close()
        self.accepted.clear()


def ok(body: bytes = b"fine", *lines: str, status: str = "200 OK") -> bytes:
    """A complete response with its length."""
    return "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines, "", "")).encode("latin-1") + body

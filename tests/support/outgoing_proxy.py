"""An outgoing proxy in the test's hands: forwards requests in absolute form, joins what asks for CONNECT, and writes both down."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self
from urllib.parse import urlsplit

from tests.support.wire import Cut, Wire


class OutgoingProxy:
    """On a free port of 127.0.0.1. With `refuses`, every request gets that status."""

    def __init__(self, *, refuses: str = "") -> None:
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.sock.getsockname()[1]
        self.refuses = refuses
        self.asked: list[str] = []
        """Start lines."""
        self.authorizations: list[str | None] = []
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self.sock, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.sock.accept()
                self._open.append(sock)
                threading.Thread(target=self._serve, args=(Wire(sock),), daemon=True).start()

    def _serve(self, client: Wire) -> None:
        with contextlib.suppress(OSError, Cut):
            while True:
                head = client.head()
                self.asked.append(head.start)
                self.authorizations.append(head.get("Proxy-Authorization"))
                if self.refuses:
                    client.send(f"HTTP/1.1 {self.refuses}\r\nContent-Length: 0\r\n\r\n".encode())
                elif head.start.startswith("CONNECT "):
                    return self._tunnel(client, head.start.split(" ")[1])
                else:
                    self._forward(client, head.head, head.start.split(" ")[1])

    def _forward(self, client: Wire, head: bytes, url: str) -> None:
        parts = urlsplit(url)
        with Wire.connect(int(parts.port or 80)) as upstream:
            upstream.send(head.replace(url.encode(), (parts.path + (f"?{parts.query}" if parts.query else "")).encode(), 1))
            answer = upstream.message()
            client.send(answer.head + answer.body)

    def _tunnel(self, client: Wire, target: str) -> None:
        upstream = socket.create_connection(("127.0.0.1", int(target.rpartition(":")[2])))
        self._open.append(upstream)
        client.send(b"HTTP/1.1 200 Connected\r\n\r\n")
        threading.Thread(target=_copy, args=(upstream, client.sock), daemon=True).start()
        _copy(client.sock, upstream)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)

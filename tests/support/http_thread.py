"""A real HTTP server in a thread of the test's process: for what gateways ask beside their services."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from tests.support.launch import free_ports


class HttpThread(ABC):
    """May be stopped and started again on the same port; while `open` is clear, answers wait."""

    def __init__(self) -> None:
        (self.port,) = free_ports(1)
        self.open = threading.Event()
        self.open.set()
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self.handler())
        name = type(self).__name__
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, name=name, daemon=True).start()

    def stop(self) -> None:
        """No connection is accepted any more."""
        self.open.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @abstractmethod
    def handler(self) -> type[Quiet]:
        """The class that answers one connection."""


class Quiet(BaseHTTPRequestHandler):
    """Answers, and says nothing of it."""

    def answer(self, body: bytes, content_type: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

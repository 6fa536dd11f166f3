"""``lbgateway register`` around a small service, as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.support.launch import accepts, free_ports

ROOT = Path(__file__).parents[2]

SERVICE = """
import http.server, signal, socketserver, sys, threading

class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass

def heard(number, _frame):
    print("heard", signal.Signals(number).name, flush=True)
    if number in (signal.SIGTERM, signal.SIGINT):
        threading.Thread(target=server.shutdown).start()

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, heard)
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer)
server.serve_forever(poll_interval=0.02)
sys.exit(7)
"""
"""Tells which signals it hears, and ends with 7 after SIGTERM or SIGINT."""


class RegisteredCommand:
    """`options` go to ``lbgateway register`` beside service, port and Consul; `command` None: `SERVICE`."""

    def __init__(self, consul: str, *options: str, command: Sequence[str] | None = None, port: int = 0) -> None:
        self.port = port or free_ports(1)[0]
        command = command or [sys.executable, "-c", SERVICE, str(self.port)]
        given = ["--service", "orders", "--port", str(self.port), "--id", "orders-1", "--consul", consul, *options, "--", *command]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lbgateway", "register", *given],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = 15) -> int:
        """Its exit code, after all its output was read."""
        code = self.process.wait(seconds)
        self._reader.join(5)
        return code

    def listens(self) -> bool:
        return accepts(self.port)

    def children(self) -> list[int]:
        """The command's process, once it runs."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def said(self, text: str) -> bool:
        return any(text in line for line in self.lines)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

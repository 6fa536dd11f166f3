"""A service manager in the small: it keeps a listening socket over restarts, starts a gateway on it, and hears how it is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Self

from tests.support.gateway_process import ROOT
from tests.support.launch import wait_until

LAUNCH = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="http")
os.execv(sys.executable, [sys.executable, "-m", "lbgateway", *sys.argv[2:]])
"""


class SocketUnit:
    """Listens on a free `port` of 127.0.0.1, whether or not a gateway runs. Its files are in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(128)
        self.port: int = self.listener.getsockname()[1]
        self.told: list[str] = []
        """Each line that was said to us, in order."""
        self.log = folder / "log"
        self._hearing = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._hearing.bind(str(folder / "notify"))
        self._hearing.setblocking(False)
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._started:
            if each.poll() is None:
                each.kill()
                each.wait(10)
        self.listener.close()
        self._hearing.close()

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start ``lbgateway`` with `arguments` on our socket; returns when it has said that it is ready."""
        before = self.heard().count("READY=1")
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "default",
            "NOTIFY_SOCKET": str(self.folder / "notify"),
            "RUNTIME_DIRECTORY": str(self.folder),
        }
        with self.log.open("ab") as log:
            descriptor = self.listener.fileno()
            command = [sys.executable, "-c", LAUNCH, str(descriptor), *arguments]
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[descriptor], start_new_session=True
            )
        self._started.append(process)
        wait_until(lambda: self.heard().count("READY=1") > before, 30, self.log.read_text)
        return process

    def heard(self) -> list[str]:
        """`told`, with what has come since."""
        try:
            while True:
                self.told += self._hearing.recv(4096).decode().splitlines()
        except BlockingIOError:
            return self.told

"""Sockets that were passed, and what the service manager is told: the two protocols, without systemd."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from lbgateway.systemd import ServiceManager, passed_sockets
from tests.support.gateway_process import ROOT

PRINT_PASSED = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
from lbgateway.systemd import NotListening, passed_sockets
environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": sys.argv[2]}
try:
    passed, = passed_sockets(environ, os.getpid())[sys.argv[2] == "admin"]
    print(passed.getsockname()[1], passed.getblocking(), passed.get_inheritable(), environ)
except NotListening as error:
    print(error)
"""


def passing(descriptor: int, name: str = "http") -> str:
    """What a process finds that gets `descriptor` as its first one, under `name`."""
    command = [sys.executable, "-c", PRINT_PASSED, str(descriptor), name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, pass_fds=[descriptor], capture_output=True, text=True, timeout=60).stdout.strip()


@pytest.mark.parametrize("name", ["http", "lbgateway.socket", "", "admin"])
def test_a_passed_socket_is_used_and_not_passed_on(name):
    """Not to children, and neither are the variables; and it never blocks. One that is named admin is for `admin.listen`."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert passing(listener.fileno(), name) == f"{listener.getsockname()[1]} False False {{}}"


def test_what_is_no_listening_socket_is_refused():
    """In words that name the descriptor."""
    with socket.socket() as idle, Path(os.devnull).open() as file:
        assert passing(idle.fileno()) == "descriptor 3, passed by LISTEN_FDS, is no listening TCP socket"
        assert passing(file.fileno()).startswith("descriptor 3, passed by LISTEN_FDS, is no socket: ")


@pytest.mark.parametrize(
    "environ", [{}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": "x", "LISTEN_PID": "7"}]
)
def test_sockets_for_others_are_left_alone(environ):
    """A variable that was inherited says nothing about us; it goes all the same."""
    assert passed_sockets(environ, 7) == ([], [])
    assert environ == {}


TELLING: list[tuple[Callable[[ServiceManager], None], list[str]]] = [
    (ServiceManager.ready, ["READY=1"]),
    (ServiceManager.stopping, ["STOPPING=1"]),
    (lambda manager: manager.succeeded_by(42), ["MAINPID=42", "READY=1"]),
]


@pytest.mark.parametrize("abstract", [False, True])
def test_the_manager_hears_each_step(tmp_path: Path, monkeypatch, abstract):
    """At a path as well as at an abstract address, which begins with an at sign."""
    monkeypatch.chdir(tmp_path)
    name = f"@lbgateway-test-{os.getpid()}" if abstract else "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hearing:
        hearing.bind("\0" + name[1:] if abstract else name)
        hearing.settimeout(5)
        manager = ServiceManager({"NOTIFY_SOCKET": name})
        for tell, lines in TELLING:
            tell(manager)
            assert hearing.recv(1000).decode().splitlines() == lines
        manager.reloading()
        reloading, moment = hearing.recv(1000).decode().splitlines()
    assert reloading == "RELOADING=1"
    assert int(moment.removeprefix("MONOTONIC_USEC=")) > 0


def test_a_manager_that_is_away_is_no_trouble(tmp_path: Path):
    """A warning where there should be one, and nothing at all where there is none."""
    with capture_logs() as logs:
        ServiceManager({}).ready()
        ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "x")}).ready()
    assert [event["said"] for event in logs] == ["READY=1"]

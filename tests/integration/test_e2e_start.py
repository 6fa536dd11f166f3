"""What may come while a gateway starts: signals, and standard streams that are not there."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.gateway_process import ROOT
from tests.support.launch import accepts, free_ports, wait_until

AS_THE_DOOR_OPENS = """
    import os, signal, sys
    from lbgateway.cli import main, run

    really = run.open_doors

    def opened(*arguments, **options):
        doors = really(*arguments, **options)
        os.kill(os.getpid(), signal.{name})
        return doors

    run.open_doors = opened
    sys.exit(main(sys.argv[1:]))
"""


def arguments(folder: Path, port: int, workers: int) -> list[str]:
    file = folder / "gateway.yaml"
    file.write_text("auth: {default: none}\ndiscovery: {provider: static}\nserver: {max_connections: 500}\n")
    return ["run", "--config", str(file), "--port", str(port), "--workers", str(workers)]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "RUNTIME_DIRECTORY": str(folder)}


def interrupted(tmp_path: Path, name: str, workers: int) -> subprocess.Popen[bytes]:
    """A gateway to which the signal comes between the bind of its port and its first loop."""
    command = [sys.executable, "-c", textwrap.dedent(AS_THE_DOOR_OPENS).format(name=name), *arguments(tmp_path, free_ports(1)[0], workers)]
    with (tmp_path / "log").open("wb") as log:
        return subprocess.Popen(command, env=environment(tmp_path), stdout=log, stderr=log)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_stop_while_the_door_opens_is_orderly(tmp_path, name, workers):
    """Whoever saw the port and told the gateway to stop gets exit code 0, as at any other time."""
    with interrupted(tmp_path, name, workers) as gateway:
        assert gateway.wait(20) == 0
    assert '"event": "stopped"' in (tmp_path / "log").read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_while_the_door_opens_ends_nobody(tmp_path, workers):
    """SIGHUP reads the file once more."""
    with interrupted(tmp_path, "SIGHUP", workers) as gateway:
        try:
            wait_until(lambda: '"event": "reloaded"' in (tmp_path / "log").read_text(), 20, (tmp_path / "log").read_text)
            wait_until(lambda: '"event": "listening"' in (tmp_path / "log").read_text(), 20, (tmp_path / "log").read_text)
            gateway.send_signal(signal.SIGTERM)
            assert gateway.wait(20) == 0
        finally:
            gateway.kill()
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_signals_while_the_program_is_loaded_wait_for_it(tmp_path, workers):
    """A service manager that reloads and stops what it has just started: both are done, in the end."""
    command = [sys.executable, "-m", "lbgateway", *arguments(tmp_path, free_ports(1)[0], workers)]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, env=environment(tmp_path), stdout=log, stderr=log) as gateway:
        wait_until(lambda: held_back(gateway.pid) >= {signal.SIGHUP, signal.SIGTERM}, 20, (tmp_path / "log").read_text)
        assert "event" not in (tmp_path / "log").read_text()
        gateway.send_signal(signal.SIGHUP)
        wait_until(lambda: '"event": "reloaded"' in (tmp_path / "log").read_text(), 20, (tmp_path / "log").read_text)
        gateway.send_signal(signal.SIGTERM)
        assert gateway.wait(20) == 0
    assert '"event": "stopped"' in (tmp_path / "log").read_text()


def held_back(pid: int) -> set[int]:
    """The signals that a process does not let in at the moment, as the kernel knows it."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigBlk")), 0)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("closed", [(0,), (1,), (0, 1), (0, 1, 2)])
def test_closed_standard_streams_are_nobody_elses(tmp_path, closed, workers):
    """A connection in the place of stdout would get the log, and the event loop does not let one end there."""

    def close() -> None:
        for number in closed:
            os.close(number)

    port = free_ports(1)[0]
    command = [sys.executable, "-m", "lbgateway", *arguments(tmp_path, port, workers)]
    with subprocess.Popen(command, env=environment(tmp_path), stderr=subprocess.DEVNULL, preexec_fn=close) as gateway:  # noqa: PLW1509 there is no other thread
        try:
            wait_until(lambda: accepts(port) or gateway.poll() is not None, 20, lambda: f"nothing listens on {port}")
            gateway.send_signal(signal.SIGTERM)
            assert gateway.wait(20) == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                gateway.kill()

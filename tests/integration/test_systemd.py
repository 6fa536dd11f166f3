"""systemd's own programs: what reads the units, and what starts a gateway on sockets that are open already."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.gateway_process import ROOT
from tests.support.launch import RunningProcess, free_ports, wait_until
from tests.support.real_servers import SYSTEMD, Binary, own_server

UNITS = ROOT / "deploy/systemd"
INSTALLED = "/opt/lbgateway/bin/lbgateway"


@pytest.fixture(scope="module")
def systemd() -> Binary:
    found = own_server(SYSTEMD)
    assert isinstance(found, Binary)
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short: its name is part of addresses."""
    made = Path(tempfile.mkdtemp(prefix="lbgateway-systemd-"))
    yield made
    shutil.rmtree(made)


def said_of(systemd: Binary, folder: Path) -> str:
    """What systemd has to say of the units in `folder`; nothing, if they are good."""
    program = Path(systemd.path).with_name("systemd-analyze")
    units = sorted(str(path) for path in folder.iterdir())
    environment = {**os.environ, **systemd.environment}
    done = subprocess.run(
        [str(program), "verify", "--man=no", *units], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


def test_systemd_reads_the_units(systemd, folder):
    """Every line of them; and a misspelt one would have been noticed."""
    for unit in UNITS.iterdir():
        (folder / unit.name).write_text(unit.read_text().replace(INSTALLED, sys.executable))
    assert said_of(systemd, folder) == ""
    service = folder / "lbgateway.service"
    service.write_text(service.read_text().replace("Type=notify", "Type=notified"))
    assert "notified" in said_of(systemd, folder)


def test_the_units_fit_together():
    """Names of sockets that the program knows, and a service that both of them start."""
    admin = (UNITS / "lbgateway-admin.socket").read_text()
    assert {"FileDescriptorName=admin", "Service=lbgateway.service"} <= set(admin.splitlines())
    assert "FileDescriptorName=http" in (UNITS / "lbgateway.socket").read_text().splitlines()


def test_a_gateway_that_systemd_starts_serves_on_both_sockets(systemd, folder):
    """Started by the first connection, which waits and is answered; the other socket is that of `admin.listen`, by its name."""
    public, admin = free_ports(2)
    file = folder / "gateway.yaml"
    config = {
        "auth": {"default": "none"},
        "discovery": {"provider": "static"},
        "server": {"port": public},
        "admin": {"listen": f"127.0.0.1:{admin}", "allow_loopback": True},
    }
    file.write_text(yaml.safe_dump(config))
    passed = ["-l", f"127.0.0.1:{public}", "-l", f"127.0.0.1:{admin}", "--fdname=http:admin"]
    inherited = [f"-E{name}={value}" for name, value in {"PYTHONPATH": str(ROOT), "RUNTIME_DIRECTORY": str(folder)}.items()]
    command = [systemd.path, *passed, *inherited, sys.executable, "-m", "lbgateway", "run", "--config", str(file)]
    unit = RunningProcess(command, systemd.environment, folder / "log")
    try:
        wait_until(lambda: unit.log().count("Listening on") == 2, 10, unit.log)
        answers = [status(port, path) for port, path in ((admin, "/health"), (public, "/health"), (admin, "/api/x"))]
        assert answers == [200, 404, 404], unit.log()
        unit.process.send_signal(signal.SIGTERM)
        assert unit.process.wait(15) == 0, unit.log()
        assert "cannot listen" not in unit.log()
    finally:
        unit.terminate()


def status(port: int, path: str) -> int:
    """Of one GET; whoever listens may still have to start its program."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()

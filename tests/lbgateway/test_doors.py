"""Where the sockets come from, and what is said where there are none."""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from lbgateway.config.server import ServerSettings
from lbgateway.doors import NoDoor, open_doors
from lbgateway.handover import meet_at
from tests.support.launch import free_ports


@pytest.fixture
def environ() -> Iterator[dict[str, str]]:
    """With a meeting place of its own."""
    folder = tempfile.mkdtemp(prefix="lbgateway-doors-")
    yield {"RUNTIME_DIRECTORY": folder}
    shutil.rmtree(folder)


@pytest.fixture
def busy() -> Iterator[ServerSettings]:
    """Somebody listens there."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield ServerSettings(host="localhost", port=other.getsockname()[1])


def test_a_free_port_is_bound(environ):
    """A successor may find us in the first of the folders."""
    doors = open_doors(ServerSettings(port=0), environ, takeover=False)
    assert (len(doors.sockets), doors.predecessor, str(doors.meeting[0])) == (1, None, environ["RUNTIME_DIRECTORY"])
    doors.close()
    assert doors.sockets[0].fileno() == -1


def test_where_nobody_runs_a_takeover_is_a_start(environ):
    """A deployment need not know, but it is said."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with capture_logs() as logs:
        open_doors(ServerSettings(port=port), environ, takeover=True).close()
    assert [event["event"] for event in logs] == ["no gateway to take over from, this one starts like any other"]


def test_a_busy_port_says_whose_it_is(environ, busy):
    """And what to do about it: a name for the host meets the number that the kernel tells."""
    told = f"localhost:{busy.port} is in use by another process"
    with pytest.raises(NoDoor, match=f"^{told}, which is no gateway that --takeover could take it from$"):
        open_doors(busy, environ, takeover=False)
    folder = re.escape(environ["RUNTIME_DIRECTORY"])
    nowhere = f"^{told}, from which nothing can be taken over: no gateway of this user waits in {folder} or "
    with pytest.raises(NoDoor, match=nowhere):
        open_doors(busy, environ, takeover=True)
    elsewhere = rf"^{told}: a running gateway, but on host 0\.0\.0\.0; only with the same host can it be replaced by --takeover$"
    with meet_at(Path(environ["RUNTIME_DIRECTORY"]), f"0.0.0.0:{busy.port}.sock"), pytest.raises(NoDoor, match=elsewhere):
        open_doors(busy, environ, takeover=True)
    running = rf"^{told}: a running gateway \(process {os.getpid()}\); with --takeover it hands the port over, finishes what it has"
    with meet_at(Path(environ["RUNTIME_DIRECTORY"]), f"127.0.0.1:{busy.port}.sock"), pytest.raises(NoDoor, match=running):
        open_doors(busy, environ, takeover=False)


@pytest.mark.parametrize("takeover", [False, True])
def test_an_address_that_does_not_exist_is_told(environ, takeover):
    """As without all this."""
    with pytest.raises(NoDoor, match=r"^cannot listen on 192\.0\.2\.1:80: "):
        open_doors(ServerSettings(host="192.0.2.1", port=80), environ, takeover=takeover)


def test_the_other_port_is_bound_too(environ):
    """Only where it is asked for; both are closed together."""
    [port] = free_ports(1)
    doors = open_doors(ServerSettings(port=0), environ, takeover=False, admin=f"localhost:{port}")
    assert [each.getsockname() for each in doors.admin] == [("127.0.0.1", port)]
    doors.close()
    assert [each.fileno() for each in (*doors.sockets, *doors.admin)] == [-1, -1]
    without = open_doors(ServerSettings(port=0), environ, takeover=False)
    assert without.admin == []
    without.close()


def test_what_goes_wrong_with_the_other_port_names_its_key(environ, busy):
    """And the public port, which was bound already, is closed again."""
    [port] = free_ports(1)
    with pytest.raises(NoDoor, match=rf"^admin\.listen: localhost:{busy.port} is in use by another process$"):
        open_doors(ServerSettings(port=port), environ, takeover=False, admin=f"localhost:{busy.port}")
    open_doors(ServerSettings(port=port), environ, takeover=False).close()

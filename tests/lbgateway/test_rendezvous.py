"""Where two gateways meet: which folders, whose, and what is said there."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from lbgateway.rendezvous import LONGEST_MESSAGE, folders, hosts_at, is_private, name_of, peer_of, say, understood


@pytest.mark.parametrize(
    ("environ", "uid", "first"),
    [
        ({}, 0, ["/run/lbgateway"]),
        ({}, 1000, ["/run/user/1000/lbgateway"]),
        ({"XDG_RUNTIME_DIR": "/run/user/7"}, 1000, ["/run/user/7/lbgateway", "/run/user/1000/lbgateway"]),
        ({"RUNTIME_DIRECTORY": "/run/edge:/run/other", "XDG_RUNTIME_DIR": ""}, 0, ["/run/edge", "/run/lbgateway"]),
    ],
)
def test_folders_are_those_of_the_service_of_the_session_and_of_the_system(environ, uid, first):
    """In this order; the last is there on every machine, and has the user in its name."""
    found = folders(environ, uid)
    assert [str(each) for each in found[:-1]] == first
    assert found[-1].name == f"lbgateway-{uid}"
    assert folders({**environ, "TMPDIR": "/var/scratch"}, uid)[-1] == Path(f"/var/scratch/lbgateway-{uid}")


def test_the_name_is_host_and_port():
    """IPv6 as well: a colon is no trouble for a file."""
    assert name_of(("127.0.0.1", 8080)) == "127.0.0.1:8080.sock"
    assert name_of(("::", 80)) == ":::80.sock"


def test_gateways_on_the_same_port_are_found_by_it(tmp_path: Path):
    """Whatever their host is; what is not complete yet, or another port, is nobody, and foreign folders are not looked at."""
    for name in ("127.0.0.1:80.sock", ":::80.sock", "127.0.0.1:8080.sock", ".::1:80.sock", "80.sock"):
        (tmp_path / name).touch()
    assert hosts_at(80, [tmp_path / "absent", tmp_path]) == ["127.0.0.1", "::"]
    tmp_path.chmod(0o777)
    assert hosts_at(80, [tmp_path]) == []


def test_only_a_folder_of_our_own_is_private(tmp_path: Path):
    """No link, nobody else's, nothing that others may write to."""
    own, link, shared = tmp_path / "own", tmp_path / "link", tmp_path / "shared"
    own.mkdir(mode=0o700)
    link.symlink_to(own)
    shared.mkdir()
    shared.chmod(0o770)
    assert is_private(own, os.getuid())
    assert not is_private(own, os.getuid() + 1)
    assert [is_private(each, os.getuid()) for each in (link, shared, tmp_path / "absent")] == [False, False, False]


def test_a_message_arrives_whole_with_its_sockets():
    """And the kernel vouches for who has sent it."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with here, there, socket.socket() as sent:
        sent.bind(("127.0.0.1", 0))
        say(here, {"ready": True}, [sent])
        say(here, {"second": 2})
        data, [descriptor], _, _ = socket.recv_fds(there, LONGEST_MESSAGE, 4)
        with socket.socket(fileno=descriptor) as received:
            assert received.getsockname() == sent.getsockname()
        assert understood(data) == {"ready": True}
        assert understood(there.recv(LONGEST_MESSAGE)) == {"second": 2}
        assert peer_of(there) == (os.getpid(), os.getuid())


@pytest.mark.parametrize("data", [b"", b"hello", b"[1]", b'"x"', b"\xff"])
def test_what_is_no_message_is_none(data):
    """The end of the conversation, too."""
    assert understood(data) is None

"""The successor's half, with gateways that are absent, silent or dead; the conversation itself is in test_handover.py."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from lbgateway import takeover
from lbgateway.handover import meet_at
from lbgateway.takeover import Predecessor, TakeoverFailed, running_at

ADDRESS = ("127.0.0.1", 8080)
NAME = "127.0.0.1:8080.sock"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short: it is part of addresses."""
    made = Path(tempfile.mkdtemp(prefix="lbgateway-takeover-"))
    yield made
    shutil.rmtree(made)


def test_where_nobody_is_there_is_nobody(folder: Path):
    """No folder, no socket, or one that a killed gateway has left behind."""
    meet_at(folder, NAME).close()
    for folders in ([], [folder / "absent"], [folder]):
        assert Predecessor.find(ADDRESS, folders) is None
        assert running_at(ADDRESS, folders) is None


def test_all_places_are_looked_at(folder: Path):
    """Who started the other gateway may have had another environment."""
    with meet_at(folder, NAME):
        assert running_at(ADDRESS, [folder / "absent", folder]) == os.getpid()


def test_a_place_that_others_can_write_to_is_not_believed(folder: Path):
    """Whoever waits there could hand us anything."""
    with meet_at(folder, NAME):
        folder.chmod(0o777)
        assert running_at(ADDRESS, [folder]) is None
        folder.chmod(0o700)


def test_a_gateway_that_hangs_is_named(folder: Path, monkeypatch):
    """Which process; the rest is for its operator."""
    monkeypatch.setattr(takeover, "ANSWER_S", 0.1)
    with meet_at(folder, NAME), pytest.raises(TakeoverFailed, match=rf"\(process {os.getpid()}\) does not answer within 0.1 s"):
        Predecessor.find(ADDRESS, [folder])


async def test_a_gateway_that_has_ended_need_not_be_sent_away():
    """It is said, and we serve."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    there.close()
    predecessor = Predecessor(here, 42, [])
    assert repr(predecessor) == "<Predecessor pid=42 sockets=0>"
    with capture_logs() as logs:
        await predecessor.retire(None)
    assert [(event["predecessor"], event["log_level"]) for event in logs] == [(42, "warning")]


async def test_a_gateway_that_says_nothing_is_not_waited_for(monkeypatch):
    """It may hang; both serve, and the operator is told."""
    monkeypatch.setattr(takeover, "ANSWER_S", 0.05)
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with there, capture_logs() as logs:
        async with asyncio.timeout(5):
            await Predecessor(here, 42, []).retire(None)
    assert [event["log_level"] for event in logs] == ["warning"]

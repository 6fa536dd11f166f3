"""Preambles, off a socket: exactly they and nothing else, from trusted proxies only, and not for long."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from lbgateway.preamble import Preambles
from lbgateway.proxy_protocol import Named
from tests.support.proxies import SIGNATURE, binary, line


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A proxy's end, and ours."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        there = socket.create_connection(listener.getsockname())
        here, _ = listener.accept()
    here.setblocking(False)
    with there, here:
        yield there, here


def preambles(*, trusted: bool = True, timeout_s: float = 5.0, most: int = 10) -> Preambles:
    return Preambles(lambda _peer: trusted, timeout_s=timeout_s, most=most)


@pytest.mark.parametrize(
    ("preamble", "source"),
    [
        (line(), "203.0.113.7"),
        (line("2001:db9::7"), "2001:db9::7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (binary(), "203.0.113.7"),
        (binary(extra=b"\x04\x00\x01x"), "203.0.113.7"),
        (binary(command=0x20), "127.0.0.1"),
        (line("127.0.0.1"), "127.0.0.1"),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 1000])
async def test_exactly_the_preamble_is_taken(pair, preamble, source, piece):
    """However it comes, what follows is left for TLS or HTTP to read."""
    there, here = pair
    reading = asyncio.create_task(preambles().receive(here))
    data = preamble + b"GET / HTTP/1.1\r\n"
    for start in range(0, len(data), piece):
        there.sendall(data[start : start + piece])
        await asyncio.sleep(0)
    named = await reading
    assert named is not None
    assert named.source == source
    rest = b""
    while len(rest) < 16:
        rest += await asyncio.get_running_loop().sock_recv(here, 100)
    assert rest == b"GET / HTTP/1.1\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a hello of TLS",
        b"PROXY TCP4 nonsense nonsense 1 2\r\n",
        b"PROXY " + b"x" * 200,
        b"PROXY \n" + b"x" * 20,
        SIGNATURE + b"\x21\x11\xff\xff",
        SIGNATURE + b"\x31\x11\x00\x0c" + b"x" * 12,
    ],
)
async def test_anything_else_finds_the_door_closed(pair, data):
    """Without a word; the operator is told."""
    there, here = pair
    there.sendall(data)
    with capture_logs() as logs:
        assert await preambles().receive(here) is None
    assert here.fileno() < 0
    assert logs[0]["peer"] == "127.0.0.1"


async def test_who_is_no_proxy_is_not_even_read(pair):
    """Whatever it says."""
    there, here = pair
    there.sendall(line())
    assert await preambles(trusted=False).receive(here) is None
    assert here.fileno() < 0


@pytest.mark.parametrize("begun", [b"", b"PROXY TCP4 203", SIGNATURE, SIGNATURE + b"\x21\x11\x00\x0c1234"])
async def test_slowness_is_bounded(pair, begun):
    """As that of a head."""
    there, here = pair
    there.sendall(begun)
    assert await preambles(timeout_s=0.05).receive(here) is None
    assert here.fileno() < 0


async def test_one_that_leaves_early_leaves_nothing(pair):
    """No task, no socket."""
    there, here = pair
    there.sendall(b"PROXY TCP4")
    there.shutdown(socket.SHUT_WR)
    assert await preambles().receive(here) is None
    assert here.fileno() < 0


async def test_no_more_are_read_at_once_than_there_may_be_connections(pair):
    """Each costs a file."""
    there, here = pair
    reader = preambles(most=0)
    there.sendall(line())
    assert await reader.receive(here) is None


async def test_the_log_is_not_filled_by_whoever_knocks(pair):
    """Once in ten seconds."""
    reader = preambles(trusted=False)
    with capture_logs() as logs:
        for _ in range(5):
            await reader.receive(pair[1].dup())
    assert len(logs) == 1


async def test_another_machines_loopback_is_no_client_of_this_machine():
    """Or whoever gets a proxy to say so could be an operator here."""
    from lbgateway.preamble import _credible

    assert _credible(Named("127.0.0.1", 443), "10.0.0.1", 8080) == Named("10.0.0.1", 8080)
    assert _credible(Named("::1", 443), "10.0.0.1", 8080) == Named("10.0.0.1", 8080)
    assert _credible(Named("127.0.0.1", 443), "127.0.0.1", 8080) == Named("127.0.0.1", 443)
    assert _credible(Named("203.0.113.7", 443), "10.0.0.1", 8080) == Named("203.0.113.7", 443)

"""The doors: sockets that listen, who waits at them, and new certificates for those who come."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from pathlib import Path

import pytest

from lbgateway.config.server import ServerTls
from lbgateway.listeners import Listeners, accept_waiting, address_of, bind
from lbgateway.tls import server_context
from tests.support.certificates import Authority


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_a_listener_listens(host, family):
    """On IPv4 and IPv6, without ever blocking."""
    with bind(host, 0) as listener:
        assert listener.family is family
        assert not listener.getblocking()
        assert address_of(listener).startswith("http://[::1]:" if ":" in host else "http://127.0.0.1:")
        socket.create_connection(listener.getsockname()[:2]).close()


def test_an_address_that_cannot_be_had_is_told_to_people():
    """Which address, and why."""
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1:{port} is in use by another process") as busy:
            bind("127.0.0.1", port)
    assert busy.value.errno == errno.EADDRINUSE
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:80: "):
        bind("192.0.2.1", 80)


def test_who_waits_at_the_door_is_let_in():
    """As many as there are, and nobody is waited for."""
    with bind("127.0.0.1", 0) as listener:
        assert accept_waiting(listener) == []
        clients = [socket.create_connection(listener.getsockname()[:2]) for _ in range(3)]
        accepted = accept_waiting(listener)
        assert {each.getpeername() for each in accepted} == {each.getsockname() for each in clients}
        for each in (*clients, *accepted):
            each.close()


class Greeter(asyncio.Protocol):
    """Says hello, and nothing else."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(b"hello")  # type: ignore[attr-defined]  # a TCP transport
        transport.close()


async def test_who_waited_is_served_after_the_door_is_closed():
    """Nobody who got through the kernel is turned away."""
    sock = bind("127.0.0.1", 0)
    place = sock.getsockname()
    listeners = Listeners([sock], Greeter, tls=None, handshake_s=1.0)
    assert repr(listeners) == f"<Listeners http://127.0.0.1:{place[1]}>"
    client = socket.create_connection(place)
    [waiting] = listeners.close()
    await listeners.take_in(waiting)
    await asyncio.sleep(0)
    assert await asyncio.to_thread(client.recv, 5) == b"hello"
    assert repr(listeners) == "<Listeners closed>"
    client.close()


async def test_who_waits_is_left_to_whoever_has_the_same_socket():
    """A takeover: the door is closed here, and nobody who stands before it notices."""
    sock = bind("127.0.0.1", 0)
    listeners = Listeners([sock], Greeter, tls=None, handshake_s=1.0)
    with sock.dup() as theirs, socket.create_connection(sock.getsockname()):
        assert listeners.sockets == [sock]
        listeners.leave()
        assert (listeners.sockets, sock.fileno()) == ([], -1)
        [waiting] = accept_waiting(theirs)
        waiting.close()


async def test_new_certificates_are_for_new_clients_and_the_door_stays_open(tmp_path: Path):
    """From plain to TLS to another certificate, on the same port, with a connection before and after each change."""
    authority = Authority(tmp_path)
    sock = bind("127.0.0.1", 0)
    place = sock.getsockname()
    listeners = Listeners([sock], Greeter, tls=None, handshake_s=1.0)
    listeners.open()
    reader, writer = await asyncio.open_connection(*place)
    assert await reader.read() == b"hello"
    writer.close()

    serials = set()
    for _ in range(2):
        cert, key = authority.issue("gw.example")
        listeners.rekey(server_context(ServerTls(cert=cert, key=key)), 1.0)
        assert (listeners.secure, len(listeners.servers)) == (True, 1)
        reader, writer = await asyncio.open_connection(*place, ssl=authority.trusting(), server_hostname="gw.example")
        assert await reader.read() == b"hello"
        serials.add(writer.get_extra_info("peercert")["serialNumber"])
        writer.close()
    assert len(serials) == 2
    assert listeners.close() == []
    with pytest.raises(OSError, match=r"Connect call failed|refused"):
        await asyncio.open_connection(*place)


async def test_a_handshake_that_does_not_end_is_given_up(tmp_path: Path):
    """A client that says nothing holds no socket for long."""
    cert, key = Authority(tmp_path).issue("gw.example")
    sock = bind("127.0.0.1", 0)
    listeners = Listeners([sock], Greeter, tls=server_context(ServerTls(cert=cert, key=key)), handshake_s=0.1)
    listeners.open()
    reader, writer = await asyncio.open_connection(*sock.getsockname())
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
    listeners.close()


def test_nothing_below_tls_1_2_is_spoken():
    """RFC 8996."""
    assert server_context(None) is None
    assert ssl.TLSVersion.TLSv1_2 > ssl.TLSVersion.TLSv1_1

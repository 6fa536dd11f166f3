"""Whom to ask, and what to do with a server that does not tell: with real sockets, where the wire matters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from discovery.dns_client import DnsClient, over_the_wire
from discovery.errors import DiscoveryError, MalformedAnswer, ReadTimedOut, ServerFailed, Unreachable
from tests.support.launch import free_ports

A, B = ("10.0.0.1", 53), ("10.0.0.2", 53)
Answers = dict[tuple[str, str], str]
Make = Callable[[dns.message.Message], bytes]


class Servers:
    """Nameservers of the test: what each knows, and who was asked what."""

    def __init__(self, **known: Answers | DiscoveryError) -> None:
        self.known = {A: known["a"], B: known.get("b", known["a"])}
        self.asked: list[str] = []

    async def __call__(self, server: tuple[str, int], query: dns.message.QueryMessage) -> dns.message.Message:
        name, kind = str(query.question[0].name), query.question[0].rdtype.name
        self.asked.append(f"{server[0][-1]} {kind} {name}")
        known = self.known[server]
        if isinstance(known, DiscoveryError):
            raise known
        return answered(query, known.get((name, kind)))


def answered(query: dns.message.Message, text: str | None) -> dns.message.Message:
    response = dns.message.make_response(query)
    if text is None:
        response.set_rcode(dns.rcode.NXDOMAIN)
    for line in (text or "").splitlines():
        name, ttl, kind, data = line.split(maxsplit=3)
        response.answer.append(dns.rrset.from_text(name, int(ttl), "IN", kind, data))
    return response


SRV = {("orders.", "SRV"): "orders. 0 SRV 1 1 9001 four.\norders. 0 SRV 1 1 9002 six.\norders. 0 SRV 1 1 9003 none."}
ADDRESSES = {("four.", "A"): "four. 0 A 10.0.0.4", ("six.", "AAAA"): "six. 0 AAAA ::6"}


async def test_addresses_that_did_not_come_along_are_asked_for() -> None:
    """IPv4 first, then IPv6 for those that have none."""
    servers = Servers(a=SRV | ADDRESSES)
    found, addresses = await DnsClient([A], servers).service("orders")

    assert len(found.records) == 3
    assert addresses == {"four": ("10.0.0.4",), "six": ("::6",)}
    assert servers.asked == ["1 SRV orders.", "1 A four.", "1 A none.", "1 A six.", "1 AAAA none.", "1 AAAA six."]


async def test_the_next_server_is_asked_and_stays_the_first() -> None:
    """Until it fails itself."""
    servers = Servers(a=ReadTimedOut("a"), b=SRV | ADDRESSES)
    client = DnsClient([A, B], servers)
    for _ in range(2):
        await client.query("orders", "SRV")
    servers.known = {A: servers.known[B], B: ReadTimedOut("b")}
    for _ in range(2):
        await client.query("orders", "SRV")

    assert [each[0] for each in servers.asked] == ["1", "2", "2", "2", "1", "1"]


async def test_if_none_can_tell_the_last_failure_counts() -> None:
    """Each was asked once."""
    servers = Servers(a=ReadTimedOut("a"), b=ServerFailed("b"))
    with pytest.raises(ServerFailed, match="b"):
        await DnsClient([A, B], servers).service("orders")
    assert len(servers.asked) == 2


class Datagrams(asyncio.DatagramProtocol):
    """A server over UDP that answers with what a function makes of the query."""

    def __init__(self, make: Make) -> None:
        self.make = make
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, sender: tuple[str, int]) -> None:
        self.transport.sendto(self.make(dns.message.from_wire(data)), sender)


@asynccontextmanager
async def nameserver(udp: Make, tcp: Make) -> AsyncIterator[tuple[str, int]]:
    """A real one on a port of its own, for both transports."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(2))
        wire = tcp(dns.message.from_wire(await reader.readexactly(length)))
        writer.write(len(wire).to_bytes(2) + wire)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: Datagrams(udp), local_addr=("127.0.0.1", port))
    try:
        yield "127.0.0.1", port
    finally:
        transport.close()
        server.close()
        await server.wait_closed()


def records(count: int, flags: int = 0) -> Make:
    """An answer with so many records."""

    def make(query: dns.message.Message) -> bytes:
        response = answered(query, "\n".join(f"orders. 0 SRV 1 1 {9000 + number} a." for number in range(count)))
        response.flags |= flags
        return response.to_wire(max_size=65535)

    return make


@pytest.mark.parametrize(
    ("udp", "tcp", "told"),
    [
        (records(3), records(99), 3),
        (records(3, dns.flags.TC), records(50), 50),
        (records(17), records(200), 200),
    ],
)
async def test_tcp_is_used_where_udp_may_not_have_told_everything(udp, tcp, told: int) -> None:
    """Truncated with a word, or so many that some may have been left out without one."""
    async with nameserver(udp, tcp) as server:
        found, _ = await DnsClient([server]).service("orders")

    assert len(found.records) == told


async def test_nonsense_is_malformed() -> None:
    """An answer to something else."""

    def other(query: dns.message.Message) -> bytes:
        response = answered(dns.message.make_query("other.", "SRV", id=query.id), "other. 0 SRV 1 1 1 a.")
        return response.to_wire()

    async with nameserver(other, other) as server:
        with pytest.raises(MalformedAnswer, match="answers nonsense"):
            await over_the_wire(server, dns.message.make_query("orders.", "SRV"))


async def test_nobody_there_is_said_with_the_place() -> None:
    """By silence or by a refusal, as the system likes."""
    (port,) = free_ports(1)
    with pytest.raises((Unreachable, ReadTimedOut), match=f"the nameserver 127.0.0.1:{port}"):
        await over_the_wire(("127.0.0.1", port), dns.message.make_query("orders.", "SRV"))

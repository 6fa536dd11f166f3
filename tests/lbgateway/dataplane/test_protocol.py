"""Requests of one connection, answered in their order; and what a client's own connection tells of it."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from lbgateway.dataplane.plane import Limits
from lbgateway.dataplane.protocol import MAX_EARLY_BYTES, GatewayProtocol
from lbgateway.dataplane.routing import KNOWN, KNOWN_BYTES, RouteTable
from tests.support.playbook import Client, World, get, ok, post, request
from tests.support.transports import FakeTransport

CHAT = ("Connection: Upgrade", "Upgrade: chat")
SWITCHED = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n"


def statuses(client: Client) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", client.got())]


# -- their order ---------------------------------------------------------------------------------


def test_answers_come_in_the_order_of_the_requests():
    """Whoever answers them: an upstream, or the gateway itself."""
    world = World(orders=1)
    client = world.client().sends(get("/api/orders/1") + get("/nowhere") + get("/api/orders/2") + get("/a%2fb"))
    upstream = world.connects()
    upstream.sends(ok())
    assert upstream.got().count(b"GET ") == 2
    upstream.sends(ok())
    assert statuses(client) == [200, 404, 200, 400]
    assert (client.transport.ended, world.left) == (True, [])


def test_a_body_that_waits_its_turn_is_complete_when_it_comes():
    """Pieces and end, however they came."""
    world = World(orders=1)
    client = world.client().sends(get("/api/orders/1") + post("/api/orders/2", b"abcdef")[:-3])
    assert client.paused
    upstream = world.connects()
    upstream.sends(ok())
    client.sends(b"def")
    assert upstream.got().endswith(b"\r\n\r\nabcdef")
    upstream.sends(ok())
    assert (statuses(client), world.left) == ([200, 200], [])


def test_reading_stops_while_requests_wait_and_goes_on_afterwards():
    """A client cannot make the gateway keep more than one read of its requests."""
    world = World(orders=1)
    client = world.client().sends(get("/api/orders/1") + get("/api/orders/2"))
    assert client.paused
    client.sends(get("/api/orders/3"))
    upstream = world.connects()
    for _ in range(3):
        upstream.sends(ok())
    assert (statuses(client), client.paused, upstream.got().count(b"GET ")) == ([200] * 3, False, 3)


def test_thousands_of_requests_in_one_read_are_a_loop():
    """Not a recursion."""
    client = World().client().sends(get("/nowhere") * 3000)
    assert statuses(client) == [404] * 3000


def test_nothing_behind_the_last_request_counts():
    """`Connection: close` says so itself; the upstream never sees it."""
    world = World(orders=1)
    client = world.client().sends(get("/api/orders/1", "Connection: close") + get("/api/orders/2"))
    upstream = world.connects().sends(ok())
    assert upstream.got().count(b"GET ") == 1
    assert (statuses(client), client.closed or client.transport.ended, world.left) == ([200], True, [])


def test_a_client_that_leaves_takes_its_waiting_requests_along():
    """They were never sent anywhere."""
    world = World(orders=1)
    client = world.client().sends(get("/api/orders/1") + get("/api/orders/2"))
    client.transport.paused = False  # as if the end overtook the pause
    client.ends()
    assert (world.left, world.statuses(), world.plane.connections) == ([], {("GET", 499): 1}, set())


# -- back-pressure -------------------------------------------------------------------------------


def test_a_request_begun_for_a_client_that_reads_slowly_knows_it():
    """The answer before it is still in the buffer."""
    world = World(orders=1)
    client = world.client()
    client.stalls()
    client.sends(get("/nowhere"), get("/api/orders/1"))
    assert client.protocol.write_paused
    upstream = world.connects()
    assert upstream.paused
    client.flows()
    assert (upstream.paused, client.protocol.write_paused) == (False, False)


# -- upgrades ------------------------------------------------------------------------------------


def test_what_comes_before_the_switch_is_kept_and_passed_on():
    """Clients may speak before they are answered; but not without end."""
    world = World(orders=1)
    client = world.client().sends(get("/api/orders/", *CHAT) + b"early ", b"bird")
    assert not client.paused
    upstream = world.connects()
    upstream.got()
    upstream.sends(SWITCHED)
    assert upstream.got() == b"early bird"
    client.sends(b" sings")
    assert upstream.got() == b" sings"


def test_too_much_before_the_switch_waits_in_the_network():
    """64 KiB are enough for any handshake."""
    world = World(orders=1)
    client = world.client().sends(get("/api/orders/", *CHAT), b"x" * (MAX_EARLY_BYTES + 1))
    assert client.paused
    upstream = world.connects()
    upstream.got()
    upstream.sends(SWITCHED)
    assert (len(upstream.got()), client.paused) == (MAX_EARLY_BYTES + 1, False)


@pytest.mark.parametrize("answer", [ok(), b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"])
def test_a_refused_switch_leaves_a_connection_for_requests(answer):
    """What came meanwhile is one."""
    world = World(orders=1)
    client = world.client().sends(get("/api/orders/1", *CHAT))
    client.sends(get("/nowhere"))
    world.connects().sends(answer)
    assert statuses(client)[1:] == [404]
    assert world.left == []


def test_a_switch_that_the_gateway_refuses_itself_does_not_hold_the_connection():
    """There is no upstream whose word could be waited for."""
    client = World().client().sends(get("/nowhere", *CHAT) + get("/nowhere"))
    client.sends(get("/nowhere"))
    assert statuses(client) == [404] * 3


# -- one connection ------------------------------------------------------------------------------


def test_one_connection_too_many_is_told_so():
    """503 and the end, whatever it asks; it counts no longer when it is gone."""
    world = World(orders=1)
    world.plane.limits = Limits(max_connections=1)
    first, second = world.client(), world.client()
    answer = second.got()
    assert (answer.startswith(b"HTTP/1.1 503 "), b"problem:overloaded" in answer) == (True, True)
    second.sends(get("/api/orders/"))
    assert (world.asked, second.got()) == ([], b"")
    second.ends()
    first.ends()
    third = world.client().sends(get("/nowhere"))
    assert statuses(third) == [404]


@pytest.mark.parametrize(
    ("trusted", "given", "kept"),
    [
        (False, "mine-1", False),
        (True, "mine-1", True),
        (True, "a/b+c=d:e.f_g", True),
        (True, "with space", False),
        (True, "", False),
        (True, "x" * 128, True),
        (True, "x" * 129, False),
        (True, 'quote"', False),
    ],
)
def test_whose_request_id_is_taken_over(trusted, given, kept):
    """A trusted proxy's, if it is one clean word; otherwise 128 random bits, told to both sides."""
    world = World(orders=1)
    client = world.client()
    client.protocol.trusted = trusted
    client.sends(get("/api/orders/", f"X-Request-Id: {given}"))
    upstream = world.connects()
    sent = re.findall(rb"X-Request-Id: ([^\r]*)\r\n", upstream.got())
    upstream.sends(ok())
    assert re.findall(rb"X-Request-Id: ([^\r]*)\r\n", client.got()) == sent
    assert (sent == [given.encode()]) == kept
    assert kept or re.fullmatch(rb"[0-9a-f]{32}", sent[0])


def test_the_scheme_and_the_port_are_those_of_the_connection():
    """TLS is what the transport says."""
    world = World(orders=1)
    client = world.client("2001:db8::7", sslcontext=object(), sockname=("2001:db8::1", 8443, 0, 0)).sends(get())
    sent = world.connects().got()
    assert b"X-Forwarded-For: 2001:db8::7\r\nX-Forwarded-Proto: https\r\n" in sent
    assert b"X-Forwarded-Port: 8443\r\n" in sent
    assert client.protocol.scheme == b"https"


@pytest.mark.parametrize("peer", ["::ffff:198.51.100.7", "198.51.100.7"])
def test_a_client_has_one_address_whatever_the_socket_takes(peer):
    """One for IPv6 and IPv4 tells of the latter as of the former."""
    world = World(orders=1)
    client = world.client(peer).sends(get())
    assert b"X-Forwarded-For: 198.51.100.7\r\n" in world.connects().got()
    assert client.protocol.peer == "198.51.100.7"


def test_a_socket_without_addresses_is_served_as_well():
    """A UNIX domain socket has none."""
    world = World(orders=1)
    world.client(peername=None, sockname="/run/gateway.sock").sends(get())
    assert b"X-Forwarded-For: \r\n" in world.connects().got()


def test_the_server_knows_its_connections():
    """uvicorn asks them to shut down, and waits until they are gone."""
    world = World(orders=1)
    state: Any = SimpleNamespace(connections=set())
    protocol = GatewayProtocol(world.plane, state)
    transport = FakeTransport(world.later)
    transport.start(protocol)
    assert (state.connections, world.plane.connections) == ({protocol}, {protocol})
    transport.arrive(None)
    world.turn()
    assert (state.connections, world.plane.connections) == (set(), set())


def test_a_cut_resets_the_connection():
    """Where only the end of the connection ends a body, an orderly one would make it look complete."""
    options: list[tuple[Any, ...]] = []
    sock = SimpleNamespace(setsockopt=lambda *option: options.append(option))
    world = World(orders=1)
    client = world.client(socket=sock).sends(request("GET", "/api/orders/", version="1.0"))
    world.connects().sends(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").ends()
    assert (client.cut, len(options), options[0][2]) == (True, 1, b"\x01\x00\x00\x00\x00\x00\x00\x00")


def test_what_is_known_of_request_lines_is_bounded_and_as_old_as_the_routes():
    """Clients choose them; and who answers what is for the routes to say, as they are now."""
    world = World(orders=1)
    client = world.client().sends(get("/api/orders/x"))
    upstream = world.connects().sends(ok())
    known = world.plane.known_lines
    for number in range(KNOWN + 10):
        client.sends(get(f"/api/orders/{number}"))
        upstream.sends(ok())
    client.sends(request("DELETE", "/api/orders/7"))
    upstream.sends(ok())
    for target in ("/api/orders/" + "x" * KNOWN_BYTES, "/health"):
        client.sends(get(target))
        assert f"GET {target}".encode() not in known
        client.got()
        client = world.client().sends(get("/api/orders/7"))
        upstream.sends(ok())
    assert len(known) == KNOWN
    assert known[b"DELETE /api/orders/7"][:2] == (b"DELETE", b"/api/orders/7")

    world.plane.use_routes(RouteTable(()))
    client.got()
    assert client.sends(get("/api/orders/7")).got().startswith(b"HTTP/1.1 404 ")


def test_it_shows_its_state():
    """Who, how far, what is being answered, how much waits."""
    world = World(orders=1)
    client = world.client().sends(get("/api/orders/") + get("/api/orders/"))
    assert repr(client.protocol) == f"<GatewayProtocol 192.0.2.7 HTTP handler={client.exchange!r} queued=1>"

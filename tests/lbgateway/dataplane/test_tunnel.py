"""Two fake transports joined after a 101: what goes in at one side comes out at the other."""

from __future__ import annotations

from lbgateway.dataplane.exchange_state import Phase
from tests.support.playbook import Client, Peer, World, get

UPGRADE = get("/api/orders/chat", "Connection: Upgrade", "Upgrade: websocket")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def joined(early: bytes = b"", rest: bytes = b"") -> tuple[Client, Peer]:
    """A tunnel that stands; `early` came right behind the request, `rest` right behind the 101."""
    world = World(orders=1)
    client = world.client().sends(UPGRADE + early)
    upstream = world.connects()
    upstream.got()
    upstream.sends(SWITCHED + rest)
    assert client.exchange.phase is Phase.TUNNEL
    if not rest and not early:
        client.got()
    return client, upstream


def test_bytes_go_both_ways_as_they_are():
    """Whatever they look like: nothing is parsed any more."""
    client, upstream = joined()
    client.sends(b"GET / HTTP/1.1\r\n\r\n", b"\x00\xff")
    assert upstream.got() == b"GET / HTTP/1.1\r\n\r\n\x00\xff"
    upstream.sends(b"HTTP/1.1 500 No\r\n\r\n", b"\x81")
    assert client.got() == b"HTTP/1.1 500 No\r\n\r\n\x81"
    assert (client.closed, upstream.closed) == (False, False)


def test_nothing_that_came_with_the_heads_is_lost():
    """The first bytes of the new protocol may share a read with the request, or with the 101."""
    client, upstream = joined(early=b"hello", rest=b"welcome")
    assert upstream.got() == b"hello"
    assert client.got().endswith(b"\r\n\r\nwelcome")


def test_the_end_of_the_client_is_passed_on_and_the_other_way_stays_open():
    """Half closed, as TCP allows."""
    client, upstream = joined()
    client.sends(b"bye").ends()
    assert (upstream.got(), upstream.transport.ended) == (b"bye", True)
    upstream.sends(b"and to you")
    assert (client.got(), client.closed, upstream.closed) == (b"and to you", False, False)
    assert client.world.left != []


def test_the_end_of_the_upstream_is_passed_on_and_the_other_way_stays_open():
    """As above, seen from the other side."""
    client, upstream = joined()
    upstream.ends()
    assert (client.transport.ended, client.closed) == (True, False)
    client.sends(b"still here")
    assert (upstream.got(), upstream.closed) == (b"still here", False)


def test_at_the_second_end_all_is_over():
    """Whoever ends last."""
    for first, second in ((0, 1), (1, 0)):
        sides = joined()
        sides[first].ends()
        sides[second].ends()
        assert [side.closed for side in sides] == [True, True]
        assert sides[0].world.left == []


def test_a_side_that_breaks_takes_the_other_along():
    """Nobody is left to talk to."""
    for broken in (0, 1):
        sides = joined()
        sides[broken].resets()
        assert [side.closed for side in sides] == [True, True]
        assert sides[0].world.left == []


def test_a_client_that_reads_slowly_makes_the_upstream_wait():
    """And only it; once it reads again, so does the gateway."""
    client, upstream = joined()
    client.stalls()
    upstream.sends(b"one")
    assert (upstream.paused, client.paused) == (True, False)
    upstream.sends(b"two")
    assert client.got() == b""
    client.flows()
    assert (client.got(), upstream.paused) == (b"onetwo", False)


def test_an_upstream_that_reads_slowly_makes_the_client_wait():
    """As above, seen from the other side."""
    client, upstream = joined()
    upstream.stalls()
    client.sends(b"one")
    assert (client.paused, upstream.paused) == (True, False)
    client.sends(b"two")
    assert upstream.got() == b""
    upstream.flows()
    assert (upstream.got(), client.paused) == (b"onetwo", False)


def test_the_tunnel_ends_once_with_what_it_counted():
    """One line in the log, one count in the metrics, one attempt, though two transports tell of their end."""
    client, upstream = joined(early=b"12", rest=b"123")
    world, exchange = client.world, client.exchange
    client.sends(b"345")
    upstream.sends(b"4567")
    client.resets()
    upstream.resets()
    assert (exchange.phase, exchange.bytes_in, exchange.bytes_out) == (Phase.SETTLED, 5, 7)
    assert world.statuses() == {("GET", 101): 1}
    [endpoint] = world.endpoints()
    assert (endpoint.active, endpoint.pool.active, endpoint.pool.idle, world.left) == (0, 0, [], [])


def test_traffic_in_either_direction_keeps_the_tunnel_alive():
    """`moved` is what the sweep looks at."""
    client, upstream = joined()
    exchange = client.exchange
    for side in (client, upstream):
        exchange.moved = False
        side.sends(b"ping")
        assert exchange.moved is True

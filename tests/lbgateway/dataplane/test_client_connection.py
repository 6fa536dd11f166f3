"""How a client connection is bounded in time, and how it ends: traces with a clock in the test's hand."""

from __future__ import annotations

from time import monotonic

import pytest

from lbgateway.dataplane.client_connection import LINGER_S
from lbgateway.dataplane.plane import FAREWELL_S, Limits
from tests.support.playbook import Client, World, get, ok, request


def ticking(world: World, seconds: float, *, by: float = 0.5) -> None:
    """So much time goes by, with a sweep every now and then."""
    now_s = getattr(world, "now_s", monotonic())
    end_s = now_s + seconds
    while now_s < end_s:
        now_s = min(now_s + by, end_s)
        world.ticks(now_s)
    world.now_s = now_s  # type: ignore[attr-defined]  # this test's own clock


def world_of(**limits: float) -> World:
    world = World(orders=1)
    world.plane.limits = Limits(**limits)  # type: ignore[arg-type]  # all of these are seconds
    return world


def test_an_idle_connection_is_closed_after_keep_alive():
    """With nothing to read and nothing to say, without a reset."""
    world = world_of(keep_alive_s=10.0)
    client = world.client()
    ticking(world, 9.9)
    assert not client.closed
    ticking(world, 1.0)
    assert (client.closed, client.cut, client.got()) == (True, False, b"")


def test_the_time_of_an_idle_connection_begins_anew_with_each_answer():
    """What counts is the pause."""
    world = world_of(keep_alive_s=10.0)
    client = world.client()
    ticking(world, 8)
    client.sends(get())
    world.connects().sends(ok())
    ticking(world, 8)
    assert not client.closed
    ticking(world, 4)
    assert client.closed


def test_a_head_that_stays_unfinished_is_408():
    """However lively it drips."""
    world = world_of(header_timeout_s=5.0)
    client = world.client()
    for piece in (b"GET / HTT", b"P/1.1\r\n", b"Host: x\r\n", b"A: "):
        client.sends(piece)
        ticking(world, 1)
    assert client.got() == b""
    ticking(world, 2.5)
    assert client.got().startswith(b"HTTP/1.1 408 ")
    assert client.transport.ended


def lingering(world: World) -> Client:
    """Refused with input unread: the answer is out, the end is announced, and the client may still read."""
    client = world.client().sends(b"nonsense\r\n\r\n")
    assert (client.transport.ended, client.closed) == (True, False)
    return client


def test_a_refused_client_has_time_to_read_why():
    """What it sends meanwhile is thrown away; then the connection is cut."""
    world = world_of()
    client = lingering(world)
    assert client.got().startswith(b"HTTP/1.1 400 ")
    client.sends(get())
    assert (client.got(), world.asked) == (b"", [])
    ticking(world, LINGER_S - 0.1)
    assert not client.closed
    ticking(world, 1.0)
    assert client.cut


def test_a_refused_client_that_ends_is_closed_at_once():
    """Both sides have said their last."""
    world = world_of()
    client = lingering(world).ends()
    assert (client.closed, client.cut, world.plane.connections) == (True, False, set())


def test_a_slow_reader_is_waited_for_as_long_as_it_reads():
    """The last answer of a connection is not cut off behind its back."""
    world = world_of(body_timeout_s=10.0)
    client = world.client().sends(get("/api/orders/", "Connection: close"))
    client.stalls()
    world.connects().sends(ok(b"x" * 1000))
    assert client.closed
    ticking(world, 9)
    client.transport.takes(500)
    ticking(world, 9)
    assert not client.cut
    client.flows()
    assert client.got().endswith(b"x" * 1000)
    assert (client.cut, world.plane.connections) == (False, set())


@pytest.mark.parametrize(
    ("message", "ends"), [(get("/nowhere", "Connection: close"), False), (get("/nowhere"), True), (get("/nowhere") + b"GET /", True)]
)
def test_a_reader_that_reads_no_more_is_cut(message, ends):
    """Whether or not it has ended its own side: a connection is not held for ever by an unread answer."""
    world = world_of(body_timeout_s=10.0, keep_alive_s=5.0)
    client = world.client()
    client.stalls()
    client.sends(message)
    if ends:
        client.ends()
    ticking(world, 60)
    assert (client.cut, world.plane.connections) == (True, set())


def test_while_draining_an_idle_connection_gets_a_short_farewell():
    """A request that is on its way by now is still answered."""
    world = world_of()
    idle, late = world.client(), world.client()
    ticking(world, 1)
    world.plane.drain()
    for client in (idle, late):
        client.protocol.shutdown()
    world.ticks(world.now_s)  # type: ignore[attr-defined]  # set by ticking
    late.sends(get())
    ticking(world, FAREWELL_S + 0.5)
    assert (idle.closed, late.closed) == (True, False)
    world.connects().sends(ok())
    assert b"Connection: close\r\n" in late.got()
    assert late.closed


def test_nothing_is_answered_twice_in_one_read():
    """A refusal ends the connection; what is malformed behind it, in the same read, is nobody's request."""
    client = World().client().sends(b"GET / HTTP/1.1\r\n\r\n\x00\xff")
    assert client.got().count(b"HTTP/1.1 400 ") == 1


def test_a_paused_connection_reads_on_once():
    """Pausing twice is resumed once; on a closed one neither does anything."""
    world = World()
    client = world.client().sends(request("POST", "/api/orders/", "Content-Length: 9", body=b"abc"))
    assert client.paused
    client.protocol.pause_request()
    client.protocol.resume_request()
    assert not client.paused
    client.ends()
    client.protocol.pause_request()
    client.protocol.resume_request()
    assert not client.paused

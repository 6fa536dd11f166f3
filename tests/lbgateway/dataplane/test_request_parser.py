"""Requests out of bytes: what is framed well, what is refused, and what a connection remembers of its last head."""

from __future__ import annotations

import pytest

from tests.support.playbook import World, get, ok


@pytest.mark.parametrize(
    "between",
    [
        get("/api/orders/b", "Connection: Upgrade", "Upgrade: x", "X-B: 1"),
        get("/api/orders/b", "X-B: 1"),
        get("/api/orders/b", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "X-B: 1"),
        b"POST /api/orders/b HTTP/1.1\r\nHost: shop.example\r\nX-B: 1\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_a_remembered_head_is_that_of_the_request_before_and_of_no_other(between):
    """The same bytes again, but with another request in between: its fields do not come along."""
    world = World(orders=1)
    client = world.client().sends(get("/api/orders/a", "X-A: 1"))
    upstream = world.connects().sends(ok())
    client.sends(between)
    upstream.sends(ok())
    upstream.got()
    client.sends(get("/api/orders/c", "X-A: 1"))
    sent = b"".join(peer.got() for peer in (*world.upstreams, *(asked.succeeds() for asked in tuple(world.asked))))
    assert sent.startswith(b"GET /c HTTP/1.1\r\nHost: shop.example\r\nX-A: 1\r\nX-Forwarded-For: ")

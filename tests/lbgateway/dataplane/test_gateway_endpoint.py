"""The live record of one instance: its pool may be replaced, its numbers stay."""

from __future__ import annotations

import asyncio

from balancers.endpoint_set import Member
from discovery import static_instance
from lbgateway.dataplane.gateway_endpoint import GatewayEndpoint, endpoint_key
from lbgateway.dataplane.pool import Pool


def made(loop: asyncio.AbstractEventLoop) -> GatewayEndpoint:
    instance = static_instance("orders", "127.0.0.1", 9001)
    return GatewayEndpoint(instance, Member(endpoint_key(instance), instance.id), Pool("127.0.0.1", 9001, 4.0, loop))


async def test_a_new_pool_keeps_the_bounds_of_the_old_one():
    """Other TLS means other connections, not more of them; and who gets nothing new gets nothing new over them either."""
    endpoint = made(asyncio.get_running_loop())
    before = endpoint.pool
    before.max_connections = 3
    before.retire()

    endpoint.replace_pool(Pool("127.0.0.1", 9001, 4.0, asyncio.get_running_loop()))

    assert endpoint.pool is not before
    assert (endpoint.pool.max_connections, endpoint.pool.retired) == (3, True)


async def test_connections_are_told_as_idle_and_in_use():
    """As operators see them."""
    endpoint = made(asyncio.get_running_loop())
    endpoint.pool.active = 2

    assert endpoint.connections() == (0, 2)


def test_an_instance_that_moved_is_another_endpoint():
    """Same id, other port: its connections, latencies and failures are not those of before."""
    assert endpoint_key(static_instance("orders", "127.0.0.1", 9001, id="a")) != endpoint_key(
        static_instance("orders", "127.0.0.1", 9002, id="a")
    )


async def test_a_history_begins_with_the_first_thing_worth_remembering():
    """Most endpoints have none."""
    endpoint = made(asyncio.get_running_loop())
    assert endpoint.history is None
    assert endpoint.remembers() is endpoint.history

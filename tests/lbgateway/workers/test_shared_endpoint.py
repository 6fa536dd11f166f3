"""Places at an instance that several workers fill: two workers' endpoints over one board."""

from __future__ import annotations

import asyncio
from math import inf
from random import Random

from hypothesis import example, given
from hypothesis import strategies as st

from lbgateway.dataplane.upstream import Upstream, endpoint_key
from lbgateway.workers.board import SLOTS, Board
from lbgateway.workers.shared_endpoint import Places, SharedEndpoint
from tests.lbgateway.dataplane.test_upstream import idle_connection, instance, says
from tests.lbgateway.dataplane.test_upstream import one as one_of
from tests.support.playbook import HandLoop


def endpoints(limit: float, *, workers: int = 2, slot: int = 3) -> list[SharedEndpoint]:
    """The same instance as each worker has it."""
    board, found = Board.create(workers), []
    for worker in range(workers):
        places = Places(board, worker)
        places.slots[endpoint_key(instance())] = slot
        upstream = Upstream("orders", "round_robin", pool_idle_s=4.0, loop=HandLoop(), random=Random(1), make_endpoint=places.made)  # type: ignore[arg-type]  # never asked to connect
        says(upstream, instance())
        endpoint = one_of(upstream)
        assert isinstance(endpoint, SharedEndpoint)
        endpoint.most_active = limit
        found.append(endpoint)
    return found


def takes(endpoint: SharedEndpoint) -> bool:
    """As a pick does: only where there is room."""
    if endpoint.active < endpoint.most_active:
        endpoint.active += 1
        return True
    return False


async def test_together_they_never_exceed_the_limit():
    """In whichever order they come and go."""
    steps = st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=60)

    @given(st.integers(1, 9), steps)
    def holds(limit: int, steps: list[tuple[int, bool]]) -> None:
        workers = endpoints(float(limit), workers=3)
        for worker, comes in steps:
            endpoint = workers[worker]
            used = sum(each.active for each in workers)
            if comes:
                assert takes(endpoint) == (used < limit)
            elif endpoint.active:
                endpoint.active -= 1
        assert sum(each.active for each in workers) <= limit

    holds()


async def test_who_is_stopped_between_looking_and_taking_is_counted():
    """By the kernel, while the others go on: what was looked at is there when it goes on itself."""
    steps = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["looks", "takes", "leaves"])), max_size=60)

    @given(st.integers(1, 5), steps)
    @example(2, [(0, "looks"), (1, "looks"), (1, "takes"), (1, "looks"), (1, "takes"), (0, "takes")])
    def holds(limit: int, steps: list[tuple[int, str]]) -> None:
        workers, has_looked = endpoints(float(limit)), set[int]()
        for worker, what in steps:
            endpoint = workers[worker]
            if worker in has_looked:
                if what == "takes":
                    has_looked.remove(worker)
                    endpoint.active += 1
            elif what == "looks" and endpoint.active < endpoint.most_active:
                has_looked.add(worker)
            elif what == "leaves" and endpoint.active:
                endpoint.active -= 1
            assert sum(each.active for each in workers) + len(has_looked) <= limit

    holds()


async def test_a_place_that_is_claimed_is_nobody_else_s_until_it_is_used_or_given_back():
    """Near to the limit a look is a claim: of two who look at the last place one has it."""
    one, other = endpoints(1.0)
    assert one.most_active == 1.0
    assert other.most_active == 0.0
    await asyncio.sleep(0)
    assert other.most_active == 1.0
    other.active += 1
    await asyncio.sleep(0)
    assert one.most_active == 0.0


async def test_what_the_parent_has_found_out_counts_where_it_is_less():
    """An adaptive limit is one for all; what is configured is its upper bound."""
    one, other = endpoints(20.0)
    one._places.board.limits[3] = 5
    other.active = 4
    assert one.most_active == 1.0
    one._places.board.limits[3] = 50
    assert one.most_active == 16.0


async def test_without_a_limit_nothing_is_looked_up():
    """And without a place on the board each worker has its part of one."""
    one, other = endpoints(inf)
    other.active = 1000
    assert one.most_active == inf
    for endpoint in endpoints(9.0, slot=SLOTS + 5):
        assert (endpoint.most_active, endpoint.number) == (4.0, SLOTS + 5)
    for endpoint in endpoints(1.0, slot=SLOTS):
        assert endpoint.most_active == 1.0


async def test_no_more_connections_are_kept_idle_than_a_part():
    """`limits.max_connections` counts those of all workers, idle ones included."""
    one, _ = endpoints(4.0)
    one.pool.max_connections = 4
    connections = [idle_connection(one) for _ in range(4)]
    one.trim()
    assert one.pool.idle == connections[2:]
    assert one.connections() == (2, 0)

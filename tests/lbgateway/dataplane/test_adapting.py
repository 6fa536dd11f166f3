"""Limits that follow the latency: from the counts of attempts to the number that requests are compared with."""

from __future__ import annotations

from math import inf
from random import Random

import pytest

from lbgateway.dataplane.adapting import Adapting
from lbgateway.dataplane.gateway_endpoint import GatewayEndpoint
from lbgateway.policies.adaptive_limit import FIRST, MEASURE_AT, AdaptiveLimit
from tests.support.playbook import World, get

ADAPTIVE = "services: {orders: {limits: {adaptive: true, max_connections: %s}}}\n"


class Watched:
    """The endpoints of one service and their limits, swept ten times a second."""

    def __init__(self, count: int, most: float = 100.0) -> None:
        self.world = World(orders=count)
        self.endpoints = list(self.world.endpoints())
        self.adapting = Adapting(lambda: most, Random(1))
        self.now_s = 0.0

    def sweeps(self, seconds: float, *, answered: int = 0, took_s: float = 0.02, active: int = 0) -> None:
        """So many are answered by each in every tenth of a second, each after `took_s`."""
        for _ in range(round(seconds * 10)):
            for endpoint in self.endpoints:
                endpoint.active = active
                endpoint.series.answered += [took_s] * answered
            self.adapting.sweep(self.endpoints, self.now_s, ready=len(self.endpoints))
            self.now_s += 0.1

    def limits(self) -> list[float]:
        return [endpoint.most_active for endpoint in self.endpoints]


def test_each_instance_has_a_limit_of_its_own():
    """It grows where all of it is used at the usual latency, and falls where that rises."""
    watched = Watched(2)
    quick, slow = watched.endpoints
    watched.sweeps(3, answered=30, active=19)
    assert min(watched.limits()) > FIRST
    before = watched.limits()
    for _ in range(20):
        for endpoint, took_s in ((quick, 0.02), (slow, 0.2)):
            endpoint.active = int(endpoint.most_active)
            endpoint.series.answered += [took_s] * 30
        watched.adapting.sweep(watched.endpoints, watched.now_s, ready=2)
    assert quick.most_active > before[0]
    assert slow.most_active < before[1] / 2


def test_what_is_configured_is_the_upper_bound():
    """Whatever the latency says."""
    watched = Watched(1, most=21)
    watched.sweeps(5, answered=30, active=21)
    assert watched.limits() == [21]


def test_a_bound_that_is_raised_makes_room():
    """A reload has raised it: the limit grows on."""
    bounds = [21.0]
    watched = Watched(1)
    watched.adapting = Adapting(lambda: bounds[-1], Random(1))
    watched.sweeps(5, answered=30, active=21)
    bounds.append(100.0)
    watched.sweeps(5, answered=30, active=21)
    assert watched.limits()[0] > 21


def test_one_is_measured_at_a_time():
    """The others take what it does not."""
    watched = Watched(3)
    seen = set()
    for _ in range(300):
        watched.sweeps(0.1, answered=15, active=2)
        measured = [endpoint for endpoint in watched.endpoints if endpoint.most_active == MEASURE_AT]
        assert len(measured) <= 1
        seen.update(measured)
    assert seen == set(watched.endpoints)


def test_the_only_instance_is_never_held_back_to_be_measured():
    """Nobody would take the rest."""
    watched = Watched(1)
    watched.sweeps(200, answered=15, active=15)
    assert min(watched.limits()) >= FIRST


def test_streams_make_room_for_others():
    """Twenty that have their heads hold all places, and nobody waits for an answer."""
    watched = Watched(1)
    watched.sweeps(2, active=20)
    assert watched.limits()[0] > 20


def test_who_is_gone_is_forgotten():
    """And whoever comes back begins anew."""
    watched = Watched(2)
    watched.sweeps(3, answered=30, active=19)
    gone = watched.endpoints.pop()
    assert watched.adapting.limit_of(gone) is not None
    watched.sweeps(0.1)
    assert watched.adapting.limit_of(gone) is None
    assert watched.adapting.bound(gone) == FIRST


@pytest.mark.parametrize("most", ["null", "512"])
def test_a_service_says_that_it_wants_that(most):
    """The twenty-first request finds no room; turned off again, the configured number counts."""
    world = World(ADAPTIVE % most, orders=1)
    upstream = world.plane.upstreams["orders"]
    [endpoint] = world.endpoints()
    assert endpoint.most_active == FIRST
    clients = [world.client().sends(get()) for _ in range(21)]
    assert [client.got()[:12] for client in clients] == [b""] * 20 + [b"HTTP/1.1 503"]
    upstream.guard(type(upstream.rules)(), 0.0)
    assert (endpoint.most_active, upstream.adapting) == (inf, None)


def test_what_was_learnt_outlives_a_reload():
    """The limits stay where they are; new settings are a bound."""
    world = World(ADAPTIVE % "null", orders=1)
    upstream = world.plane.upstreams["orders"]
    upstream.sweep(0.0)
    [endpoint] = world.endpoints()
    limit = learnt(upstream.adapting, endpoint)
    limit.limit = 7.0
    upstream.guard(upstream.rules, 1.0)
    assert endpoint.most_active == 7
    assert learnt(upstream.adapting, endpoint) is limit


def learnt(adapting: Adapting | None, endpoint: GatewayEndpoint) -> AdaptiveLimit:
    assert adapting is not None
    limit = adapting.limit_of(endpoint)
    assert limit is not None
    return limit

"""How fast a registration becomes traffic, and a deregistration silence, with a real Consul.

Times are taken from the return of the PUT, under a client that asks all the time.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from collections.abc import Callable, Iterator

import pytest

from discovery import register
from tests.support.consul_server import ConsulServer
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.traffic import Instance, Traffic, config_for
from tests.support.upstream_server import UpstreamThread, slow

ROUNDS = 20
WITHIN_S = 0.1
names = (f"service-{n}" for n in itertools.count())


@pytest.fixture
def gateway(consul_server: ConsulServer) -> Iterator[GatewayProcess]:
    with GatewayProcess(config_for(consul_server.url, logging={"access_log": False})) as process:
        yield process


def soon(condition: Callable[[], object], what: str, seconds: float = 5) -> float:
    """Wait without a pause that would spoil the measurement; returns the moment."""
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, what
        time.sleep(0.001)
    return time.monotonic()


def median_ms(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds) * 1000:.1f} ms, slowest {max(seconds) * 1000:.1f} ms"


def test_an_instance_gets_requests_within_100_ms_and_none_100_ms_after_it_left(consul_server, gateway):
    """Twenty instances come and go beside one that stays; each time both moments are measured."""
    first_s: list[float] = []
    late: list[float] = []
    steady = Instance("steady")
    with UpstreamThread(steady) as staying:
        consul_server.register("orders", staying.port)
        wait_until(lambda: gateway.get("/api/orders/")[0] == 200, 5, gateway.story)
        with Traffic(gateway.port, "/api/orders/", clients=3, pause_s=0.002) as traffic:
            for _ in range(ROUNDS):
                guest = Instance("guest")
                with UpstreamThread(guest) as coming:
                    instance_id = consul_server.register("orders", coming.port)
                    registered_s = time.monotonic()
                    soon(lambda guest=guest: guest.arrivals_s, "the new instance got no request")
                    first_s.append(guest.arrivals_s[0] - registered_s)
                    consul_server.deregister(instance_id)
                    gone_s = time.monotonic()
                    time.sleep(WITHIN_S + 0.1)
                    late += [at_s - gone_s for at_s in guest.arrivals_s if at_s > gone_s + WITHIN_S]
    assert traffic.bad() == []
    print("first request at an instance:", median_ms(first_s))
    assert statistics.median(first_s) < WITHIN_S, median_ms(first_s)
    assert late == []


def test_a_brand_new_service_is_served_within_100_ms(consul_server, gateway):
    """A name that the gateway has never heard of, with the opt-in tag: from the PUT to the first 200."""
    first_s = []
    with UpstreamThread() as upstream:
        for name in itertools.islice(names, ROUNDS):
            with Traffic(gateway.port, f"/api/{name}/", clients=1, pause_s=0.001) as traffic:
                soon(lambda traffic=traffic: traffic.told, "the client does not ask")
                consul_server.register(name, upstream.port)
                registered_s = time.monotonic()
                soon(lambda traffic=traffic: 200 in traffic.outcomes(), f"{name} was never served")
            served_s = next(told.at_s for told in traffic.told if told.outcome == 200)
            first_s.append(served_s - registered_s)
            assert traffic.bad((404, 200, 503)) == []
    print("first answer of a new service:", median_ms(first_s))
    assert statistics.median(first_s) < WITHIN_S, median_ms(first_s)


def test_a_service_that_announces_itself_is_served_until_it_leaves(consul_server, gateway):
    """`discovery.register` sets the opt-in tag; leaving takes the instance out before anything fails."""
    with UpstreamThread(Instance("one")) as one, UpstreamThread(Instance("two")) as two:
        with register("billing", one.port, address="127.0.0.1", consul_url=consul_server.url):
            wait_until(lambda: gateway.get("/api/billing/")[0] == 200, 5, gateway.story)
            with Traffic(gateway.port, "/api/billing/", clients=2) as traffic:
                with register("billing", two.port, address="127.0.0.1", consul_url=consul_server.url):
                    wait_until(lambda: any(told.body == b"two" for told in traffic.told), 5, gateway.story)
                time.sleep(0.3)
            assert traffic.bad() == []
            assert {told.body for told in traffic.told[-20:]} == {b"one"}
        wait_until(lambda: gateway.get("/api/billing/")[0] in (404, 503), 5, gateway.story)


def test_a_rolling_deploy_loses_no_request(consul_server, gateway):
    """Each instance is replaced by one on another port, and closed 100 ms after it has left the registry."""
    with contextlib.ExitStack() as last:
        old = last.enter_context(contextlib.ExitStack())
        old_id = consul_server.register("shop", old.enter_context(UpstreamThread(Instance("0"))).port)
        wait_until(lambda: gateway.get("/api/shop/")[0] == 200, 5, gateway.story)
        with Traffic(gateway.port, "/api/shop/") as traffic:
            for name in map(str, range(1, 7)):
                new = last.enter_context(contextlib.ExitStack())
                new_id = consul_server.register("shop", new.enter_context(UpstreamThread(Instance(name))).port)
                consul_server.deregister(old_id)
                time.sleep(WITHIN_S)
                old.close()
                wait_until(lambda name=name: any(told.body == name.encode() for told in traffic.told), 5, gateway.story)
                old, old_id = new, new_id
    assert traffic.bad() == []


def test_an_instance_that_dies_unannounced_fails_no_request(consul_server, gateway):
    """Its connections are cut in the middle of answers and its port is closed, while the registry still calls it well."""
    with UpstreamThread(Instance("lives")) as living, contextlib.ExitStack() as dying:
        consul_server.register("frail", living.port)
        consul_server.register("frail", dying.enter_context(UpstreamThread(slow(0.005, Instance("dies")))).port)
        wait_until(lambda: {gateway.get("/api/frail/")[1] for _ in range(6)} == {b"lives", b"dies"}, 5, gateway.story)
        with Traffic(gateway.port, "/api/frail/", clients=6, pause_s=0) as traffic:
            wait_until(lambda: b"dies" in {told.body for told in traffic.told}, 5, gateway.story)
            dying.close()
            time.sleep(1)
    assert traffic.bad() == []
    assert 'lbgateway_retries_total{reason="connect",service="frail"}' in gateway.get("/metrics")[1].decode()

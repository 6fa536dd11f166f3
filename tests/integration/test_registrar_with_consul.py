"""Self-registration against a real Consul, through its restarts."""

from __future__ import annotations

import time

from discovery import register
from discovery.announcement import HttpCheck, Ttl
from discovery.consul_agent import ConsulAgent
from tests.support.consul_server import ConsulServer
from tests.support.registry_client import RegistryClient, eventually


def test_a_service_lives_and_signs_off(consul_server: ConsulServer) -> None:
    """Passing from the first moment, with weights and tag; gone afterwards."""
    with RegistryClient(consul_server.url) as asked:
        with register("orders", 9001, id="orders-1", weights=(5, 2), consul_url=consul_server.url):
            (entry,) = asked.health("orders", "passing")
        assert (entry["Service"]["Weights"], entry["Service"]["Tags"]) == ({"Passing": 5, "Warning": 2}, ["lbgateway.enable=true"])
        eventually(lambda: asked.health("orders") == [])


def test_a_consul_that_comes_back_empty_knows_the_service_within_eight_seconds(consul_server: ConsulServer) -> None:
    """With the ordinary times, and for both kinds of checks."""
    with (
        RegistryClient(consul_server.url) as asked,
        register("orders", 9001, id="orders-1", consul_url=consul_server.url),
        register("carts", 9002, id="carts-1", check=HttpCheck("/health"), consul_url=consul_server.url),
    ):
        consul_server.restart(empty=True)
        back_s = time.monotonic()
        eventually(lambda: len(asked.health("orders", "passing")) == len(asked.health("carts")) == 1, seconds=8)
        assert time.monotonic() - back_s < 8


def test_a_consul_that_keeps_its_data_keeps_the_service_passing(persistent_consul: ConsulServer) -> None:
    """A heartbeat was sent right after registering, and only that survives a restart of the agent."""
    with (
        RegistryClient(persistent_consul.url) as asked,
        register("orders", 9001, id="orders-1", check=Ttl(ttl_s=60, heartbeat_s=30), consul_url=persistent_consul.url),
    ):
        persistent_consul.restart()
        eventually(lambda: len(asked.health("orders", "passing")) == 1, seconds=10)


def test_who_died_on_the_way_out_is_well_again_after_a_restart(consul_server: ConsulServer) -> None:
    """Maintenance outlives a service that was killed before it could sign off, but not its next registration."""
    with RegistryClient(consul_server.url) as asked:
        registration = register("orders", 9001, id="orders-1", check=HttpCheck("/health"), consul_url=consul_server.url)
        agent = ConsulAgent(registration.access)
        agent.register(registration.announcement.payload())
        agent.close_to_traffic("orders-1", ttl=False)
        agent.close()
        assert asked.statuses("orders")["_service_maintenance:orders-1"] == "critical"
        with registration:
            eventually(lambda: "_service_maintenance:orders-1" not in asked.statuses("orders"))

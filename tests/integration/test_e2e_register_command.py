"""``lbgateway register`` with a real Consul and a real gateway: programs come and go under load."""

from __future__ import annotations

import signal
import socket

import pytest

from tests.support.consul_server import ConsulServer
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.registered_command import RegisteredCommand
from tests.support.registry_client import RegistryClient
from tests.support.traffic import Traffic, config_for


def passing(consul: ConsulServer) -> set[str]:
    with RegistryClient(consul.url) as asked:
        return {entry["Service"]["ID"] for entry in asked.health("orders", "passing")}


@pytest.mark.parametrize("check", ["ttl", "http:/"])
def test_a_program_is_replaced_under_load_and_nobody_notices(consul_server, check):
    """Announced when it listens, out of the registry before it stops: no request fails, whoever does the checking."""
    options = ("--check", check, "--drain-pause", "300ms", "--address", "127.0.0.1")
    with GatewayProcess(config_for(consul_server.url, logging={"access_log": False})) as gateway:
        with RegisteredCommand(consul_server.url, *options, "--id", "old") as old:
            wait_until(lambda: passing(consul_server) == {"old"}, 20, gateway.story)
            wait_until(lambda: gateway.get("/api/orders/")[0] == 200, 5, gateway.story)
            with Traffic(gateway.port, "/api/orders/", clients=3) as traffic, RegisteredCommand(consul_server.url, *options, "--id", "new"):
                wait_until(lambda: passing(consul_server) == {"old", "new"}, 20, gateway.story)
                old.signal(signal.SIGTERM)
                assert old.wait() == 7
                wait_until(lambda: passing(consul_server) == {"new"}, 5, gateway.story)
                traffic.stop()
        assert traffic.bad() == []
    assert passing(consul_server) == set()


def test_nothing_is_announced_before_it_listens(consul_server):
    """A program may take its time to start; what answers at its port is what is announced."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
        with RegisteredCommand(consul_server.url, command=["sleep", "60"], port=port) as command:
            wait_until(lambda: bool(command.children()), 20, lambda: "the command was not started")
            assert passing(consul_server) == set()
            door.listen()
            wait_until(lambda: passing(consul_server) == {"orders-1"}, 20, lambda: f"the open port was not noticed: {command.lines}")

"""The services of examples/, run as their users run them: with a real Consul, a real uvicorn, a real gateway."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.consul_server import ConsulServer
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import accepts, free_ports, wait_until
from tests.support.traffic import Traffic, config_for

ROOT = Path(__file__).parents[2]

PLAIN = """
import sys, uvicorn
from fastapi import FastAPI
from discovery import register

app = FastAPI(lifespan=register("orders", int(sys.argv[1]), address="127.0.0.1").lifespan)
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
"""


class Service:
    """A Python program that serves at `port`; `stop` ends it with SIGTERM."""

    def __init__(self, consul: ConsulServer, *arguments: str) -> None:
        (self.port,) = free_ports(1)
        self.process = subprocess.Popen(
            [sys.executable, *(argument.replace("PORT", str(self.port)) for argument in arguments)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PORT": str(self.port), "CONSUL_HTTP_ADDR": consul.url},
        )

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)


@pytest.fixture
def services() -> Iterator[list[Service]]:
    """Those that a test has started; none is left."""
    started: list[Service] = []
    yield started
    for service in started:
        if service.process.poll() is None:
            service.process.kill()
            service.process.wait(10)


def checks(consul: ConsulServer) -> dict[str, str]:
    """Status by port."""
    entries = consul.request("GET", "/v1/health/service/orders")
    return {str(entry["Service"]["Port"]): entry["Checks"][-1]["Status"] for entry in entries}


def test_a_service_is_replaced_under_load_and_nobody_notices(consul_server, services):
    """Its own lifespan opens first and closes last; a stop makes it critical while it still answers, and then it is gone."""
    example = str(ROOT / "examples/orders_service.py")
    with GatewayProcess(config_for(consul_server.url, logging={"access_log": False})) as gateway:
        services.append(Service(consul_server, example))
        wait_until(lambda: gateway.get("/api/orders/1")[0] == 200, 20, gateway.story)
        assert json.loads(gateway.get("/api/orders/1")[1]) == {"order": "two apples", "instance": services[0].port}
        with Traffic(gateway.port, "/api/orders/1", clients=2) as traffic:
            services.append(Service(consul_server, example))
            wait_until(lambda: checks(consul_server).get(str(services[1].port)) == "passing", 20, gateway.story)
            services[0].process.send_signal(signal.SIGTERM)
            wait_until(lambda: checks(consul_server).get(str(services[0].port)) == "critical", 0.8, gateway.story)
            assert accepts(services[0].port)
            services[0].process.wait(15)
            told_s = time.monotonic()
            wait_until(lambda: any(told.at_s > told_s for told in traffic.told), 5, gateway.story)
        assert traffic.bad() == []
        assert {json.loads(told.body)["instance"] for told in traffic.told} == {service.port for service in services}
        assert list(checks(consul_server)) == [str(services[1].port)]


def test_a_lifespan_may_be_the_registration_alone(consul_server, services):
    """One line; registered once uvicorn's port is open, gone with the application."""
    services.append(Service(consul_server, "-c", PLAIN, "PORT"))
    wait_until(lambda: list(checks(consul_server).values()) == ["passing"], 20, lambda: "it is not registered")
    assert accepts(services[0].port)
    services[0].stop()
    assert checks(consul_server) == {}

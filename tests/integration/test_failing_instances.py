"""Real processes that fail under load while others are well: no client sees an error, and the operator sees why."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.launch import free_ports, wait_until
from tests.support.load import ROOT, running

CONNECTIONS = 16
REQUESTS = 12_000


@contextlib.contextmanager
def instance(port: int, status: int = 200) -> Iterator[subprocess.Popen[str]]:
    """A process that answers every request with `status`; it ends with the block, or by its pid."""
    command = [sys.executable, "-m", "tests.support.load", "serve", str(port), str(status)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert int(process.stdout.readline()) == port
        try:
            yield process
        finally:
            process.kill()


def config_of(ports: list[int], balancer: str) -> dict[str, Any]:
    return {
        "auth": {"default": "none"},
        "discovery": {"provider": "static"},
        "logging": {"access_log": False},
        "services": {"orders": {"balancer": balancer, "instances": [f"127.0.0.1:{port}" for port in ports]}},
    }


def told(gateway: GatewayProcess) -> dict[int, dict[str, Any]]:
    """What the admin API says of each instance, by port."""
    return {each["port"]: each for each in gateway.json("/admin/upstreams/orders")["instances"]}


@pytest.mark.parametrize("balancer", ["ewma", "round_robin"])
def test_one_answers_fast_500s_and_one_is_killed_and_comes_back(balancer):
    """Three well, one that fails faster than they work, one that dies in the middle of it."""
    ports = free_ports(5)
    failing, mortal = ports[3:]
    with contextlib.ExitStack() as well:
        for port in ports[:3]:
            well.enter_context(instance(port))
        well.enter_context(instance(failing, 500))
        gateway = well.enter_context(GatewayProcess(config_of(ports, balancer)))
        with instance(mortal) as process:
            killer = threading.Thread(target=kill_at_work, args=(gateway, process))
            killer.start()
            with running("ask", gateway.port, CONNECTIONS, REQUESTS) as load:
                assert (load["ok"], load["failed"]) == (REQUESTS, {}), gateway.story()
            killer.join()
        wait_until(lambda: out(gateway, failing), 20, lambda: f"{told(gateway)[failing]}\n{gateway.story()}")
        instances = told(gateway)
        assert instances[failing]["state"] == "ejected"
        assert instances[failing]["ejected_until"] is not None
        assert instances[failing]["ejections_total"] >= 1
        assert "a bad answer" in instances[failing]["reason"]
        assert instances[failing]["requests_total"] + instances[mortal]["failures_total"] < REQUESTS * 0.02
        name = instances[failing]["id"]
        series = f'lbgateway_ejections_total{{endpoint="{name}",reason="consecutive_remote",service="orders"}}'
        assert series in gateway.get("/metrics")[1].decode()
        with instance(mortal):
            wait_until(lambda: back(gateway, mortal), 15, lambda: f"{told(gateway)[mortal]}\n{gateway.story()}")
            with running("ask", gateway.port, CONNECTIONS, 2000) as load:
                assert (load["ok"], load["failed"]) == (2000, {})
            assert told(gateway)[mortal]["state"] == "ready"


def kill_at_work(gateway: GatewayProcess, process: subprocess.Popen[str]) -> None:
    """Not before the load has begun; how soon it is this instance's turn is for the balancer to say."""
    wait_until(lambda: sum(each["requests_total"] for each in told(gateway).values()) > REQUESTS / 20, 10, gateway.story)
    process.kill()


def out(gateway: GatewayProcess, port: int) -> bool:
    """It has failed five times. The load alone may not see to that: after a first failure `ewma` keeps away for a while."""
    assert gateway.get("/api/orders/")[0] == 200
    return bool(told(gateway)[port]["state"] == "ejected")


def back(gateway: GatewayProcess, port: int) -> bool:
    """A request has come by that tried it."""
    assert gateway.get("/api/orders/")[0] == 200
    return bool(told(gateway)[port]["state"] == "ready")

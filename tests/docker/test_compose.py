"""docker-compose.yml as its users have it: up, asked, scaled, a gateway killed, a token rotated. `make test-docker` runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from tests.support.launch import free_ports, wait_until

ROOT = Path(__file__).parents[2]
PROJECT = "lbgateway-smoke"


class Compose:
    """The whole deployment, under a project name of its own and on free ports."""

    def __init__(self) -> None:
        self.port, self.consul_port = free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}"
        plugin = shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
        self._command = ["docker", "compose"] if plugin else ["docker-compose"]

    def __call__(self, *arguments: str, patience_s: float = 300) -> str:
        done = subprocess.run(
            [*self._command, "-p", PROJECT, *arguments],
            cwd=ROOT, env={**os.environ, **self._ports()}, capture_output=True, text=True, timeout=patience_s,
        )  # fmt: skip
        assert done.returncode == 0, f"{' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _ports(self) -> dict[str, str]:
        return {"FRONT_PORT": str(self.port), "CONSUL_PORT": str(self.consul_port)}

    def admin(self, gateway: str, *command: str) -> Any:
        """What `lbgateway COMMAND --json` says inside of a gateway's container."""
        asked = f"lbgateway {' '.join(command)} --json --token $(cat /run/tokens/admin)"
        return json.loads(self("exec", "-T", gateway, "sh", "-c", asked))

    def states(self, gateway: str) -> Counter[str]:
        [orders] = [each for each in self.admin(gateway, "upstreams")["services"] if each["name"] == "orders"]
        return Counter(instance["state"] for instance in orders["instances"])

    def states_if_up(self, gateway: str) -> Counter[str]:
        """`states`, and nobody as long as that gateway does not answer."""
        try:
            return self.states(gateway)
        except AssertionError:
            return Counter()


class Asking(threading.Thread):
    """Asks again and again, and counts what it hears."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._over = threading.Event()
        self.heard: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=10) as client:
            while not self._over.wait(0.02):
                try:
                    self.heard[str(client.get("/api/orders/1").status_code)] += 1
                except httpx.HTTPError as error:
                    self.heard[repr(error)] += 1


@pytest.fixture(scope="module")
def compose() -> Iterator[Compose]:
    compose = Compose()
    try:
        compose("up", "--build", "-d", patience_s=900)
        yield compose
    finally:
        compose("down", "--volumes", "--remove-orphans", "--timeout", "5")


def answers(compose: Compose) -> bool:
    try:
        return httpx.get(f"{compose.url}/api/orders/1", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def test_it_comes_up_and_answers(compose: Compose) -> None:
    """A request through the front, a gateway and an instance that registered itself, with least rights everywhere."""
    wait_until(lambda: answers(compose), 60, lambda: compose("logs", "--tail", "20"))
    assert httpx.get(f"{compose.url}/api/orders/1").json()["order"] == "two apples"
    wait_until(lambda: compose.states("gateway-1") == {"ready": 3}, 30, lambda: compose("logs", "--tail", "20", "orders-1", "gateway-1"))
    assert compose.states("gateway-2") == {"ready": 3}
    assert httpx.get(f"{compose.url}/admin/upstreams").status_code in (401, 403)


def test_an_operator_meets_one_gateway(compose: Compose) -> None:
    """Through the front: the page shows one of them, and orders hold on that one, however often it is asked."""
    headers = {"Authorization": f"Bearer {compose('exec', '-T', 'gateway-1', 'cat', '/run/tokens/admin').strip()}"}
    asked = [httpx.get(f"{compose.url}/admin/upstreams?summary=true", headers=headers).json() for _ in range(8)]
    assert len({each["gateway"]["id"] for each in asked}) == 1


def test_instances_come_and_go_unnoticed(compose: Compose) -> None:
    """A stop in good order, and a start."""
    with Asking(compose.url) as asking:
        compose("stop", "orders-2")
        wait_until(lambda: compose.states("gateway-1") == {"ready": 2}, 30, lambda: str(compose.admin("gateway-1", "upstreams")))
        compose("start", "orders-2")
        wait_until(lambda: compose.states("gateway-1")["ready"] == 3, 30, lambda: str(compose.admin("gateway-1", "upstreams")))
    assert set(asking.heard) == {"200"}, asking.heard


def test_a_service_is_scaled(compose: Compose) -> None:
    """Up and down again, under load: newcomers register themselves, who leaves signs off."""
    with Asking(compose.url) as asking:
        compose("up", "-d", "--no-recreate", "--scale", "orders-3=3")
        wait_until(lambda: compose.states("gateway-1") == {"ready": 5}, 60, lambda: str(compose.admin("gateway-1", "upstreams")))
        compose("up", "-d", "--no-recreate", "--scale", "orders-3=1")
        wait_until(lambda: compose.states("gateway-1")["ready"] == 3, 60, lambda: str(compose.admin("gateway-1", "upstreams")))
    assert set(asking.heard) == {"200"}, asking.heard


def test_a_gateway_asks_for_little(compose: Compose) -> None:
    """No rights, no file system that may be written, and Docker knows that it is alive."""
    [gateway] = compose("ps", "-q", "gateway-1").split()
    assert compose("exec", "-T", "gateway-1", "id", "-u").strip() != "0"
    with pytest.raises(AssertionError, match="Read-only file system"):
        compose("exec", "-T", "gateway-1", "touch", "/opt/written")
    told = ["docker", "inspect", "-f", "{{.State.Health.Status}}", gateway]
    wait_until(lambda: subprocess.run(told, capture_output=True, text=True).stdout.strip() == "healthy", 60, lambda: compose("ps"))


def test_a_gateway_is_killed_and_nobody_notices(compose: Compose) -> None:
    """SIGKILL, under load; the front asks the other one."""
    with Asking(compose.url) as asking:
        time.sleep(0.5)
        compose("kill", "-s", "KILL", "gateway-1")
        time.sleep(3)
        compose("start", "gateway-1")
        wait_until(lambda: compose.states_if_up("gateway-1")["ready"] == 3, 30, lambda: compose("logs", "--tail", "20", "gateway-1"))
    assert set(asking.heard) == {"200"}, asking.heard
    assert asking.heard["200"] > 50


def test_a_token_is_rotated_and_the_old_one_is_worth_nothing(compose: Compose) -> None:
    """The gateways take the new one over from the file; discovery stays fresh."""
    before = compose("exec", "-T", "gateway-1", "cat", "/run/tokens/gateway")
    with Asking(compose.url) as asking:
        compose("run", "--rm", "-T", "--entrypoint", "sh", "consul-acl", "/acl/rotate.sh", "gateway")
        assert compose("exec", "-T", "gateway-1", "cat", "/run/tokens/gateway") != before
        compose("stop", "orders-3")  # which only a gateway with a good token hears of
        wait_until(lambda: compose.states("gateway-1")["ready"] == 2, 60, lambda: compose("logs", "--tail", "20", "gateway-1"))
    assert set(asking.heard) == {"200"}, asking.heard
    seen = [compose.admin(gateway, "upstreams")["discovery"] for gateway in ("gateway-1", "gateway-2")]
    assert [each["state"] for each in seen] == ["fresh", "fresh"], seen


def test_it_stops_in_good_order(compose: Compose) -> None:
    """Each gateway drains and exits with 0; nothing of it is left."""
    compose("stop", "--timeout", "40", "gateway-1", "gateway-2")
    ids = compose("ps", "-q", "gateway-1", "gateway-2").split()
    told = subprocess.run(["docker", "inspect", "-f", "{{.State.ExitCode}}", *ids], capture_output=True, text=True)
    assert told.stdout.split() == ["0", "0"], compose("logs", "--tail", "20", "gateway-1")

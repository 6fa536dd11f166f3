"""A stop in whatever state the watches are: within a second, and without a word of tasks or sockets that were forgotten."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

import pytest

from tests.support import faulty_registry as faults
from tests.support.faulty_registry import FaultyRegistry, faulty_registry
from tests.support.launch import free_ports
from tests.support.registry_client import RegistryClient
from tests.support.scenes import Scene

WITHIN_S = 1.0
"""By the gateway's own clock; how long an interpreter takes to end on a busy machine is nobody's fault."""
MANY = 100
"""More services than blocking reads."""
NOISE = ("never retrieved", "was destroyed", "was never awaited", "Warning", "Traceback", "unclosed")

Broken = Callable[[FaultyRegistry], AbstractContextManager[None]]


@pytest.fixture
def registry() -> Iterator[FaultyRegistry]:
    with faulty_registry() as registry:
        yield registry


def status(code: int) -> Broken:
    return lambda registry: registry.broken(faults.status(code, "no"))


def empty(registry: FaultyRegistry) -> AbstractContextManager[None]:
    return registry.broken(faults.empty)


def cut(registry: FaultyRegistry) -> AbstractContextManager[None]:
    return registry.broken(faults.reset)


def sound(_registry: FaultyRegistry) -> AbstractContextManager[None]:
    return nullcontext()


def doubted(gateway: Scene) -> bool:
    return set(gateway.states().values()) == {"suspect"}


def failing(gateway: Scene) -> bool:
    return gateway.discovery()["last_error"] is not None


def known(gateway: Scene) -> bool:
    return gateway.states() == {"orders-1": "ready"}


def swept(gateway: Scene) -> bool:
    return "lbgateway_discovery_swept 1.0" in gateway.metrics() and len(gateway.json("/admin/upstreams")["services"]) == MANY + 1


def stop(gateway: Scene) -> None:
    gateway.signal(signal.SIGTERM)
    assert gateway.wait() == 0
    at = {event["event"].partition(":")[0]: datetime.fromisoformat(event["time"]) for event in gateway.events()}
    assert (at["stopped"] - at["stopping"]).total_seconds() < WITHIN_S
    assert [line for line in gateway.log().splitlines() if any(word in line for word in NOISE)] == []


def register(registry: FaultyRegistry, *names: str) -> None:
    with RegistryClient(registry.url) as client:
        for name in names:
            client.register(Name=name, ID=f"{name}-1", Address="127.0.0.1", Port=9, Tags=["lbgateway.enable=true"])


@pytest.mark.parametrize(
    ("broken", "reached"),
    [
        pytest.param(sound, known, id="block"),
        pytest.param(empty, doubted, id="doubt"),
        pytest.param(cut, failing, id="backoff"),
        pytest.param(status(403), failing, id="denied"),
        pytest.param(status(400), failing, id="misconfigured"),
    ],
)
def test_a_stop_in_every_state_of_a_watch(registry: FaultyRegistry, broken: Broken, reached: Callable[[Scene], bool]) -> None:
    """Long polls, pauses, second looks, looks at the token: all of it ends with the process."""
    register(registry, "orders")
    with Scene(registry.url) as gateway:
        gateway.eventually(lambda: known(gateway))
        with broken(registry):
            wake(registry)
            gateway.eventually(lambda: reached(gateway))
            stop(gateway)


def wake(registry: FaultyRegistry) -> None:
    """Let the blocked reads end: another instance comes, and is gone again."""
    with RegistryClient(registry.url) as client:
        client.register(Name="orders", ID="orders-2", Address="127.0.0.1", Port=10, Tags=["lbgateway.enable=true"])
        client.put("agent/service/deregister/orders-2")


def test_a_stop_before_the_first_answer(registry: FaultyRegistry) -> None:
    """The first reads hang, and would for ten seconds more."""
    with registry.broken(faults.hang(registry)), Scene(registry.url) as gateway:
        gateway.eventually(lambda: registry.asked)
        stop(gateway)


def test_a_stop_while_nobody_is_there() -> None:
    """Connections are refused, from the start."""
    (nobody,) = free_ports(1)
    with Scene(f"http://127.0.0.1:{nobody}") as gateway:
        gateway.eventually(lambda: failing(gateway))
        stop(gateway)


def test_a_stop_of_a_sweep(registry: FaultyRegistry) -> None:
    """Two long polls, and plain reads of a hundred services."""
    register(registry, "orders", *(f"s{number}" for number in range(MANY)))
    with Scene(registry.url) as gateway:
        gateway.eventually(lambda: swept(gateway), 20)
        wake(registry)
        stop(gateway)

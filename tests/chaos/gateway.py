"""Scenarios in which the gateway itself changes, or has too little of something."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

from tests.chaos.stage import Stage
from tests.support.crowd import Fate, crowd
from tests.support.launch import wait_until
from tests.support.live_gateway import merged

RELOADS = 20
TAKEOVERS = 5
BALANCERS = ("ewma", "round_robin", "least_connections", "p2c")
CROWD = 300
MOST_CONNECTIONS = 100
FEW_FILES = 60
LISTENING = "0A"
SLOW_CLIENTS = 1000
HEADER_TIMEOUT_S = 2
MEMORY_BYTES = 512 << 20


def reloaded(stage: Stage) -> None:
    """Twenty times, each time with another file."""
    for number in range(RELOADS):
        service = {"balancer": BALANCERS[number % len(BALANCERS)], "timeout": {"response": f"{2 + number % 2}s"}}
        stage.gateway.reload(merged(stage.config, {"services": {"orders": service}}))
        wait_until(lambda done=number + 1: reloads(stage) == done, 10, stage.gateway.story)  # type: ignore[misc]  # bound by the default
        time.sleep(stage.seconds / RELOADS)


def taken_over(stage: Stage) -> None:
    """Five times in a row, each time by the one that came last."""
    for _ in range(TAKEOVERS):
        stage.succeed()
    assert stage.gateway.get("/health/ready")[0] == 200


def reloads(stage: Stage) -> int:
    return sum(event["event"] == "reloaded" for event in stage.gateway.events())


def too_many_clients(stage: Stage) -> None:
    """Three times as many as `server.max_connections`: whoever is one too many is told so, and all are served when the others have left."""
    with crowd("holders", stage.gateway.port, CROWD) as fate:
        stage.last()
    assert_told(fate, "200", "503")
    assert fate.gone["503"] >= CROWD - MOST_CONNECTIONS, fate
    serves_again(stage)


def no_files_left(stage: Stage) -> None:
    """The gateway may open no more files: whom it has accepted it answers, who comes later waits until others have left."""
    before = resource.prlimit(stage.gateway.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(stage.gateway.pid, resource.RLIMIT_NOFILE, (stage.gateway.open_files() + FEW_FILES, before[1]))
    with crowd("holders", stage.gateway.port, CROWD) as fate:
        stage.last()
        not_accepted = waiting_at(stage.gateway.port)
    assert_told(fate, "200", "503", "waiting")
    assert fate.here.get("200", 0) > 0, fate
    assert 0 < fate.here["waiting"] <= not_accepted, (fate, not_accepted)
    serves_again(stage)
    assert set(stage.states().values()) == {"ready"}, stage.told()
    told = [event["event"] for event in stage.gateway.events()]
    assert "no more connections are accepted for now, who comes waits" in told, stage.gateway.story()
    wait_until(lambda: "connections are accepted again" in {each["event"] for each in stage.gateway.events()}, 5, stage.gateway.story)


def waiting_at(port: int) -> int:
    """How many connections to `port` of 127.0.0.1 the kernel has for somebody to accept: column 5 of a listening socket's line."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(line[4].partition(":")[2], 16) for line in lines if line[1] == f"0100007F:{port:04X}" and line[3] == LISTENING)


def slow_clients(stage: Stage) -> None:
    """A thousand that do not finish their heads, and a thousand that hardly read."""
    with crowd("slow-readers", stage.gateway.port, SLOW_CLIENTS) as readers, crowd("slow-heads", stage.gateway.port, SLOW_CLIENTS) as heads:
        stage.last()
        memory_bytes = stage.gateway.rss_bytes()
    assert readers.gone == {}, readers
    assert readers.here["200"] > SLOW_CLIENTS / 2, readers
    assert set(heads.gone) == {"408"}, heads
    assert memory_bytes < MEMORY_BYTES, memory_bytes
    serves_again(stage)


def serves_again(stage: Stage) -> None:
    """A new client is served, and nothing is left of those that have gone."""
    wait_until(lambda: stage.gateway.get("/api/orders/again") == (200, b"again"), 10, stage.gateway.story)


def assert_told(fate: Fate, *answers: str) -> None:
    told: dict[str, Any] = {**fate.gone, **fate.here}
    assert set(told) <= set(answers), fate

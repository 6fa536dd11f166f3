"""One run: a gateway, five instances under three names, Consul, Redis, clients of every kind, and what goes wrong."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.soak.evidence import Evidence, Record
from tests.soak.faults import SERVICES, Faults, register
from tests.soak.gateway import SECRET, ObservedGateway, config_of
from tests.soak.samples import Sample
from tests.support.consul_server import ConsulServer
from tests.support.instance_process import InstanceProcess
from tests.support.launch import wait_until
from tests.support.redis_server import RedisServer

ROOT = Path(__file__).parents[2]
INSTANCES = 5
SETTLED_WITHIN_S = 15.0
WELL_WITHIN_S = 90.0
IDLE_S = 5.0
"""Longer than `timeout.pool_idle` and than what discovery and limiter do now and then."""


@dataclass(frozen=True)
class Told:
    """What clients saw: requests by kind, and how each ended, ``read 200``."""

    asked: Counter[str]
    told: Counter[str]
    p99_s: float
    lost: list[Record] = field(default_factory=list)
    """Each that should not have ended so."""


@dataclass(frozen=True)
class Run:
    """All that is known of one run."""

    seconds: float
    told: Told
    happened: Counter[str]
    samples: list[Sample]
    before: dict[str, int]
    after: dict[str, int]
    counted: dict[str, int]
    """``requests_total``, by status."""
    unbalanced: list[str]
    bugs: list[str]
    lost: list[Record] = field(default_factory=list)
    """As `Told`'s, with what is known of each (`evidence`)."""


@contextlib.contextmanager
def clients(port: int, per_second: float, first: int = 0) -> Iterator[Callable[[], Told]]:
    """They ask until what is given is called."""
    command = [sys.executable, "-m", "tests.soak.clients", str(port), str(per_second), SECRET, str(first)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def stop() -> Told:
        told = json.loads(process.communicate(timeout=60)[0])
        return Told(Counter(told["asked"]), Counter(told["told"]), told["p99_s"], told["lost"])

    try:
        assert process.stdout is not None
        assert process.stdout.readline(), "the clients ended at once"
        yield stop
    finally:
        process.kill()
        process.communicate()


def sampled(gateway: ObservedGateway, faults: Faults, seconds: float, every_s: float) -> Iterator[Sample]:
    """What it costs, now and then, for so many seconds, as long as nothing goes wrong but what should."""
    began_s = time.monotonic()
    while (at_s := time.monotonic() - began_s) < seconds:
        faults.check()
        held = gateway.census()
        yield Sample(at_s, gateway.rss_bytes(), gateway.open_files(), held["tasks"], held["timers"])
        time.sleep(every_s)


def well(gateway: ObservedGateway) -> bool:
    """All instances are ready, under all names, and nobody has a connection left."""
    services = gateway.json("/admin/upstreams")["services"]
    states = [each["state"] for service in services if service["name"] in SERVICES for each in service["instances"]]
    return states == ["ready"] * (INSTANCES * len(SERVICES))


def at_rest(gateway: ObservedGateway) -> dict[str, int]:
    """What it holds when nobody has asked for a while, all being well."""
    wait_until(lambda: well(gateway), WELL_WITHIN_S, gateway.story)
    time.sleep(IDLE_S)
    return gateway.census()


def run(*, seconds: float, warm_s: float, per_second: float, every_s: float, seed: int, first: int, keep: Path) -> Run:
    """`warm_s` of load without trouble, a look at what is held, `seconds` of load with trouble, and a look again.

    `every_s`: between two samples; `seed`: of what goes wrong; `first`: so many tokens are shown before;
    `keep`: the folder for what explains a loss (`evidence`).
    """
    with contextlib.ExitStack() as stack:
        consul = stack.enter_context(ConsulServer(persistent=True, node="soak-node"))
        redis = stack.enter_context(RedisServer())
        instances = [InstanceProcess().start() for _ in range(INSTANCES)]
        stack.callback(lambda: [instance.kill() for instance in instances])
        for instance in instances:
            register(consul, instance)
        config: dict[str, Any] = config_of(consul.url, redis.url)
        gateway = stack.enter_context(ObservedGateway(config))
        wait_until(lambda: well(gateway), WELL_WITHIN_S, gateway.story)
        faults = Faults(gateway, config, consul, redis, instances, seed)
        evidence = stack.enter_context(Evidence(keep, gateway, faults.diary))
        with clients(gateway.port, per_second, first) as stop:
            time.sleep(warm_s)
            warm = stop()
        before = evidence.census["before"] = at_rest(gateway)
        with clients(gateway.port, per_second) as stop:
            faults.begin()
            samples = list(sampled(gateway, faults, seconds, every_s))
            faults.end()
            told = stop()
        evidence.lost = warm.lost + told.lost
        wait_until(lambda: not gateway.unbalanced(), SETTLED_WITHIN_S, lambda: "\n".join(gateway.unbalanced()))
        after = evidence.census["after"] = at_rest(gateway)
        whole = Told(warm.asked + told.asked, warm.told + told.told, told.p99_s)
        found = Run(seconds, whole, faults.happened, samples, before, after, gateway.requests_total(), gateway.unbalanced(), [])
        assert gateway.stop() == 0
        found.lost.extend(evidence.write())
        found.bugs.extend(line for line in gateway.story().splitlines() if "Traceback" in line or "never retrieved" in line)
        return found

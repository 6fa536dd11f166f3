"""How near the gateway's choices come to those of a client that knows everything: open-loop load on five real instances, one of them ill.

    python -m benchmarks.beside_all_knowing [--only slow,hung] [--seconds 10] [--per-second 400]

Each instance works on four requests at once, for 20 ms each. The gateway with its default balancer and the all-knowing client
(`all_knowing.py`) get the same load one after the other, and the ratio of their p99 is the figure to look at: what the machine
adds, it adds to both.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from tests.support.gateway_process import GatewayProcess
from tests.support.instance_process import SLOWER, InstanceProcess
from tests.support.steady_load import SteadyLoad, Told

SERVICE_MS, WORKERS = 20, 4
WARM_S = 2.0
SETTLED_S = 3.0
"""Before the end of a run: the share of the last seconds is what an instance has got in the end."""

Change = Callable[[InstanceProcess], object]


@dataclass(frozen=True)
class World:
    """What happens to the first instance: at the beginning of the measured time, and (None: never) when half of it is over.

    `workers` and `service_ms` are what the all-knowing client knows of it in the meantime.
    """

    what: str
    begin: Change = lambda _: None
    end: Change | None = None
    workers: int = WORKERS
    service_ms: int = SERVICE_MS
    capacities: tuple[int, ...] = (WORKERS,) * 5


def mood(name: str) -> Change:
    return lambda instance: instance.be(name)


WORLDS = {
    "equal": World("all are well"),
    "slow": World("one is ten times slower", mood("slow"), None, WORKERS, SERVICE_MS * SLOWER),
    "unequal": World("capacities 1:1:1:4:4, unweighted", capacities=(2, 2, 2, 8, 8), workers=2),
    "heals": World("one turns slow, and heals", mood("slow"), mood("well"), WORKERS, SERVICE_MS * SLOWER),
    "fails": World("one answers 500 at once", mood("fails"), None, 0),
    "hung": World("one hangs", InstanceProcess.pause, None, 0),
    "killed": World("one is killed, and started again", InstanceProcess.kill, InstanceProcess.start, 0),
}


@dataclass(frozen=True)
class Run:
    """One load. `lured`: attempts on the first instance while it was ill; `share`: its part of the attempts in the end."""

    told: Told
    attempts: int = 0
    lured: int = 0
    share: float = 0.0


class AllKnowingLoad(SteadyLoad):
    """`all_knowing.py` over these instances."""

    def __init__(self, lines: list[str], *, per_second: float) -> None:
        self._arguments = ["benchmarks.all_knowing", str(per_second), *lines]

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()


class Company:
    """Five instances, all well at first."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.instances = [InstanceProcess(SERVICE_MS / 1000, workers).launch() for workers in world.capacities]
        for instance in self.instances:
            instance.await_ready()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for instance in self.instances:
            instance.kill()

    def lines(self) -> list[str]:
        return [f"{each.port}:{workers}:{SERVICE_MS}" for each, workers in zip(self.instances, self.world.capacities, strict=True)]

    def live(self, seconds: float, changed: Callable[[str], None]) -> None:
        """Let happen what happens, and tell of each change as it happens."""
        world, first = self.world, self.instances[0]
        world.begin(first)
        changed(f"{first.port}:{world.workers}:{world.service_ms}")
        time.sleep(seconds / 2)
        if world.end is not None:
            world.end(first)
            changed(f"{first.port}:{world.capacities[0]}:{SERVICE_MS}")
        time.sleep(seconds / 2)


def through_gateway(world: World, per_second: float, seconds: float) -> Run:
    with Company(world) as company, GatewayProcess(config_of(company)) as gateway:
        first = company.instances[0].port
        with SteadyLoad(gateway.port, per_second=per_second, methods="GET") as load:
            time.sleep(WARM_S)
            before = begun(gateway)
            healed: list[dict[int, int]] = []
            company.live(seconds, lambda _: healed.append(begun(gateway)))
            ill_until = healed[1] if len(healed) > 1 else begun(gateway)
            settled = begun(gateway)
            time.sleep(SETTLED_S)
            after = begun(gateway)
            told = load.stop()
        attempts = sum(begun(gateway).values())
        part = (after[first] - settled[first]) / max(1, sum(after.values()) - sum(settled.values()))
        return Run(told, attempts, ill_until[first] - before[first], part)


def knowing_all(world: World, per_second: float, seconds: float) -> Run:
    with Company(world) as company, AllKnowingLoad(company.lines(), per_second=per_second) as load:
        time.sleep(WARM_S)
        company.live(seconds, load.tell)
        time.sleep(SETTLED_S)
        return Run(load.stop())


def config_of(company: Company) -> dict[str, Any]:
    return {
        "auth": {"default": "none"},
        "discovery": {"provider": "static"},
        "logging": {"access_log": False},
        "services": {
            "*": {"timeout": {"response": "1s"}},
            "orders": {"instances": [f"127.0.0.1:{each.port}" for each in company.instances]},
        },
    }


def begun(gateway: GatewayProcess) -> dict[int, int]:
    """Attempts on each instance, by port."""
    told = gateway.json("/admin/upstreams/orders")["instances"]
    return {each["port"]: each["requests_total"] + each["active_requests"] for each in told}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(WORLDS), help=f"of {', '.join(WORLDS)}")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--per-second", type=float, default=400.0)
    asked = parser.parse_args()
    print("| the first of five | errors | p99 ms, gateway | all-knowing | ratio | attempts per request | lured | its share in the end |")
    print("|---|---|---|---|---|---|---|---|")
    errors = 0
    for name in asked.only.split(","):
        ours, best = (way(WORLDS[name], asked.per_second, asked.seconds) for way in (through_gateway, knowing_all))
        failed = sum(ours.told.failed.values()) + ours.told.turned_away + ours.told.not_accepted
        errors += failed
        print(line(WORLDS[name], ours, best, failed), flush=True)
    return 1 if errors else 0


def line(world: World, ours: Run, best: Run, failed: int) -> str:
    ratio = ours.told.p99_s / best.told.p99_s
    figures = f"{ours.told.p99_s * 1000:.0f} | {best.told.p99_s * 1000:.0f} | {ratio:.2f} | {ours.attempts / ours.told.asked:.4f}"
    return f"| {world.what} | {failed} | {figures} | {ours.lured} | {ours.share:.2f} |"


if __name__ == "__main__":
    sys.exit(main())

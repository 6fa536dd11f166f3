"""A client that knows of each instance how much it has to do and how well it is: what no balancer can beat, under the same load.

python -m benchmarks.all_knowing PER_SECOND PORT:WORKERS:SERVICE_MS…    # stdin: a line PORT:WORKERS:SERVICE_MS for each change

It is the only one that asks, so it knows what waits where; changes are told it as they happen. What an instance has when it
dies or hangs, and what was answered badly, goes elsewhere at once. Ends with its stdin, and prints what `steady_load` prints.
"""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop

from tests.support.steady_load import Asked, Load, pace


class At(Load):
    """The connections to one instance, and what is known of it. No workers: it is dead, hung or failing."""

    def __init__(self, everybody: AllKnowing, port: int, workers: int, service_s: float) -> None:
        super().__init__(port)
        self.everybody = everybody
        self.workers = workers
        self.service_s = service_s

    def within_s(self) -> float:
        """When one more request would be answered, about."""
        return self.service_s * max(1.0, (self.open + 1) / self.workers)

    def tell(self, asked: Asked, what: str) -> None:
        self.open -= 1
        self.everybody.on_end(asked, what)

    def abandon(self) -> None:
        """Ask for everything elsewhere that is asked for here."""
        for client in tuple(self.busy):
            client.transport.abort()


class AllKnowing(Load):
    """All instances, and all requests."""

    def __init__(self) -> None:
        super().__init__(0)
        self.instances: dict[int, At] = {}

    def learn(self, line: str) -> None:
        """One instance is new, or has changed."""
        port, workers, service_ms = map(int, line.split(":"))
        instance = self.instances.setdefault(port, At(self, port, workers, service_ms / 1000))
        instance.workers, instance.service_s = workers, service_ms / 1000
        if not workers:
            instance.abandon()

    def ask(self, asked: Asked) -> None:
        self.open += 1
        self._place(asked)

    def on_end(self, asked: Asked, what: str) -> None:
        """A bad answer is none."""
        if what == "ok":
            self.tell(asked, what)
        else:
            self._place(asked)

    def _place(self, asked: Asked) -> None:
        able = [instance for instance in self.instances.values() if instance.workers]
        min(able, key=lambda each: (each.within_s(), each.open / each.workers)).ask(asked)


async def run(per_second: float, instances: list[str]) -> None:
    load, loop = AllKnowing(), asyncio.get_running_loop()
    for line in instances:
        load.learn(line)
    hearing = loop.create_task(hear(load))
    print("{}", flush=True)
    asked = await pace(load, per_second, ["GET"], hearing)
    print(json.dumps(load.report(asked)), flush=True)


async def hear(load: AllKnowing) -> None:
    """Take each line of stdin as a change, until it ends."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        load.learn(line)


if __name__ == "__main__":
    uvloop.run(run(float(sys.argv[1]), sys.argv[2:]))

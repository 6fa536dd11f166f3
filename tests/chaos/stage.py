"""What a scenario plays on: five instances behind a gateway, a real Consul that names them, and clients that ask at a steady pace."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.chaos.trouble import Sample, Trouble
from tests.support.consul_cluster import ConsulCluster
from tests.support.consul_server import ConsulServer
from tests.support.gateway_process import GatewayProcess
from tests.support.instance_process import InstanceProcess
from tests.support.launch import wait_until
from tests.support.live_gateway import merged
from tests.support.redis_sentinels import RedisSentinels
from tests.support.redis_server import RedisServer
from tests.support.steady_load import SteadyLoad, Told

INSTANCES = 5
PER_SECOND = 100.0
WARM_S = 0.7
WELL_KNOWN, WARM_WITHIN_S = 10, 20.0
TRY_S = 2.0
"""How long an instance may take for an answer."""
SAMPLE_S = 0.05
RECENT_S = 0.5
BACK_WITHIN_S = 45.0
SUCCEEDED_WITHIN_S = 30.0
SETTLED_WITHIN_S = 3.0


CALMS = 20
"""How many times as long as in the calm before, in the middle, a request may take, beside half of a try."""


@dataclass(frozen=True)
class Result:
    """One time that a scenario was played. `waiting_s`: how long clients may have had to wait because the scenario wants it so."""

    told: Told
    trouble: Trouble | None = None
    waiting_s: float = 0.0

    @property
    def most_s(self) -> float:
        """What 99 of 100 clients may have waited at most.

        A machine that has other work to do makes the calm longer, too; whoever had to wait for an instance that hangs is far beyond it.
        """
        return TRY_S / 2 + CALMS * self.told.calm_s + self.waiting_s


class Stage:
    """See the top. `seconds`: how long a fault lasts."""

    def __init__(
        self,
        config: dict[str, Any],
        gateway: GatewayProcess,
        registry: ConsulServer | ConsulCluster,
        instances: list[InstanceProcess],
        redis: RedisServer | RedisSentinels,
        seconds: float,
    ) -> None:
        self.gateway = gateway
        self.redis = redis
        self.registry = registry
        self.consul = registry.agent if isinstance(registry, ConsulCluster) else registry
        self.instances = instances
        self.seconds = seconds
        self.config = config
        self.troubles: list[Trouble] = []
        self.successors: list[GatewayProcess] = []

    @property
    def bad(self) -> InstanceProcess:
        """The one that something happens to."""
        return self.instances[0]

    def last(self) -> None:
        """Let time pass while clients ask."""
        time.sleep(self.seconds)

    def succeed(self) -> None:
        """Let another gateway take the place of the present one, and wait until that has left."""
        before, self.gateway = self.gateway, GatewayProcess(self.config, before=self.gateway)
        self.successors.append(self.gateway)
        self.gateway.start(wait=False)
        wait_until(lambda: not before.alive(), SUCCEEDED_WITHIN_S, lambda: before.story() + self.gateway.story())
        assert before.wait() == 0, before.story()
        assert "Traceback" not in before.log(), before.story()

    @contextlib.contextmanager
    def trouble(self, port: int) -> Iterator[None]:
        """Watch the instance at `port` while it is ill, and afterwards until it has its part of the requests again."""
        trouble, healed = Trouble(port), threading.Event()
        watcher = threading.Thread(target=self._watch, args=(trouble, healed), daemon=True)
        trouble.samples.append(self.sample())
        watcher.start()
        trouble.began_s = time.monotonic()
        try:
            yield
            trouble.ended_s = time.monotonic()
            self._await_back(trouble)
        finally:
            healed.set()
            watcher.join(10)
        self.troubles.append(trouble)

    def _await_back(self, trouble: Trouble) -> None:
        """Ready, and asked more often than for trials."""

        def back() -> bool:
            ready = self.states().get(trouble.port) == "ready"
            recent = [each for each in trouble.samples if each.at_s > time.monotonic() - RECENT_S]
            return ready and len({each.begun.get(trouble.port) for each in recent}) > 2

        wait_until(back, BACK_WITHIN_S, lambda: f"{trouble.port} is not back: {self.told()}\n{self.gateway.story()}")
        trouble.back_after_s = time.monotonic() - trouble.ended_s

    def _watch(self, trouble: Trouble, healed: threading.Event) -> None:
        while not healed.wait(SAMPLE_S):
            with contextlib.suppress(OSError, http.client.HTTPException):  # one sample less
                trouble.samples.append(self.sample())

    def sample(self) -> Sample:
        at_s = time.monotonic()
        return Sample(at_s, {each["port"]: each["requests_total"] + each["active_requests"] for each in self.told()})

    def told(self) -> list[dict[str, Any]]:
        """What the admin API says of the instances."""
        return list(self.gateway.json("/admin/upstreams/orders").get("instances", ()))

    def states(self) -> dict[int, str]:
        """By port."""
        return {each["port"]: each["state"] for each in self.told()}

    def ready(self, ports: set[int], seconds: float = 15) -> None:
        """Wait until exactly these are there, and ready."""
        wait_until(lambda: self.states() == dict.fromkeys(ports, "ready"), seconds, lambda: f"{self.states()}\n{self.gateway.story()}")

    def warm(self) -> None:
        """Wait until each has been asked often enough to be known: whose first answer was slow by chance is left alone for a while."""
        wait_until(lambda: min(self.sample().begun.values()) >= WELL_KNOWN, WARM_WITHIN_S, lambda: f"{self.told()}\n{self.gateway.story()}")

    def answers(self, port: int, seconds: float = 10) -> None:
        """Wait until the instance at `port` has got a request since now."""
        before = self.sample().begun.get(port, 0)
        wait_until(lambda: self.sample().begun.get(port, 0) > before, seconds, lambda: f"{port}: {self.told()}\n{self.gateway.story()}")

    def discovery(self, state: str, seconds: float = 15) -> None:
        """Wait until discovery is in that state."""
        wait_until(lambda: self.gateway.json("/admin/upstreams")["discovery"]["state"] == state, seconds, self.gateway.story)

    def busy(self) -> list[dict[str, Any]]:
        """Instances that have requests, or leased connections."""
        return [each for each in self.told() if each["active_requests"] or each["connections"]["active"]]

    def close(self) -> None:
        """End whoever has taken over; the first one is somebody else's."""
        for gateway in self.successors:
            gateway.close()

    def assert_settled(self) -> None:
        """Every beginning had its end, nothing was a bug, and it stops when told."""
        wait_until(lambda: not self.busy(), SETTLED_WITHIN_S, lambda: f"still busy: {self.busy()}")
        assert self.gateway.stop() == 0
        assert "Traceback" not in self.gateway.log(), self.gateway.story()


def config_of(consul: ConsulServer, transport: str, more: dict[str, Any]) -> dict[str, Any]:
    """The gateway's: mostly what it is without a word, but short of patience."""
    base = {
        "auth": {"default": "none"},
        "discovery": {"consul": {"url": consul.url}},
        "logging": {"access_log": False},
        "services": {"*": {"transport": transport, "timeout": {"connect": "1s", "response": f"{TRY_S:g}s", "total": "10s"}}},
    }
    return merged(base, more)


Play = Callable[[Stage], None]


def play(
    action: Play,
    registry: ConsulServer | ConsulCluster,
    instances: list[InstanceProcess],
    redis: RedisServer | RedisSentinels,
    *,
    seconds: float,
    transport: str = "native",
    methods: str = "GET,GET,GET,PUT",
    config: dict[str, Any] | None = None,
    waiting_s: float = 0.0,
) -> Result:
    """Set the stage, let `action` happen while clients ask, and tell how they fared. Every instance is well at the beginning."""
    consul = registry.agent if isinstance(registry, ConsulCluster) else registry
    for instance in instances:
        consul.register("orders", instance.port)
    whole = config_of(consul, transport, config or {})
    try:
        with GatewayProcess(whole) as gateway, contextlib.ExitStack() as succession:
            stage = Stage(whole, gateway, registry, instances, redis, seconds)
            succession.callback(stage.close)
            stage.ready({instance.port for instance in instances})
            with SteadyLoad(gateway.port, per_second=PER_SECOND, methods=methods, calm_s=WARM_S) as load:
                time.sleep(WARM_S)
                stage.warm()
                action(stage)
                time.sleep(WARM_S)
                told = load.stop()
            stage.assert_settled()
            return Result(told, stage.troubles[0] if stage.troubles else None, waiting_s)
    finally:
        with contextlib.suppress(OSError):  # it may be what died
            for entry in consul.request("GET", "/v1/agent/services"):
                consul.deregister(entry)

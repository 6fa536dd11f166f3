"""What goes wrong in such an hour: one thing after the other, by lot."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from random import Random

from tests.chaos.instances import FAULTS
from tests.support.consul_server import ConsulServer
from tests.support.gateway_process import GatewayProcess
from tests.support.instance_process import InstanceProcess
from tests.support.live_gateway import merged
from tests.support.redis_server import RedisServer

SERVICES = ("orders", "parcels", "letters")
LASTS_S = (0.5, 4.0)
APART_S = (1.0, 5.0)


class Faults:
    """See the top: from `begin` to `end`, on a thread. Whatever is done is undone before the next one comes."""

    def __init__(
        self,
        gateway: GatewayProcess,
        config: dict[str, object],
        consul: ConsulServer,
        redis: RedisServer,
        instances: list[InstanceProcess],
        seed: int,
    ) -> None:
        self.gateway = gateway
        self.config = config
        self.consul = consul
        self.redis = redis
        self.instances = instances
        self.random = Random(seed)
        self.happened: Counter[str] = Counter()
        self.diary: list[dict[str, object]] = []
        """What was done `from` when `until` when (seconds since 1970), by its `name`, to `whom`."""
        self.errors: list[str] = []
        self._whom = ""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Nothing more happens, and all is well again. Raises what has gone wrong where nothing should."""
        self._ending.set()
        self._thread.join(120)
        assert not self._thread.is_alive(), self.happened
        self.check()

    def check(self) -> None:
        """Raises what has gone wrong where nothing should: from then on it is another hour than was asked for."""
        assert self.errors == [], self.errors

    def _run(self) -> None:
        menu: list[tuple[int, str, Callable[[], None]]] = [
            *((2, f"an instance: {name}", lambda name=name: self._instance(name)) for name in FAULTS),  # type: ignore[misc]  # bound by the default
            (3, "an instance is replaced", self._deploy),
            (2, "Consul is killed, an instance meanwhile", self._consul_killed),
            (1, "Consul is paused", self._consul_paused),
            (2, "Redis is killed", self._redis_killed),
            (1, "Redis is paused", self._redis_paused),
            (4, "the gateway is reloaded", self._reload),
            (4, "an operator acts", self._operate),
        ]
        while not self._ending.wait(self.random.uniform(*APART_S)):
            ((_, name, act),) = self.random.choices(menu, [part for part, _, _ in menu])
            began_at, self._whom = time.time(), ""
            try:
                act()
            except (AssertionError, OSError, RuntimeError, ValueError) as error:
                self.errors.append(f"{name}: {error!r}")
            self.happened[name] += 1
            self.diary.append({"from": began_at, "until": time.time(), "name": name, "whom": self._whom})

    def _last(self) -> None:
        time.sleep(self.random.uniform(*LASTS_S))

    def _instance(self, name: str) -> None:
        victim = self.random.choice(self.instances)
        self._whom = f"{victim.port}"
        FAULTS[name].begin(victim)
        self._last()
        FAULTS[name].end(victim)

    def _deploy(self) -> None:
        number = self.random.randrange(len(self.instances))
        old, new = self.instances[number], InstanceProcess().start()
        self._whom = f"{old.port} by {new.port}"
        register(self.consul, new)
        self.instances[number] = new
        time.sleep(1)
        for service in SERVICES:
            self.consul.deregister(f"{service}-{old.port}")
        time.sleep(1)
        old.terminate()

    def _consul_killed(self) -> None:
        self.consul.kill()
        self._instance("killed")
        self.consul.restart()

    def _consul_paused(self) -> None:
        self.consul.pause()
        self._last()
        self.consul.resume()

    def _redis_killed(self) -> None:
        self.redis.kill()
        self._last()
        self.redis.start()

    def _redis_paused(self) -> None:
        self.redis.pause()
        self._last()
        self.redis.resume()

    def _reload(self) -> None:
        timeout = {"response": f"{self.random.choice((2000, 2100, 2200))}ms"}
        balancer = self.random.choice(("ewma", "p2c", "least_connections", "round_robin"))
        self._whom = f"{balancer}, {timeout}"
        self.gateway.reload(merged(self.config, {"services": {"orders": {"timeout": timeout, "balancer": balancer}}}))

    def _operate(self) -> None:
        """Drain, eject or weigh one, and take it back."""
        service, victim = self.random.choice(SERVICES), self.random.choice(self.instances)
        there, back = self.random.choice((("drain", "undrain"), ("eject", "uneject"), ("weight", "weight")))
        self._whom = f"{there} {service}-{victim.port}"
        self._post(f"/admin/upstreams/{service}/{service}-{victim.port}/{there}", 3)
        self._last()
        self._post(f"/admin/upstreams/{service}/{service}-{victim.port}/{back}", 1)

    def _post(self, path: str, weight: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=10)
        body = json.dumps({"weight": weight}) if path.endswith("weight") else None
        connection.request("POST", path, body, {"Content-Type": "application/json"} if body else {})
        status = connection.getresponse().status
        connection.close()
        assert status == 200, (path, status)


def register(consul: ConsulServer, instance: InstanceProcess) -> None:
    """Under all names."""
    for service in SERVICES:
        consul.register(service, instance.port)

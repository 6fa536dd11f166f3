"""The menu: what may happen, in the order of the table in docs/reliability.md, and where it is played."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from tests.chaos import gateway, instances, limits
from tests.chaos import registry as consul
from tests.chaos.stage import INSTANCES, TRY_S, Play, Result, play
from tests.support.consul_cluster import ConsulCluster
from tests.support.consul_server import ConsulServer
from tests.support.instance_process import InstanceProcess
from tests.support.redis_sentinels import RedisSentinels
from tests.support.redis_server import RedisServer

BOTH = ("native", "httpx")
READING = "GET"
"""A 500 of what changes something is the service's last word: see the rule of retries."""

MOST_LURED = 0.1
"""The part of all attempts that a bad instance of five may have got at most."""


class Registry(enum.Enum):
    """Whose Consul a scenario is played with."""

    SHARED = "shared"
    OWN = "own"
    """It may be killed, and keeps its data."""
    CLUSTER = "cluster"
    """Three servers and an agent."""


class Store(enum.Enum):
    """Which Redis counts requests in a scenario."""

    NONE = "none"
    SHARED = "shared"
    SENTINELS = "sentinels"
    """A master and a replica, watched over by three sentinels."""


@dataclass(frozen=True)
class Scenario:
    """`what` is its line in the table."""

    name: str
    what: str
    action: Play
    transports: tuple[str, ...] = ("native",)
    methods: str = "GET,GET,GET,PUT"
    config: dict[str, Any] = field(default_factory=dict)
    registry: Registry = Registry.SHARED
    store: Store = Store.NONE
    left_alone: bool = False
    """Its instance must get no more than trials, soon."""
    others_served: bool = False
    """Each of the others must get more than it meanwhile."""
    may_turn_away: bool = False
    """New connections may be told that there is too much to do."""
    may_wait: bool = False
    """New connections may have to wait as long as the fault lasts."""
    crowded: bool = False
    """Thousands of other clients take their part of this machine, which makes every wait longer than in the calm."""
    short_s: float | None = None
    """For how long each fault lasts as a test, over the transports of `short_over`; None: too long for a test."""
    short_over: tuple[str, ...] = ("native",)

    def waiting_s(self, seconds: float) -> float:
        """How long clients may have to wait because it is played like that, with faults that last for `seconds`."""
        return (seconds if self.may_wait else 0.0) + (TRY_S / 2 if self.crowded else 0.0)

    def check(self, result: Result) -> None:
        """Raise `AssertionError` if a request was lost, or clients had to wait for long."""
        told, trouble = result.told, result.trouble
        assert told.failed == {}, told
        assert told.not_accepted == 0, told
        assert told.turned_away == 0 or self.may_turn_away, told
        assert told.p99_s <= result.most_s, told
        if self.left_alone:
            assert trouble is not None
            assert trouble.alone_after_s() is not None, trouble.samples
            assert trouble.share() < MOST_LURED, trouble.share()
        if self.others_served:
            assert trouble is not None
            assert trouble.least_share_of_others() > trouble.share(), trouble.samples


def of_instance(name: str, what: str, methods: str = "GET,GET,GET,PUT", *, short_s: float | None = None) -> Scenario:
    action = instances.FAULTS[name].action()
    return Scenario(name, f"an instance {what}", action, BOTH, methods, left_alone=True, others_served=True, short_s=short_s)


SCENARIOS = (
    of_instance("killed", "is killed"),
    of_instance("paused", "is paused (SIGSTOP)"),
    of_instance("slow", "takes ten times as long", short_s=2.0),
    of_instance("fails", "answers 500 at once", READING),
    of_instance("resets", "resets, at once or within the head"),
    of_instance("garbage", "answers garbage"),
    of_instance("half-closes", "ends its side and waits"),
    of_instance("closes", "closes without an answer"),
    of_instance("refuses", "refuses connections"),
    Scenario("every-fault", "all of these in a row", instances.every_fault, BOTH, READING, short_s=0.6, short_over=BOTH),
    Scenario(
        "others-still-out",
        "two are well again but still out, a third answers 500 at once",
        instances.others_still_out,
        BOTH,
        READING,
        config=instances.FEW_RETRIES,
        left_alone=True,
        short_s=2.5,
    ),
    Scenario(
        "most-killed",
        "three of five are killed, and our own checks know it",
        instances.most_killed,
        BOTH,
        config=instances.CHECKED,
        short_s=1.5,
    ),
    Scenario("deployed", "all instances are replaced, in turn", instances.deployed, BOTH, short_s=0.0),
    Scenario("restarted", "all are restarted in place, in turn, the registry is not told", instances.restarted, BOTH),
    Scenario("consul-killed", "Consul is killed, then an instance", consul.consul_killed, BOTH, registry=Registry.OWN, left_alone=True),
    Scenario(
        "consul-paused", "Consul is paused, and an instance killed", consul.consul_paused, BOTH, registry=Registry.OWN, left_alone=True
    ),
    Scenario("consul-empty", "Consul comes back empty, instances register again", consul.consul_empty, registry=Registry.OWN),
    Scenario("leader-lost", "the leader of three Consul servers is killed", consul.leader_lost, registry=Registry.CLUSTER),
    Scenario("redis-killed", "the Redis of the limits is killed, and comes back empty", limits.redis_killed, store=Store.SHARED),
    Scenario("redis-paused", "the Redis of the limits is paused", limits.redis_paused, store=Store.SHARED),
    Scenario(
        "redis-leader-lost",
        "the master of the Redis of the limits is killed, sentinels make its replica the master",
        limits.redis_leader_lost,
        store=Store.SENTINELS,
        short_s=0.5,
    ),
    Scenario("reloaded", f"the gateway is reloaded {gateway.RELOADS} times", gateway.reloaded, BOTH),
    Scenario("taken-over", f"another gateway takes its place, {gateway.TAKEOVERS} times", gateway.taken_over, BOTH),
    Scenario(
        "too-many-clients",
        f"{gateway.CROWD} clients where {gateway.MOST_CONNECTIONS} may connect",
        gateway.too_many_clients,
        BOTH,
        config={"server": {"max_connections": gateway.MOST_CONNECTIONS}},
        may_turn_away=True,
        short_s=1.0,
    ),
    Scenario(
        "no-files",
        "the gateway may open no more files",
        gateway.no_files_left,
        BOTH,
        may_turn_away=True,
        may_wait=True,
        short_s=1.0,
    ),
    Scenario(
        "slow-clients",
        f"{gateway.SLOW_CLIENTS} clients that do not end their heads, {gateway.SLOW_CLIENTS} that hardly read",
        gateway.slow_clients,
        BOTH,
        config={"server": {"header_timeout": f"{gateway.HEADER_TIMEOUT_S}s"}},
        crowded=True,
        short_s=2.5,
    ),
)


class House:
    """What all scenarios share: five instances, well whenever one begins, a Consul and a Redis."""

    def __init__(self) -> None:
        self._instances = [InstanceProcess() for _ in range(INSTANCES)]
        self._consul = ConsulServer(node="chaos-node")
        self._redis = RedisServer()

    def __enter__(self) -> Self:
        self._restart()
        self._consul.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._consul.close()
        self._redis.close()
        for instance in self._instances:
            instance.kill()

    def play(self, scenario: Scenario, transport: str, seconds: float) -> Result:
        """Once, each fault for so many seconds. Raises `AssertionError` or `TimeoutError` if it did not end as it should."""
        try:
            with self._registry(scenario.registry) as registry, self._store(scenario.store) as store:
                result = play(
                    scenario.action,
                    registry,
                    self._instances,
                    store,
                    seconds=seconds,
                    transport=transport,
                    methods=scenario.methods,
                    config=scenario.config if scenario.store is Store.NONE else limits.limited_by(store),
                    waiting_s=scenario.waiting_s(seconds),
                )
            scenario.check(result)
        except BaseException:
            self._restart()
            raise
        return result

    @contextlib.contextmanager
    def _registry(self, which: Registry) -> Iterator[ConsulServer | ConsulCluster]:
        if which is Registry.SHARED:
            yield self._consul
            return
        with ConsulCluster() if which is Registry.CLUSTER else ConsulServer(persistent=True, node="chaos-node") as registry:
            yield registry

    @contextlib.contextmanager
    def _store(self, which: Store) -> Iterator[RedisServer | RedisSentinels]:
        if which is not Store.SENTINELS:
            yield self._redis
            return
        with RedisSentinels() as group:
            yield group

    def _restart(self) -> None:
        """Whatever has become of them."""
        for instance in self._instances:
            instance.kill()
            instance.launch()
        self._redis.restart()
        for instance in self._instances:
            instance.await_ready()

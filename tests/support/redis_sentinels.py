"""A master, a replica and sentinels that let the one take the place of the other: real ones, on one loopback address."""

from __future__ import annotations

import contextlib
from typing import Self

import redis

from tests.support.launch import launch, wait_until
from tests.support.redis_server import READY_WITHIN_S, RedisServer

NAME = "mymaster"
DOWN_AFTER_MS = 500
"""How long a master may be silent until a sentinel thinks that it is gone."""
FOLLOWED_WITHIN_S = 20.0
KNOWN_WITHIN_S = 30.0
"""Sentinels learn of each other from the master, every other second."""


class Sentinel(RedisServer):
    """Watches over `master`; `quorum` of them have to agree that it is gone. `more`: further lines of its configuration."""

    def __init__(self, master: RedisServer, *more: str, quorum: int = 1) -> None:
        super().__init__()
        self.conf = self.folder / "sentinel.conf"  # it writes there, too
        lines = (
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self.folder}",
            f"sentinel monitor {NAME} 127.0.0.1 {master.port} {quorum}",
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {NAME} 2000",
            *more,
        )
        self.conf.write_text("".join(f"{line}\n" for line in lines))
        self.conf.chmod(0o666)

    def start(self) -> Self:
        self._running = launch(self.where, [str(self.conf), "--sentinel"], self.folder)
        wait_until(self._answers, READY_WITHIN_S, lambda: f"the sentinel is not ready:\n{self.log()}")
        return self

    def master_port(self) -> int:
        """Of the master that it knows now."""
        with redis.Redis(port=self.port, decode_responses=True) as client:
            return int(client.sentinel_master(NAME)["port"])


class RedisSentinels:
    """A master, a replica of it, and `sentinels` sentinels of which more than half have to agree."""

    def __init__(self, sentinels: int = 3) -> None:
        self.master, self.replica = RedisServer(), RedisServer()
        self.sentinels = [Sentinel(self.master, quorum=sentinels // 2 + 1) for _ in range(sentinels)]
        self.url = f"redis+sentinel://{','.join(f'127.0.0.1:{each.port}' for each in self.sentinels)}/{NAME}/0"

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.master)
            stack.enter_context(self.replica)
            follow(self.replica, self.master)
            for sentinel in self.sentinels:
                stack.enter_context(sentinel)
            for sentinel in self.sentinels:
                wait_until(lambda known=sentinel: self._knows_all(known), KNOWN_WITHIN_S, sentinel.log)  # type: ignore[misc]  # bound by the default
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _knows_all(self, sentinel: Sentinel) -> bool:
        with redis.Redis(port=sentinel.port, decode_responses=True) as client:
            known = client.sentinel_master(NAME)
            return known["num-slaves"] == 1 and known["num-other-sentinels"] == len(self.sentinels) - 1

    def await_failover(self, seconds: float = FOLLOWED_WITHIN_S) -> None:
        """Wait until the replica is the master, for all sentinels."""
        wait_until(lambda: all(each.master_port() == self.replica.port for each in self.sentinels), seconds, self.sentinels[0].log)


def follow(replica: RedisServer, master: RedisServer) -> None:
    """Make `replica` one of `master`, and wait until it has all that there is."""
    with redis.Redis(port=replica.port) as client:
        client.replicaof("127.0.0.1", master.port)
        wait_until(lambda: client.info("replication")["master_link_status"] == "up", FOLLOWED_WITHIN_S, replica.log)

"""Scenarios in which the Redis behind the rate limits is in trouble."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import redis

from tests.support.launch import wait_until
from tests.support.redis_sentinels import RedisSentinels
from tests.support.redis_server import RedisServer

if TYPE_CHECKING:
    from tests.chaos.stage import Stage

PLENTY = {"key": "client", "requests": 1_000_000, "per": "1s"}
"""Everybody is counted, and nobody has had enough."""
SLOWLY_FORGOTTEN = {"key": "client", "requests": 10_000, "per": "1h"}
"""Nobody has had enough here either, but what is used comes back more slowly than clients use it."""
EMISSION_S = 3600 / 10_000
KNOWN_BEFORE = 100
COUNTED_WITHIN_S = 20.0


def limited_by(store: RedisServer | RedisSentinels) -> dict[str, Any]:
    """The configuration for it."""
    limit = SLOWLY_FORGOTTEN if isinstance(store, RedisSentinels) else PLENTY
    return {"rate_limit": {"store": store.url, "default": limit}}


def redis_killed(stage: Stage) -> None:
    """It comes back empty."""
    assert isinstance(stage.redis, RedisServer)
    stage.redis.kill()
    await_state(stage, "down")
    stage.last()
    stage.redis.start()
    await_state(stage, "up")


def redis_paused(stage: Stage) -> None:
    assert isinstance(stage.redis, RedisServer)
    stage.redis.pause()
    stage.last()
    stage.redis.resume()
    await_state(stage, "up")


def redis_leader_lost(stage: Stage) -> None:
    """The master is killed; the sentinels agree on the replica, and there the gateway goes on counting, from what was known before."""
    group = stage.redis
    assert isinstance(group, RedisSentinels)
    wait_until(lambda: used(group.replica) > KNOWN_BEFORE, COUNTED_WITHIN_S, stage.gateway.story)
    group.master.kill()
    before = used(group.replica)
    group.await_failover()
    assert used(group.replica) > before / 2, "the new master knows nobody"
    stage.last()
    await_state(stage, "up")
    wait_until(lambda: used(group.replica) > before, COUNTED_WITHIN_S, stage.gateway.story)


def used(server: RedisServer) -> float:
    """How many requests of `SLOWLY_FORGOTTEN` are used up by all clients together, as far as this Redis knows."""
    with redis.Redis(port=server.port) as client:
        full_at_s = [float(client.get(name) or 0) / 1e6 for name in client.scan_iter("lbgateway:limit:*")]
    return sum(max(0.0, at_s - time.time()) for at_s in full_at_s) / EMISSION_S


def await_state(stage: Stage, state: str) -> None:
    """Wait until the gateway has noticed."""
    wait_until(lambda: stage.gateway.json("/health")["checks"]["redis"]["state"] == state, 20, stage.gateway.story)

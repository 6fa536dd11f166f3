"""Scenarios in which the Redis behind the rate limits is in trouble."""

from __future__ import annotations

from typing import Any

from tests.chaos.stage import Stage
from tests.support.launch import wait_until

PLENTY = {"key": "client", "requests": 1_000_000, "per": "1s"}
"""Everybody is counted, and nobody has had enough."""


def limited_by(store: str) -> dict[str, Any]:
    """The configuration for it."""
    return {"rate_limit": {"store": store, "default": PLENTY}}


def redis_killed(stage: Stage) -> None:
    """It comes back empty."""
    stage.redis.kill()
    await_state(stage, "down")
    stage.last()
    stage.redis.start()
    await_state(stage, "up")


def redis_paused(stage: Stage) -> None:
    stage.redis.pause()
    stage.last()
    stage.redis.resume()
    await_state(stage, "up")


def await_state(stage: Stage, state: str) -> None:
    """Wait until the gateway has noticed."""
    wait_until(lambda: stage.gateway.json("/health")["checks"]["redis"]["state"] == state, 20, stage.gateway.story)

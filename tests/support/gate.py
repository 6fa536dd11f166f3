"""A policy that does not know yet, until the test lets it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lbgateway.errors import GatewayError, Overloaded
from lbgateway.policies.wait import Flight, Wait
from tests.support.playbook import World


class Gate:
    """Parks all exchanges on one flight; `verdict` is what each is told when `opens` was called."""

    def __init__(self, verdict: Callable[[Any], GatewayError | Wait | None] = lambda _exchange: None, *, within_s: float = 5.0) -> None:
        self.flight = Flight()
        self.verdict = verdict
        self.within_s = within_s
        self.asked = self.decided = 0

    def __call__(self, _exchange: Any) -> Wait:
        self.asked += 1
        return Wait(self.flight, self._decide, self.within_s, Overloaded("Nobody knows in time"))

    def opens(self) -> None:
        flight, self.flight = self.flight, Flight()
        flight.land()

    def _decide(self, exchange: Any) -> GatewayError | Wait | None:
        self.decided += 1
        return self.verdict(exchange)


def gated(*policies: Any, **services: int) -> World:
    """A data plane whose routes ask these policies."""
    world = World(**(services or {"orders": 1}))  # type: ignore[arg-type]  # counts of endpoints only
    for route in world.plane.routes:
        route.admit = policies
    return world

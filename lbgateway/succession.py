"""What a successor has to know before it takes over, and what it is left by the gateway before it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lbgateway.dataplane.plane import FAREWELL_S
from lbgateway.takeover import TakeoverFailed

if TYPE_CHECKING:
    from lbgateway.handover import Successor
    from lbgateway.runtime import Gateway

FIRST_ANSWER_S = 15.0
"""How long a successor waits for the registry. Nobody waits for the successor: the other one serves."""
POLL_S = 0.02


async def informed(gateway: Gateway, within_s: float = FIRST_ANSWER_S) -> None:
    """Wait until a successor knows the services, from the registry or from disk.

    Raises:
        TakeoverFailed: there was no answer, and the gateway that runs still knows the last one.

    """
    try:
        async with asyncio.timeout(within_s):
            await gateway.settle(within_s)
            while not gateway.registry.heard():  # noqa: ASYNC110 once in a gateway's life
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        why = gateway.registry.status().last_error or "no answer"
        raise TakeoverFailed(f"the registry tells this process nothing ({why}), and the running gateway knows what it last said") from None


def pass_on(gateway: Gateway, successor: Successor) -> None:
    """Leave to `successor` what is one thing for both: the entry in the registry, the snapshot on disk."""
    gateway.leaving = True
    gateway.self_registration.pass_on(successor.registration)
    if gateway.store is not None:
        gateway.store.pass_on()
    # Nobody waits for the port: clients that keep a connection learn it from their next answer, and have time for that.
    server = gateway.settings.server
    gateway.plane.farewell_s = max(FAREWELL_S, min(server.keep_alive, server.drain_timeout / 2))

"""Waiting for a flight of the policies in a coroutine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lbgateway.errors import AuthUnavailable

if TYPE_CHECKING:
    from lbgateway.policies.wait import Flight


class _Passenger:
    """A waiter that completes a future."""

    def __init__(self) -> None:
        self.landed = asyncio.get_running_loop().create_future()

    def on_landed(self) -> None:
        if not self.landed.done():
            self.landed.set_result(None)


async def landing(flight: Flight, within_s: float) -> None:
    """Return when `flight` has landed.

    Raises:
        AuthUnavailable: it has not within `within_s` seconds.

    """
    passenger = _Passenger()
    flight.join(passenger)
    try:
        async with asyncio.timeout(within_s):
            await passenger.landed
    except TimeoutError:
        raise AuthUnavailable(cause="who could tell does not answer in time") from None
    finally:
        flight.leave(passenger)

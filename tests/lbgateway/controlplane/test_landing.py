"""A coroutine that waits for a flight."""

from __future__ import annotations

import asyncio

import pytest

from lbgateway.controlplane.landing import landing
from lbgateway.errors import AuthUnavailable
from lbgateway.policies.wait import Flight
from tests.support.virtual_time import run_virtual


def test_it_goes_on_when_the_flight_has_landed():
    """Not before."""

    async def story() -> None:
        flight = Flight()
        waiting = asyncio.ensure_future(landing(flight, 5.0))
        await asyncio.sleep(1)
        assert not waiting.done()
        flight.land()
        await waiting

    run_virtual(story())


def test_it_does_not_wait_without_end():
    """The answer is the same as for a request on the data plane, and the flight forgets it."""

    async def story() -> None:
        flight = Flight()
        with pytest.raises(AuthUnavailable):
            await landing(flight, 5.0)
        assert repr(flight) == "<Flight 0 waiting>"
        flight.land()

    run_virtual(story())


def test_who_is_cancelled_waits_no_more():
    """A client that leaves takes its place along, also in the moment of the landing."""

    async def story() -> None:
        flight = Flight()
        waiting = asyncio.ensure_future(landing(flight, 5.0))
        await asyncio.sleep(1)
        waiting.cancel()
        flight.land()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert repr(flight) == "<Flight landed>"

    run_virtual(story())

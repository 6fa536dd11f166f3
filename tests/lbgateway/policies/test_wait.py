"""Flights: who waits, who is told, and when."""

from __future__ import annotations

import pytest

from lbgateway.policies.wait import Flight


class Passenger:
    """Notes that it was told; `then` is what it does."""

    def __init__(self, name: str, told: list[str], then=lambda: None) -> None:
        self.name, self.told, self.then = name, told, then

    def on_landed(self) -> None:
        self.told.append(self.name)
        self.then()


def test_all_who_wait_are_told_once_in_their_order():
    """Who left is not."""
    flight, told = Flight(), []
    passengers = [Passenger(name, told) for name in "abc"]
    for passenger in passengers:
        flight.join(passenger)
    assert repr(flight) == "<Flight 3 waiting>"
    flight.leave(passengers[1])
    flight.leave(passengers[1])
    flight.land()
    assert (told, flight.landed, repr(flight)) == (["a", "c"], True, "<Flight landed>")


def test_nobody_joins_what_has_landed():
    """Whoever would, could decide at once: waiting for it would never end."""
    flight = Flight()
    flight.land()
    with pytest.raises(AssertionError):
        flight.join(Passenger("late", []))


def test_one_who_leaves_during_the_landing_is_no_trouble():
    """A client may close its connection in answer to what another one was told."""
    flight, told = Flight(), []
    second = Passenger("second", told)
    flight.join(Passenger("first", told, lambda: flight.leave(second)))
    flight.join(second)
    flight.land()
    assert told == ["first", "second"]

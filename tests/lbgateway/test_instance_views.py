"""One instance for operators: sentences and numbers."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from balancers.endpoint import EndpointState
from lbgateway.dataplane.history import Change
from lbgateway.dataplane.orders import Order
from lbgateway.instance_views import NOT_PICKABLE, PICKABLE, change_view, milliseconds, moment, order_view


@pytest.mark.parametrize(("seconds", "shown"), [(None, None), (0.0019, 1.9), (1.23456789, 1234.568)])
def test_seconds_are_shown_as_milliseconds(seconds, shown):
    """With three digits, and null for what is not known."""
    assert milliseconds(seconds) == shown


def test_a_monotonic_moment_is_shown_in_utc():
    """RFC 3339, to the millisecond."""
    shown = moment(time.monotonic() - 60)
    assert shown.endswith("Z")
    assert abs((datetime.now(UTC) - datetime.fromisoformat(shown)).total_seconds() - 60) < 1


def test_every_state_is_explained():
    """A new state without its sentence would be a riddle in `explain`."""
    assert set(PICKABLE) | set(NOT_PICKABLE) == set(EndpointState)


def test_an_order_is_shown_with_its_end():
    """Null where nothing is ordered."""
    shown = order_view(Order(ejected_by="ann", ejected_until_s=time.monotonic() + 30))
    assert shown["ejected_until"] is not None
    assert {**shown, "ejected_until": None} == {
        "drained_by": None,
        "ejected_by": "ann",
        "ejected_until": None,
        "weight": None,
        "weighed_by": None,
    }


def test_a_change_is_shown_from_one_state_to_the_other():
    """With its moment in UTC."""
    shown = change_view(Change(time.monotonic(), "ready", "critical", "no disk"))
    assert (shown["from"], shown["to"], shown["reason"], shown["at"][-1]) == ("ready", "critical", "no disk", "Z")

"""Commands to orders: a table."""

from __future__ import annotations

import pytest

from discovery.instance import InstanceKey
from lbgateway.controlplane.port import VERBS, Command
from lbgateway.dataplane.orders import NO_ORDER, Order, Orders, end_due, give, ordered

KEY = InstanceKey("consul", "dc1", "", "n1", "orders-1")


@pytest.mark.parametrize(
    ("before", "command", "after"),
    [
        (NO_ORDER, Command("drain", "ann"), Order(drained_by="ann")),
        (Order(drained_by="ann"), Command("drain", "bob"), Order(drained_by="bob")),
        (Order(drained_by="ann", weight=3), Command("undrain", "bob"), Order(weight=3)),
        (NO_ORDER, Command("undrain", "bob"), NO_ORDER),
        (NO_ORDER, Command("eject", "ann"), Order(ejected_by="ann")),
        (NO_ORDER, Command("eject", "ann", for_s=30.0), Order(ejected_by="ann", ejected_until_s=40.0)),
        (Order(ejected_by="ann", ejected_until_s=40.0), Command("eject", "bob"), Order(ejected_by="bob")),
        (Order(ejected_by="ann", ejected_until_s=40.0), Command("uneject", "bob"), NO_ORDER),
        (NO_ORDER, Command("weight", "ann", weight=0), Order(weight=0, weighed_by="ann")),
        (Order(weight=3, weighed_by="ann"), Command("weight", "bob", weight=None), NO_ORDER),
    ],
)
def test_each_command_changes_its_part_of_the_order(before: Order, command: Command, after: Order):
    """And leaves the rest alone; the moment is 10."""
    assert ordered(before, command, 10.0) == after


def test_every_verb_is_known_and_no_other():
    """A new one must be thought of here."""
    for verb in VERBS:
        ordered(NO_ORDER, Command(verb, "ann"), 1.0)
    with pytest.raises(ValueError, match="dance"):
        ordered(NO_ORDER, Command("dance", "ann"), 1.0)


def test_where_nothing_is_ordered_nothing_is_kept():
    """Or what is asked of every instance ten times a second would grow."""
    orders: Orders = {}
    give(orders, KEY, Order(weight=3))
    give(orders, KEY, NO_ORDER)
    give(orders, KEY, NO_ORDER)
    assert orders == {}


def test_the_time_of_an_ejection_ends():
    """Of one that has a time; whatever else is ordered stays."""
    other = KEY._replace(id="orders-2")
    orders = {KEY: Order(ejected_by="ann", ejected_until_s=40.0, weight=3), other: Order(ejected_by="ann")}
    assert not end_due(orders, 39.9)
    assert end_due(orders, 40.0)
    assert orders == {KEY: Order(weight=3), other: Order(ejected_by="ann")}

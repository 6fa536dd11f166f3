"""What operators want of single instances. Pure; kept while the process lives, whatever the registry and the configuration do meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from discovery.instance import InstanceKey
    from lbgateway.controlplane.port import Command


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted of one instance, and by whom; None where nothing is.

    An instance that is drained or ejected by order gets no request, not in panic either: an order is an order.
    `ejected_until_s` is a moment of the monotonic clock, None for "until it is taken back".
    """

    drained_by: str | None = None
    ejected_by: str | None = None
    ejected_until_s: float | None = None
    weight: int | None = None
    """In place of the registry's."""
    weighed_by: str | None = None


NO_ORDER = Order()

Orders = dict["InstanceKey", Order]
"""Of one service. They follow the identity of an instance, so that it may move, or leave and come back."""


def ordered(before: Order, command: Command, now_s: float) -> Order:
    """The order after one more command. The same command twice is the same order."""
    match command.verb:
        case "drain":
            return replace(before, drained_by=command.by)
        case "undrain":
            return replace(before, drained_by=None)
        case "eject":
            return replace(before, ejected_by=command.by, ejected_until_s=None if command.for_s is None else now_s + command.for_s)
        case "uneject":
            return replace(before, ejected_by=None, ejected_until_s=None)
        case "weight":
            return replace(before, weight=command.weight, weighed_by=None if command.weight is None else command.by)
    raise ValueError(command.verb)


def give(orders: Orders, key: InstanceKey, order: Order) -> None:
    """Put `order` in the place of what was ordered before."""
    if order == NO_ORDER:
        orders.pop(key, None)
    else:
        orders[key] = order


def end_due(orders: Orders, now_s: float) -> bool:
    """Take back the ejections by order whose time has passed; returns whether there were any."""
    due = [key for key, order in orders.items() if order.ejected_until_s is not None and now_s >= order.ejected_until_s]
    for key in due:
        give(orders, key, replace(orders[key], ejected_by=None, ejected_until_s=None))
    return bool(due)

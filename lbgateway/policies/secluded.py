"""Services that are there for the gateway alone: naming one as the service that inspects tokens opens no route to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from lbgateway.errors import GatewayError


class Secluded:
    """A policy of routes that take the service's name from the path, behind all others: a stranger shall not learn what there is.

    `hidden` says whether a name is one of them now, `missing` makes the answer about a service that there is not.
    """

    __slots__ = ("_hidden", "_missing")

    def __init__(self, hidden: Callable[[str], bool], missing: Callable[[str], GatewayError]) -> None:
        self._hidden = hidden
        self._missing = missing

    def __call__(self, exchange: Any) -> GatewayError | None:
        name = exchange.route.service_of(exchange.target.path)
        return self._missing(name) if self._hidden(name) else None

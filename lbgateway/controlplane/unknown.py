"""Answers about what there is not: with the nearest name that there is, and with what to do."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING

from lbgateway.config.errors import did_you_mean
from lbgateway.controlplane import upstreams
from lbgateway.errors import NoRoute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lbgateway.controlplane.port import GatewayPort

COMPARED, SHOWN = 1000, 10
"""So many names at most: comparing one takes some 10 µs, in which nobody else is served."""


def unknown_service(port: GatewayPort, service: str) -> NoRoute:
    """One that is registered but not exposed, or that nobody has heard of."""
    if service in port.unexposed():
        return NoRoute(upstreams.how_to_expose(service))
    known = port.service_names()[:COMPARED]
    return NoRoute(f'There is no service "{service}"{did_you_mean(service, known) or _instead("There are", known)}')


def unknown_instance(port: GatewayPort, service: str, instance: str) -> NoRoute:
    """One that the service does not have; named as it was asked for, with its node or without."""
    known = [(each["id"], f"{each['node']}:{each['id']}") for each in islice(port.instances(service), COMPARED)]
    near = did_you_mean(instance, list(chain.from_iterable(known)))
    return NoRoute(f'{service} has no instance "{instance}"{near or _instead("It has", [id_ for id_, _ in known])}')


def _instead(there_are: str, known: Sequence[str]) -> str:
    """The first few that there are, for somebody whose guess is far off."""
    if not known:
        return f". {there_are} none."
    return f". {there_are} {', '.join(known[:SHOWN])}{' …' if len(known) > SHOWN else '.'}"

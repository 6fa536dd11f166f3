"""An upstream: the group of endpoints that a route forwards to, and everything that is kept per group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balancers.endpoint import Endpoint
from lbgateway.telemetry.metrics import EndpointSeries, Histogram

if TYPE_CHECKING:
    from balancers.endpoint_set import EndpointSet
    from discovery.instance import Instance, Snapshot
    from lbgateway.config import ServiceSettings
    from lbgateway.dataplane.pool import Pool


class GatewayEndpoint(Endpoint):
    """An endpoint that holds its own idle connections: ``pick()`` returns all that the warm path needs."""

    __slots__ = ("instance", "pool", "series")

    def __init__(self, instance: Instance, pool: Pool) -> None:
        super().__init__(instance.key, instance.id, float(instance.weight))
        self.instance = instance
        self.pool = pool
        self.series = EndpointSeries()


class Upstream:
    """One service: its endpoints, their balancer, its timeouts and its numbers. Survives reloads."""

    def __init__(self, name: str, settings: ServiceSettings, endpoints: EndpointSet[GatewayEndpoint]) -> None:
        self.name = name
        self.settings = settings
        self.endpoints = endpoints
        self.snapshot: Snapshot | None = None
        self.duration = Histogram()
        self.requests_total = 0
        self.requests_per_second = 0.0

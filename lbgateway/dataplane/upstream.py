"""An upstream: the group of endpoints that a route forwards to, and everything that is kept per group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balancers import make_balancer
from balancers.endpoint import Endpoint, EndpointState
from balancers.endpoint_set import EndpointSet, Member
from discovery.instance import InstanceState
from lbgateway.dataplane.pool import Pool
from lbgateway.telemetry.metrics import EndpointSeries, Histogram

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Hashable
    from random import Random

    from discovery.instance import Instance, Snapshot

STATES = {
    InstanceState.PASSING: EndpointState.READY,
    InstanceState.WARNING: EndpointState.READY,
    InstanceState.CRITICAL: EndpointState.CRITICAL,
    InstanceState.MAINTENANCE: EndpointState.MAINTENANCE,
    InstanceState.SUSPECT: EndpointState.SUSPECT,
}
"""What the registry says of an instance -> what becomes of its endpoint."""


class GatewayEndpoint(Endpoint):
    """An endpoint that holds its own idle connections: ``pick()`` returns all that the warm path needs."""

    __slots__ = ("instance", "pool", "series")

    def __init__(self, instance: Instance, member: Member, pool: Pool) -> None:
        super().__init__(member.key, member.id, member.weight)
        self.instance = instance
        self.pool = pool
        self.series = EndpointSeries()


def endpoint_key(instance: Instance) -> Hashable:
    """One endpoint per identity *and* address: an instance that moved has new connections, latencies and failures."""
    return (instance.key, instance.address, instance.port)


class Upstream:
    """One service: its endpoints, their balancer and its numbers. Survives reloads and registry changes."""

    def __init__(self, name: str, balancer: str, *, pool_idle_s: float, loop: asyncio.AbstractEventLoop, random: Random) -> None:
        # for life
        self.name = name
        self._loop = loop
        self._random = random
        self._instances: dict[Hashable, Instance] = {}
        self.endpoints: EndpointSet[GatewayEndpoint] = EndpointSet(make_balancer(balancer, random), self._make)
        # as configured
        self.balancer_name = balancer
        self._pool_idle_s = pool_idle_s
        # as the registry says
        self.snapshot: Snapshot | None = None
        # as traffic says
        self.duration = Histogram()
        self.requests_total = 0
        self.requests_per_second = 0.0
        self._rated = 0

    def __repr__(self) -> str:
        return f"<Upstream {self.name} {self.endpoints!r}>"

    def configure(self, balancer: str, pool_idle_s: float) -> None:
        """Take over new settings; endpoints keep all they know."""
        self._pool_idle_s = pool_idle_s
        for endpoint in self.endpoints.endpoints.values():
            endpoint.pool.idle_timeout_s = pool_idle_s
        if balancer != self.balancer_name:
            self.balancer_name = balancer
            self.endpoints.replace_balancer(make_balancer(balancer, self._random))

    def take(self, snapshot: Snapshot, now_s: float) -> None:
        """Make the endpoints what the registry says. Who is not in it any more drains: no new requests, no idle connections."""
        self.snapshot = snapshot
        self._instances = {endpoint_key(instance): instance for instance in snapshot.instances}
        members = [
            Member(key, instance.id, float(instance.weight), STATES[instance.state], instance.reason)
            for key, instance in self._instances.items()
        ]
        self.endpoints.sync(members, now_s)
        for key, endpoint in self.endpoints.endpoints.items():
            endpoint.instance = self._instances[key]
            if endpoint.state in (EndpointState.READY, EndpointState.WARMING, EndpointState.SUSPECT):
                endpoint.pool.revive()
            else:
                endpoint.pool.retire()
        for endpoint in self.endpoints.leaving.values():
            endpoint.pool.retire()

    def _make(self, member: Member) -> GatewayEndpoint:
        instance = self._instances[member.key]
        pool = Pool(instance.address, instance.port, self._pool_idle_s, self._loop)
        return GatewayEndpoint(instance, member, pool)

    def sweep(self, now_s: float) -> None:
        """Close what has been idle for too long, forget who has left."""
        for endpoint in self.endpoints.endpoints.values():
            endpoint.pool.sweep(now_s)
        for endpoint in self.endpoints.sweep(now_s):
            endpoint.pool.retire()

    def close(self, now_s: float) -> None:
        """The service is gone: its endpoints finish what runs, and get nothing new."""
        self.endpoints.sync((), now_s)
        for endpoint in self.endpoints.leaving.values():
            endpoint.pool.retire()

    def rate(self, elapsed_s: float) -> None:
        """Update ``requests_per_second``; called about once a second."""
        rate = (self.requests_total - self._rated) / elapsed_s
        self._rated = self.requests_total
        self.requests_per_second += 0.3 * (rate - self.requests_per_second)

    def rotate(self) -> None:
        """Let latencies older than a minute be forgotten; called every 30 s."""
        for endpoint in self.endpoints.endpoints.values():
            endpoint.series.rotate()

"""The live record of one instance, with the connections that lead to it."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from balancers.endpoint import Endpoint
from lbgateway.dataplane.history import History
from lbgateway.dataplane.pool import Pool
from lbgateway.telemetry.metrics import EndpointSeries

if TYPE_CHECKING:
    from collections.abc import Hashable

    from balancers.endpoint_set import Member
    from discovery.instance import Instance


class GatewayEndpoint(Endpoint):
    """An endpoint that holds its own idle connections: ``pick()`` returns all that the warm path needs."""

    __slots__ = ("history", "instance", "most_active", "pool", "series")

    def __init__(self, instance: Instance, member: Member, pool: Pool) -> None:
        super().__init__(member.key, member.id, member.weight)
        self.instance = instance
        self.pool = pool
        self.most_active: float = inf
        """So many requests at once, and no more."""
        self.series = EndpointSeries()
        self.history: History | None = None

    def remembers(self) -> History:
        """Its history, begun if it has none."""
        if self.history is None:
            self.history = History()
        return self.history

    def connections(self) -> tuple[int, int]:
        """How many are idle, and how many are in use."""
        return len(self.pool.idle), self.pool.active

    def replace_pool(self, pool: Pool) -> None:
        """From now on connections are made by `pool`; what is leased ends where it began."""
        before, self.pool = self.pool, pool
        pool.max_connections = before.max_connections
        if before.retired:
            pool.retire()
        before.retire()


EndpointMaker = Callable[["Instance", "Member", Pool], GatewayEndpoint]


def endpoint_key(instance: Instance) -> Hashable:
    """One endpoint per identity *and* address: an instance that moved has new connections, latencies and failures."""
    return (instance.key, instance.address, instance.port)

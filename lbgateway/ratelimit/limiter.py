"""The limits in force. A limit that a reload leaves as it is keeps all that it knows of its clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbgateway.config.store_address import parse_store
from lbgateway.policies.rate_limit import RateLimit
from lbgateway.ratelimit.shared_limit import SharedLimit
from lbgateway.ratelimit.table_limit import TableLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from lbgateway.config.ratelimit import RateLimitSettings
    from lbgateway.controlplane.port import RedisView
    from lbgateway.dataplane.route import Route
    from lbgateway.policies.gcra import Limit
    from lbgateway.policies.rate_limit import LimitPolicy
    from lbgateway.ratelimit.redis_store import RedisStore
    from lbgateway.ratelimit.table import LimitTable


class Limits:
    """The limits that one store counts, each made once for all routes that share it.

    Without a `store` this process counts, in a `table` that it shares with others if there is one.
    """

    def __init__(self, address: str, store: RedisStore | None = None, table: LimitTable | None = None) -> None:
        self.address = address
        self.store = store
        self.table = table
        self._policies: dict[Limit, LimitPolicy] = {}

    def __repr__(self) -> str:
        return f"<Limits {len(self._policies)} {self.store or 'in memory'}>"

    def policy_for(self, route: Route) -> LimitPolicy | None:
        """The limit of a route that is being compiled; None where it has none."""
        limit = route.limit
        if limit is None:
            return None
        policy = self._policies.get(limit)
        if policy is None:
            policy = self._policies[limit] = self._made(limit)
        return policy

    def _made(self, limit: Limit) -> LimitPolicy:
        if self.store is not None:
            return SharedLimit(limit, self.store)
        return RateLimit(limit) if self.table is None else TableLimit(limit, self.table)

    def keep(self, routes: Iterable[Route]) -> Collection[LimitPolicy]:
        """Forget the limits of all other routes; those that are left."""
        used = {route.limit for route in routes}
        self._policies = {limit: policy for limit, policy in self._policies.items() if limit in used}
        return tuple(self._policies.values())


class Limiter:
    """`gateways` tells how many gateways there are, for when each has to count by itself. `table`: as for `Limits`."""

    def __init__(self, gateways: Callable[[], int] = lambda: 1, table: LimitTable | None = None) -> None:
        self._gateways = gateways
        self._started = False
        self._table = table
        self.limits = Limits("memory", table=table)

    def prepare(self, settings: RateLimitSettings) -> Limits:
        """The limits that `settings` ask for: those in force, if the store is the same. Changes nothing yet."""
        address = settings.store if settings.enabled else "memory"
        if address == self.limits.address:
            return self.limits
        if address == "memory":
            return Limits(address, table=self._table)
        from lbgateway.ratelimit.redis_store import RedisStore  # noqa: PLC0415 a gateway without a Redis starts without its client

        return Limits(address, RedisStore(parse_store(address), on_failure=settings.on_store_failure, gateways=self._gateways))

    def apply(self, limits: Limits, settings: RateLimitSettings) -> RedisStore | None:
        """Put them in force; returns the store that is not needed any more, for closing."""
        before, self.limits = self.limits, limits
        if limits.store is not None:
            limits.store.on_failure = settings.on_store_failure
            if self._started:
                limits.store.start()
        return before.store if before is not limits else None

    def start(self) -> None:
        """Begin to ask the store."""
        self._started = True
        if self.limits.store is not None:
            self.limits.store.start()

    async def aclose(self) -> None:
        if self.limits.store is not None:
            await self.limits.store.aclose()

    def view(self) -> RedisView | None:
        """None where limits are counted in memory."""
        store = self.limits.store
        if store is None:
            return None
        return {"state": "down" if store.down else "up", "on_store_failure": store.on_failure, "last_error": store.last_error}

"""Connections to Redis, for whatever keeps something there: redis-py, told to be quick and to leave waiting to us."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisClusterException, RedisError  # noqa: A004 not that of the operating system

if TYPE_CHECKING:
    from lbgateway.config.store_address import StoreAddress

Client = Redis | RedisCluster
FAILURES = (RedisError, RedisClusterException, OSError, TimeoutError)
"""Whatever a call can fail by, apart from a bug."""


def redis_client(address: StoreAddress, *, timeout_s: float, again: bool = False) -> Client:
    """A client that connects when it is first used. `timeout_s`: for a connect, and for each answer.

    It does not try again by itself: who asks knows better whether an answer is still of use. With `again` it does once, where the
    server has closed the connection meanwhile; for questions that do no harm when they are asked twice.
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)) if again else Retry(NoBackoff(), 0),
        # Whoever may only read may not give itself a name either.
        "client_name": None if again else "lbgateway",
    }
    if address.kind == "single":
        return Redis.from_url(address.url, **options)
    options |= {"username": address.username, "password": address.password}
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        # Once more, for a slot that has moved meanwhile.
        options["retry"] = Retry(NoBackoff(), 1)
        return RedisCluster(startup_nodes=nodes, require_full_coverage=False, **options)
    waiting = {name: options[name] for name in ("socket_timeout", "socket_connect_timeout", "retry")}
    sentinel = Sentinel(list(address.hosts), sentinel_kwargs=waiting)  # type: ignore[no-untyped-call]  # redis-py leaves it out
    master: Redis = sentinel.master_for(address.master, db=address.db, **options)
    return master


async def close_client(client: Client) -> None:
    """Close all that it has opened, connections to sentinels among them; what fails was closed already."""
    pool = getattr(client, "connection_pool", None)
    sentinels = pool.sentinel_manager.sentinels if isinstance(pool, SentinelConnectionPool) else []
    for each in (client, *sentinels):
        with contextlib.suppress(*FAILURES):
            await each.aclose()

"""Clients of the kinds of Redis, without one: what they would connect to. Real ones: tests/integration/test_redis_kinds.py."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.sentinel import SentinelConnectionPool

from lbgateway.config.store_address import parse_store
from lbgateway.redis_client import FAILURES, close_client, redis_client


async def test_one_server_is_asked_as_the_address_says():
    """TLS, credentials and database come from it, patience does not."""
    client = redis_client(parse_store("rediss://ann:secret@redis.example:6380/3"), timeout_s=0.5)
    options = client.connection_pool.connection_kwargs
    assert (options["host"], options["port"], options["db"]) == ("redis.example", 6380, 3)
    assert (options["username"], options["password"], options["socket_timeout"]) == ("ann", "secret", 0.5)
    assert type(client.connection_pool.make_connection()).__name__ == "SSLConnection"
    await close_client(client)


async def test_sentinels_are_asked_for_the_master():
    """At each connection anew, so that a failover is followed."""
    client = redis_client(parse_store("redis+sentinel://:secret@h1,h2:5/mymaster/2"), timeout_s=0.5)
    pool = client.connection_pool
    assert isinstance(pool, SentinelConnectionPool)
    assert (pool.service_name, pool.connection_kwargs["db"], pool.connection_kwargs["password"]) == ("mymaster", 2, "secret")
    await close_client(client)


async def test_a_cluster_is_entered_through_any_of_its_nodes():
    """The rest it tells itself."""
    client = redis_client(parse_store("redis+cluster://h1:1,h2:2"), timeout_s=0.5)
    assert isinstance(client, RedisCluster)
    assert sorted(node.port for node in client.nodes_manager.startup_nodes.values()) == [1, 2]
    await close_client(client)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "redis+sentinel://127.0.0.1:1/m", "redis+cluster://127.0.0.1:1"])
async def test_nobody_there_is_one_failure_and_no_wait(url):
    """Whoever asks decides about another try."""
    client = redis_client(parse_store(url), timeout_s=0.5)
    with pytest.raises(FAILURES):
        await client.ping()
    await close_client(client)


@pytest.mark.parametrize("url", ["redis://h", "redis+sentinel://h/m"])
@pytest.mark.parametrize(("again", "tries"), [(False, 0), (True, 1)])
async def test_a_question_may_be_asked_again_where_that_was_asked_for(url, again, tries):
    """Once, and not after silence."""
    client = redis_client(parse_store(url), timeout_s=0.5, again=again)
    assert client.connection_pool.connection_kwargs["retry"].get_retries() == tries
    await close_client(client)


def test_the_kinds_of_clients_are_told_apart():
    """A cluster's is no other's."""
    assert not issubclass(RedisCluster, Redis)

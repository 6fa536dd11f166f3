"""Limits and sessions in each kind of Redis that the contract names: TLS, sentinels with a failover, and a cluster of two nodes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from lbgateway.authorities.asking import Unanswered
from lbgateway.authorities.redis_sessions import RedisSessions
from lbgateway.config.store_address import parse_store
from lbgateway.policies.gcra import Limit
from lbgateway.policies.testimony import Holds
from lbgateway.ratelimit.redis_store import RedisStore
from lbgateway.ratelimit.share import Share, pace_of
from tests.integration.test_rate_limits_page import KINDS, ask, hourly, passed
from tests.support.certificates import Authority
from tests.support.launch import free_ports, wait_until
from tests.support.redis_sentinels import Sentinel, follow
from tests.support.redis_server import RedisServer
from tests.support.upstream_server import UpstreamThread, echo

HOURLY = Limit(100, 3600.0, 100)
SLOTS = 16384


async def counted(url: str, names: list[str], spent: int, *, tries: Callable[[], None] = lambda: None) -> list[float]:
    """Report `spent` requests of each name through a store of its own; how many each has used then."""
    store = RedisStore(parse_store(url), on_failure="local", gateways=lambda: 1)
    store.start()
    try:
        shares = [Share(name, pace_of(HOURLY), 0.0, epoch=0) for name in names]
        for share in shares:
            share.spent = spent
        async with asyncio.timeout(30):
            while left := [share for share in shares if not share.heard_at_s]:
                tries()
                for share in left:
                    if not share.asked:
                        store.ask(share)
                await asyncio.sleep(0.05)
        return [round((share.full_at_s - share.heard_at_s) / HOURLY.emission_s) for share in shares]
    finally:
        await store.aclose()


def sessions_of(client: redis.Redis | redis.RedisCluster, count: int) -> list[str]:
    """As an application has written them."""
    names = [f"s{number}" for number in range(count)]
    for name in names:
        client.set(f"session:{name}", json.dumps({"sub": name}), ex=600)
    return names


async def subjects(url: str, names: list[str], *, within_s: float = 0.0) -> list[str | None]:
    """Whose the sessions are that a gateway is shown, all at once; None where there is none. Asks again while nobody answers."""
    sessions = RedisSessions(url, "session:")
    until_s = time.monotonic() + within_s
    try:
        while True:
            answers = await asyncio.gather(*(sessions._ask(name.encode()) for name in names), return_exceptions=True)
            failed = [answer for answer in answers if isinstance(answer, BaseException)]
            if not failed:
                return [answer.claims["sub"] if isinstance(answer, Holds) else None for answer in answers]
            if time.monotonic() > until_s:
                raise failed[0]
            await asyncio.sleep(0.1)
    finally:
        await sessions.asking.aclose()


async def test_a_redis_behind_tls(tmp_path):
    """With an authority of its own, named in the address."""
    authority = Authority(tmp_path)
    cert, key = authority.issue("127.0.0.1")
    (port,) = free_ports(1)
    options = ("--tls-port", str(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", authority.ca)
    with RedisServer(options=(*options, "--tls-auth-clients", "no")):
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.ca}"
        assert await counted(url, ["a", "b"], 5) == [5, 5]
        assert await counted(url, ["a"], 7) == [12]
        with redis.Redis.from_url(url) as client:
            names = sessions_of(client, 2)
        assert await subjects(url, [*names, "nobody"]) == [*names, None]
        with pytest.raises(Unanswered):
            await subjects(url.partition("?")[0], names)  # whoever is not named as an authority is not believed


@pytest.fixture
def cluster() -> Iterator[list[RedisServer]]:
    """Two nodes, each with half of the slots."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
    with contextlib.ExitStack() as stack:
        nodes = []
        for _ in range(2):
            node = RedisServer(options=options)
            node.options = (*options, "--cluster-port", str(free_ports(1)[0]))
            nodes.append(stack.enter_context(node))
        clients = [stack.enter_context(redis.Redis(port=node.port, decode_responses=True)) for node in nodes]
        for half, client in enumerate(clients):
            client.execute_command("CLUSTER ADDSLOTSRANGE", half * SLOTS // 2, (half + 1) * SLOTS // 2 - 1)
        clients[0].execute_command("CLUSTER MEET", "127.0.0.1", nodes[1].port, int(nodes[1].options[-1]))
        wait_until(
            lambda: all("cluster_state:ok" in _info(client) and "cluster_known_nodes:2" in _info(client) for client in clients),
            20,
            lambda: str([_info(client) for client in clients]),
        )
        yield nodes


def _info(client: redis.Redis) -> str:
    return "".join(f"{key}:{value}\n" for key, value in client.execute_command("CLUSTER INFO").items())


async def test_a_cluster_counts_each_client_on_its_node(cluster):
    """One batch for clients of both nodes; the script is made known to each."""
    names = [f"lbgateway:limit:test:{number}" for number in range(30)]
    url = f"redis+cluster://127.0.0.1:{cluster[0].port},127.0.0.1:{cluster[1].port}"
    assert await counted(url, names, 3) == [3] * 30
    assert await counted(url, names, 4) == [7] * 30
    sizes = []
    for node in cluster:
        with redis.Redis(port=node.port) as client:
            sizes.append(client.dbsize())
    assert sum(sizes) == 30
    assert all(sizes)


async def test_sessions_of_a_cluster_are_asked_for_where_they_are(cluster):
    """One question for those of both nodes, each answer to its own."""
    with redis.RedisCluster(host="127.0.0.1", port=cluster[0].port) as client:
        names = sessions_of(client, 30)
    url = f"redis+cluster://127.0.0.1:{cluster[0].port},127.0.0.1:{cluster[1].port}"
    assert await subjects(url, [*names, "nobody"]) == [*names, None]


async def test_a_failover_of_sentinels_is_followed():
    """The master dies, a replica takes its place: counting goes on there, with what it knew, and sessions are found there."""
    with RedisServer() as master, RedisServer() as replica:
        follow(replica, master)
        with Sentinel(master) as sentinel, redis.Redis(port=sentinel.port, decode_responses=True) as asked:
            wait_until(lambda: bool(asked.sentinel_slaves("mymaster")), 20, sentinel.log)
            url = f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster/0"
            assert await counted(url, ["a"], 5) == [5]
            with redis.Redis(port=master.port) as client:
                names = sessions_of(client, 3)
            assert await subjects(url, names) == names
            with redis.Redis(port=replica.port) as client:
                wait_until(lambda: client.dbsize() == 1 + len(names), 10, replica.log)
            master.kill()
            assert await counted(url, ["a"], 6) == [11]
            assert await subjects(url, names, within_s=20.0) == names


def counts(text: str, places: dict[str, str], *stores: RedisServer) -> None:
    """Two gateways with the configuration of the page share a limit of 100 an hour, which is kept in one of `stores`."""
    for written, meant in places.items():
        assert written in text
        text = text.replace(written, meant)
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(redis.Redis(port=store.port, password="secret")) for store in stores]
        service = stack.enter_context(UpstreamThread(echo))
        one, other = (stack.enter_context(hourly(text, service)) for _ in range(2))
        numbers = iter(range(1, 255))
        wait_until(lambda: 90 <= passed(one, other, f"198.51.100.{next(numbers)}") <= 110, 20, lambda: str(ask(one, "/health").body))
        assert {name.rpartition(b":")[0][:16] for client in kept for name in client.scan_iter()} == {b"lbgateway:limit:"}
        health = json.loads(ask(one, "/health").body)["checks"]["redis"]
    assert (health["state"], health["last_error"]) == ("up", None)


def test_the_pages_redis_behind_tls(tmp_path):
    """With a password, an authority, and a certificate that Redis asks for."""
    authority = Authority(tmp_path, "redis-ca")
    cert, key = authority.issue("127.0.0.1")
    for made, name in zip(authority.issue("gateway.internal"), ("gateway.pem", "gateway.key"), strict=True):
        Path(made).rename(tmp_path / name)
    (port,) = free_ports(1)
    options = ("--tls-port", str(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", authority.ca)
    with RedisServer(options=(*options, "--tls-auth-clients", "yes", "--requirepass", "secret")) as server:
        counts(KINDS[0], {"redis.internal:6379": f"127.0.0.1:{port}", "/etc/ssl": str(tmp_path)}, server)


def test_the_pages_sentinels():
    """The first of the two is not there; the master has a password."""
    with (
        RedisServer(options=("--requirepass", "secret")) as master,
        Sentinel(master, "sentinel auth-pass mymaster secret") as known,
    ):
        with redis.Redis(port=known.port, decode_responses=True) as asked:
            wait_until(lambda: asked.sentinel_master("mymaster")["is_odown"] is False, 10, known.log)
        places = {"sentinel-1.internal:26379": "127.0.0.1:1", "sentinel-2.internal:26379": f"127.0.0.1:{known.port}"}
        counts(KINDS[1], places, master)


def test_the_pages_cluster(cluster):
    """Two nodes with a password."""
    for node in cluster:
        with redis.Redis(port=node.port) as client:
            client.config_set("requirepass", "secret")
    places = {f"redis-{number}.internal:6379": f"127.0.0.1:{node.port}" for number, node in enumerate(cluster, 1)}
    counts(KINDS[2], places, *cluster)

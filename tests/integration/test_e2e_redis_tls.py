"""A whole gateway whose limits are in a Redis behind TLS: who is believed, who we are, and what happens when that goes wrong."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import redis

from tests.support.certificates import Authority
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import free_ports, wait_until
from tests.support.redis_server import RedisServer
from tests.support.upstream_server import UpstreamServer, UpstreamThread, answer, fixed


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamServer]:
    with UpstreamThread(fixed(answer(b"fine"))) as server:
        yield server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@contextlib.contextmanager
def behind_tls(authority: Authority, pair: tuple[str, str], *, asks: bool = False) -> Iterator[tuple[RedisServer, str]]:
    """A Redis and where it speaks TLS; `asks`: only to who shows a certificate of the authority."""
    (port,) = free_ports(1)
    files = ("--tls-cert-file", pair[0], "--tls-key-file", pair[1], "--tls-ca-cert-file", authority.ca)
    with RedisServer(options=("--tls-port", str(port), *files, "--tls-auth-clients", "yes" if asks else "no")) as server:
        yield server, f"rediss://127.0.0.1:{port}/0"


def config_of(upstream: UpstreamServer, store: str, **more: Any) -> dict[str, Any]:
    limit = {"requests": 5, "per": "1h", "key": "header:X-Key"}
    return {
        "auth": {"default": "none"},
        "discovery": {"provider": "static"},
        "services": {"orders": {"instances": [upstream.address]}},
        "rate_limit": {"store": store, "default": limit, **more},
    }


def checked(gateway: GatewayProcess) -> tuple[str, str]:
    health = gateway.json("/health")
    return health["status"], health["checks"]["redis"]["state"]


def statuses(gateway: GatewayProcess, key: str, count: int = 8) -> list[int]:
    """Of so many requests of one client."""
    return [gateway.get("/api/orders/x", {"X-Key": key})[0] for _ in range(count)]


@pytest.mark.parametrize("asks", [False, True], ids=["anybody", "who shows a certificate"])
def test_two_gateways_share_a_limit_over_tls(authority: Authority, upstream: UpstreamServer, asks: bool) -> None:
    """With the authority that the address names, and with a certificate of the gateway's where Redis asks for one."""
    with behind_tls(authority, authority.issue("127.0.0.1"), asks=asks) as (server, url):
        cert, key = authority.issue("gateway.internal")
        files = {"ssl_ca_certs": authority.ca, **({"ssl_certfile": cert, "ssl_keyfile": key} if asks else {})}
        config = config_of(upstream, f"{url}?{urlencode(files)}", on_store_failure="closed")
        config["rate_limit"]["default"]["requests"] = 100
        with GatewayProcess(config) as one, GatewayProcess(config) as other:
            wait_until(lambda: checked(one) == checked(other) == ("ok", "up"), 10, one.story)
            keys = iter(range(1000))

            def passed() -> int:
                key = f"client {next(keys)}"
                told = [status for _ in range(75) for gateway in (one, other) for status in statuses(gateway, key, 1)]
                assert set(told) <= {200, 429}
                return told.count(200)

            # What comes before the first answers of Redis proves nothing.
            wait_until(lambda: 90 <= passed() <= 110, 20, one.story)
        with redis.Redis(port=server.port) as store:
            assert all(name.startswith(b"lbgateway:limit:") for name in store.scan_iter())
            assert store.dbsize() > 0


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("wrong name", "IP address mismatch"),
        ("unknown authority", "certificate verify failed"),
        ("no certificate of ours", "certificate required"),
        ("no TLS", "WRONG_VERSION_NUMBER|no answer within"),
    ],
)
def test_a_store_that_is_not_believed_is_a_store_that_is_down(
    authority: Authority, upstream: UpstreamServer, tmp_path: Path, case: str, reason: str
) -> None:
    """The operator's word for outages counts, the reason stands in /health, and Redis hears of no client."""
    pair = authority.issue("redis.internal" if case == "wrong name" else "127.0.0.1")
    trusted = Authority(tmp_path, "stranger") if case == "unknown authority" else authority
    with behind_tls(authority, pair, asks=case == "no certificate of ours") as (server, url):
        place = server.url.replace("redis://", "rediss://") if case == "no TLS" else url
        store = f"{place}?{urlencode({'ssl_ca_certs': trusted.ca})}"
        with GatewayProcess(config_of(upstream, store)) as gateway:
            for mode, told, status in (("local", {200, 429}, "degraded"), ("open", {200}, "degraded"), ("closed", {503}, "failing")):
                gateway.reload(config_of(upstream, store, on_store_failure=mode))
                wait_until(lambda: checked(gateway) == (status, "down"), 10, gateway.story)  # noqa: B023 called at once
                wait_until(lambda: gateway.json("/health")["checks"]["redis"]["on_store_failure"] == mode, 10, gateway.story)  # noqa: B023 as above
                assert set(statuses(gateway, mode)) == told
            assert re.search(reason, gateway.json("/health")["checks"]["redis"]["last_error"])
            assert "the limits' store is down" in gateway.log()
        with redis.Redis(port=server.port) as asked:
            assert asked.dbsize() == 0

"""Fixtures of all tests. Real servers are found, or fetched, as `tests.support.real_servers` tells."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

from tests.support.consul_server import ConsulServer
from tests.support.real_servers import CONSUL, REDIS, Address, any_server
from tests.support.redis_server import RedisServer

# A slow machine is no error of the code; LBGATEWAY_TEST_EXAMPLES=2000 searches longer.
hypothesis.settings.register_profile(
    "lbgateway",
    deadline=None,
    max_examples=int(os.environ.get("LBGATEWAY_TEST_EXAMPLES", "100")),
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("lbgateway")


@pytest.fixture(autouse=True)
def _no_consul_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's CONSUL_HTTP_ADDR must not redirect a test."""
    for name in [name for name in os.environ if name.startswith("CONSUL_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def consul_url() -> Iterator[str]:
    """A real Consul that all tests share: use service names of your own, deregister what you register."""
    where = any_server(CONSUL)
    if isinstance(where, Address):
        yield where.value if "://" in where.value else f"http://{where.value}"
        return
    with ConsulServer(node="shared-node") as server:
        yield server.url


@pytest.fixture
def consul_server() -> Iterator[ConsulServer]:
    """A real Consul of this test's own, quick to start and forgetful."""
    with ConsulServer() as server:
        yield server


@pytest.fixture
def persistent_consul() -> Iterator[ConsulServer]:
    """A real Consul of this test's own that keeps its data over a restart."""
    with ConsulServer(persistent=True) as server:
        yield server


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis that all tests share: use key prefixes of your own."""
    where = any_server(REDIS)
    if isinstance(where, Address):
        yield where.value if "://" in where.value else f"redis://{where.value}/0"
        return
    with RedisServer() as server:
        yield server.url


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A real Redis of this test's own."""
    with RedisServer() as server:
        yield server

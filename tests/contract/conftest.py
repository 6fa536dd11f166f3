"""The registries that must behave alike: the embedded one, and a Consul of the version that it copies."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import httpx
import pytest

from discovery.embedded.views import VERSION
from tests.support.consul_server import ConsulServer
from tests.support.embedded_registry import RegistryThread
from tests.support.real_servers import CONSUL
from tests.support.registry_client import RegistryClient

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def embedded_url() -> Iterator[str]:
    """The development registry, with indexes that begin low."""
    with RegistryThread(first_index=10) as registry:
        yield registry.url


@pytest.fixture(scope="session")
def copied_url(consul_url: str) -> Iterator[str]:
    """A real Consul. Later ones say some things differently, so another than the copied one is not asked."""
    version = httpx.get(f"{consul_url}/v1/agent/self", trust_env=False).json()["Config"]["Version"]
    if version.split(".")[:2] == VERSION.split(".")[:2]:
        yield consul_url
        return
    server = ConsulServer(node="copied-node")
    server.where = CONSUL.package()
    with server:
        yield server.url


WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
"""Those who run the same suite at the same time may share a registry."""


@pytest.fixture(params=["embedded", "copied"], ids=["embedded", "consul"])
def registry(request: pytest.FixtureRequest) -> Iterator[RegistryClient]:
    """Something that speaks Consul's API."""
    with RegistryClient(request.getfixturevalue(f"{request.param}_url")) as client:
        yield client


@pytest.fixture
def name(registry: RegistryClient) -> Iterator[str]:
    """A service name of this test's own; whatever is registered under it is gone afterwards."""
    name = f"contract-{WORKER}-{next(_numbers)}"
    yield name
    registry.forget(name)

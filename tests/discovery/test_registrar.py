"""What `register` makes of its arguments and of the environment."""

from __future__ import annotations

import socket

import pytest

from discovery import register
from discovery.announcement import Ttl
from discovery.consul_access import ConsulAccess
from tests.support.embedded_registry import RegistryThread
from tests.support.registry_client import RegistryClient


def test_the_default_id_is_stable_over_restarts() -> None:
    """Name, host and port: a crashed instance is replaced by its successor, not joined by it."""
    first, again = (register("orders", 9001).id for _ in range(2))
    assert first == again == f"orders-{socket.gethostname()}-9001"
    assert register("orders", 9001, address="10.0.0.7").id == "orders-10.0.0.7-9001"


def test_the_environment_names_the_registry_only_where_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client library would let it override what it is told."""
    quick = Ttl(ttl_s=1.5, heartbeat_s=0.2)
    with RegistryThread() as registry, RegistryClient(registry.url) as asked:
        monkeypatch.setenv("CONSUL_HTTP_ADDR", "127.0.0.1:1")
        monkeypatch.setenv("CONSUL_HTTP_SSL", "true")
        with register("orders", 9001, id="orders-1", consul_url=registry.url, check=quick):
            assert asked.statuses("orders") == {"service:orders-1": "passing"}
        monkeypatch.setenv("CONSUL_HTTP_ADDR", registry.url)
        with register("orders", 9001, id="orders-1", check=quick):
            assert asked.statuses("orders") == {"service:orders-1": "passing"}


def test_what_is_said_wins_over_the_environment_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """But a token of the environment is for the registry of the environment only."""
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "https://consul:8501")
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "of the environment")
    monkeypatch.setenv("CONSUL_CACERT", "ca.pem")
    said = register("orders", 9001, token="said", tls_cert="c.pem", tls_key="k.pem").access
    assert said == ConsulAccess("https://consul:8501", "said", "ca.pem", "c.pem", "k.pem")
    assert register("orders", 9001, consul_url="https://other:8501").access == ConsulAccess("https://other:8501")

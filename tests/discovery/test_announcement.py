"""What a service says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from discovery.announcement import DEFAULT_URL, OPT_IN_TAG, HttpCheck, Ttl, payload_of, url_from_environment


def payload(**given: Any) -> dict[str, Any]:
    defaults = {"address": None, "id": "orders-1", "tags": (), "meta": None, "weights": None, "expose": True}
    return payload_of("orders", 9001, given.pop("check", Ttl()), **defaults | given)


def test_a_service_is_exposed_and_heartbeats_by_default() -> None:
    """The TTL is three heartbeats long: one may be lost without harm."""
    assert payload() == {
        "Name": "orders",
        "ID": "orders-1",
        "Address": "",
        "Port": 9001,
        "Tags": [OPT_IN_TAG],
        "Meta": {},
        "Check": {"TTL": "15s", "DeregisterCriticalServiceAfter": "60s"},
    }


@pytest.mark.parametrize(
    ("tags", "expose", "expected"),
    [
        (["a"], True, ["a", OPT_IN_TAG]),
        (["a", OPT_IN_TAG], True, ["a", OPT_IN_TAG]),
        (["a", "a"], False, ["a"]),
    ],
)
def test_the_opt_in_tag_is_there_once_unless_unwanted(tags: list[str], expose: bool, expected: list[str]) -> None:
    """A service that is not exposed is registered nevertheless."""
    assert payload(tags=tags, expose=expose)["Tags"] == expected


def test_weights_are_for_passing_and_warning() -> None:
    """Left out, the registry's default holds."""
    assert payload(weights=(5, 2))["Weights"] == {"Passing": 5, "Warning": 2}
    assert "Weights" not in payload()


@pytest.mark.parametrize(
    ("address", "path", "url"),
    [
        (None, "/health", "http://127.0.0.1:9001/health"),
        ("10.0.0.7", "/", "http://10.0.0.7:9001/"),
        ("::1", "/health", "http://[::1]:9001/health"),
        ("10.0.0.7", "https://other:1/x", "https://other:1/x"),
    ],
)
def test_an_http_check_asks_the_service_where_it_is(address: str | None, path: str, url: str) -> None:
    """Without an address the service is on the agent's own machine."""
    check = payload(check=HttpCheck(path, interval_s=0.5), address=address)["Check"]
    assert check == {"HTTP": url, "Interval": "0.5s", "Timeout": "2s", "DeregisterCriticalServiceAfter": "60s"}


@pytest.mark.parametrize("heartbeat_s", [0, -1, 15, 20])
def test_a_heartbeat_that_cannot_keep_up_with_its_ttl_is_refused(heartbeat_s: float) -> None:
    """It would flap for ever, and nobody would know why."""
    with pytest.raises(ValueError, match="cannot keep a TTL of 15 s alive"):
        Ttl(heartbeat_s=heartbeat_s)


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, DEFAULT_URL),
        ({"CONSUL_HTTP_ADDR": ""}, DEFAULT_URL),
        ({"CONSUL_HTTP_ADDR": "consul:8500"}, "http://consul:8500"),
        ({"CONSUL_HTTP_ADDR": "consul:8501", "CONSUL_HTTP_SSL": "true"}, "https://consul:8501"),
        ({"CONSUL_HTTP_ADDR": "https://consul:8501/"}, "https://consul:8501/"),
    ],
)
def test_the_environment_says_where_consul_is(environment: dict[str, str], url: str) -> None:
    """As for Consul's own tools."""
    assert url_from_environment(environment) == url


def test_a_unix_socket_is_refused_with_a_way_out() -> None:
    """The client library would make a broken URL of it."""
    with pytest.raises(ValueError, match="give register\\(\\) a consul_url"):
        url_from_environment({"CONSUL_HTTP_ADDR": "unix:///run/consul.sock"})

"""What a service says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from discovery.announcement import OPT_IN_TAG, Announcement, HttpCheck, Ttl


def payload(**given: Any) -> dict[str, Any]:
    own_address = given.pop("own_address", None)
    return Announcement("orders", 9001, "orders-1", **{"check": Ttl()} | given).payload(own_address)


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
        (("a",), True, ["a", OPT_IN_TAG]),
        (("a", OPT_IN_TAG), True, ["a", OPT_IN_TAG]),
        (("a", "a"), False, ["a"]),
    ],
)
def test_the_opt_in_tag_is_there_once_unless_unwanted(tags: tuple[str, ...], expose: bool, expected: list[str]) -> None:
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


def test_an_address_that_was_not_given_is_ours_where_the_agent_is_elsewhere() -> None:
    """For the instance and its check; one that was given always holds."""
    found = payload(check=HttpCheck("/health"), own_address="10.0.0.7")
    assert (found["Address"], found["Check"]["HTTP"]) == ("10.0.0.7", "http://10.0.0.7:9001/health")
    assert payload(address="shop.example", own_address="10.0.0.7")["Address"] == "shop.example"


def test_an_https_check_may_do_without_a_trusted_certificate() -> None:
    """The agent asks by address, and certificates are made out to names."""
    check = payload(check=HttpCheck("/health", scheme="https", verify=False))["Check"]
    assert (check["HTTP"], check["TLSSkipVerify"]) == ("https://127.0.0.1:9001/health", True)

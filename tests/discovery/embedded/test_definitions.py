"""From bodies to definitions. The refusals' words are the contract suite's business."""

from __future__ import annotations

import json
from typing import Any

import pytest

from discovery.embedded.definitions import parse_check, parse_service, parse_update
from discovery.embedded.records import CheckDefinition, Refusal, Service


def service(**given: Any) -> tuple[Service, tuple[CheckDefinition, ...]]:
    registration = parse_service(json.dumps({"Name": "web", **given}).encode())
    return registration.service, registration.checks


def check(**given: Any) -> CheckDefinition:
    return service(Check=given)[1][0]


def test_a_service_needs_a_name_only() -> None:
    """Everything else has a default."""
    assert service() == (Service(id="web", name="web"), ())


@pytest.mark.parametrize(
    ("address", "tagged"),
    [
        ("10.0.0.1", {"lan_ipv4": ("10.0.0.1", 80), "wan_ipv4": ("10.0.0.1", 80)}),
        ("::1", {"lan_ipv6": ("::1", 80), "wan_ipv6": ("::1", 80)}),
        ("web.example", {}),
        ("", {}),
    ],
)
def test_an_ip_number_becomes_tagged_addresses(address: str, tagged: dict[str, tuple[str, int]]) -> None:
    """Of its own family; a name does not."""
    assert service(Address=address, Port=80)[0].tagged_addresses == tagged


def test_given_tagged_addresses_win() -> None:
    """What was completed never replaces what was said."""
    given = {"lan_ipv4": {"Address": "10.9.9.9", "Port": 1}}
    assert service(Address="10.0.0.1", Port=80, TaggedAddresses=given)[0].tagged_addresses == {
        "lan_ipv4": ("10.9.9.9", 1),
        "wan_ipv4": ("10.0.0.1", 80),
    }


@pytest.mark.parametrize(
    ("given", "kind"),
    [({"TTL": "5s"}, "ttl"), ({"HTTP": "http://h/", "Interval": "5s"}, "http"), ({"TCP": "h:1", "Interval": "5s"}, "tcp")],
)
def test_the_kind_of_a_check_is_told_from_what_is_given(given: dict[str, str], kind: str) -> None:
    """There is no field that names it."""
    assert check(**given).kind == kind


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"Interval": "10ms"}, "interval_s", 1.0),
        ({"Interval": "5s"}, "interval_s", 5.0),
        ({}, "timeout_s", 10.0),
        ({"Timeout": "250ms"}, "timeout_s", 0.25),
        ({}, "deregister_after_s", 0.0),
        ({"DeregisterCriticalServiceAfter": "1s"}, "deregister_after_s", 60.0),
        ({"deregister_critical_service_after": "2m"}, "deregister_after_s", 120.0),
        ({}, "method", "GET"),
        ({"Header": {"Host": ["a"]}}, "header", {"Host": ("a",)}),
        ({"tls_skip_verify": True}, "tls_skip_verify", True),
        ({"FailuresBeforeCritical": 2}, "failures_before_critical", 2),
    ],
)
def test_a_check_has_bounds_and_defaults(given: dict[str, Any], field: str, value: object) -> None:
    """Nobody is probed more than once a second, nobody is taken out in less than a minute."""
    assert getattr(check(**{"HTTP": "http://h/", "Interval": "5s"} | given), field) == value


@pytest.mark.parametrize("given", [{"GRPC": "h:1", "Interval": "5s"}, {"AliasService": "x"}])
def test_checks_that_are_not_built_are_refused_rather_than_ignored(given: dict[str, str]) -> None:
    """A check that nobody carries out would stay critical for ever, and nobody would know why."""
    with pytest.raises(Refusal, match="TTL, HTTP and TCP checks only"):
        check(**given)


@pytest.mark.parametrize("given", [{"Kind": "connect-proxy"}, {"Proxy": {"DestinationServiceName": "x"}}, {"Connect": {"Native": True}}])
def test_the_service_mesh_is_refused_rather_than_ignored(given: dict[str, Any]) -> None:
    """As above."""
    with pytest.raises(Refusal, match="no service mesh"):
        service(**given)


@pytest.mark.parametrize(
    ("meta", "problem"),
    [
        ({"": "x"}, "Key cannot be blank"),
        ({"k" * 129: "x"}, "Key is too long"),
        ({"k": "v" * 513}, "Value is too long"),
        ({f"k{number}": "" for number in range(65)}, "more than 64"),
    ],
)
def test_meta_has_bounds(meta: dict[str, str], problem: str) -> None:
    """Those of Consul."""
    with pytest.raises(Refusal, match=problem):
        service(Meta=meta)


def test_weights_have_an_upper_bound() -> None:
    """They end up in DNS answers, where 16 bits are given to them."""
    with pytest.raises(Refusal, match="between 0 and 65535"):
        service(Weights={"Passing": 65536})


def test_a_check_on_its_own_is_named_by_its_id_or_its_name() -> None:
    """Within a service it is "CheckID", here it is "ID"."""
    assert parse_check(b'{"Name":"n","TTL":"1s"}').id == "n"
    assert parse_check(b'{"Name":"n","ID":"i","TTL":"1s","service_id":"s"}').id == "i"
    with pytest.raises(Refusal, match="Bad check status"):
        parse_check(b'{"Name":"n","TTL":"1s","Status":"bogus"}')


def test_an_update_gives_status_and_output() -> None:
    """The output may be missing."""
    assert parse_update(b'{"Status":"passing"}') == ("passing", "")
    assert parse_update(b'{"Status":"warning","Output":"slow"}') == ("warning", "slow")

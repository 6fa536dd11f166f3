"""Nodes beside the agent's own, asked of the development registry and of a real Consul alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.test_registry_blocking_contract import Blocked
from tests.support.registry_client import RegistryClient, normal


@pytest.fixture
def nodes(registry: RegistryClient, name: str) -> Iterator[list[str]]:
    """Two names of nodes, gone afterwards."""
    names = [f"{name}-n1", f"{name}-n2"]
    yield names
    for each in names:
        registry.put("catalog/deregister", {"Node": each})


def enter(registry: RegistryClient, node: str, **more: Any) -> None:
    answer = registry.put("catalog/register", {"Node": node, "Address": "10.0.0.9", **more})
    assert (answer.status_code, answer.text.strip()) == (200, "true"), answer.text


def check(service_id: str, status: str) -> dict[str, Any]:
    return {"CheckID": f"service:{service_id}", "Name": "check", "Status": status, "ServiceID": service_id}


def test_an_external_service_is_visible_with_the_address_of_its_node(registry: RegistryClient, name: str, nodes: list[str]) -> None:
    """No id, no meta, no tagged addresses, and no check of its node: what is not known is null."""
    enter(registry, nodes[0], Service={"ID": "w", "Service": name, "Port": 80, "Tags": ["t"]}, Check=check("w", "passing"))
    [entry] = registry.health(name)
    assert entry["Node"] == {"Node": nodes[0], "Address": "10.0.0.9", "Datacenter": "dc1", "TaggedAddresses": None, "Meta": None}
    assert (entry["Service"]["ID"], entry["Service"]["Weights"]) == ("w", {"Passing": 1, "Warning": 1})
    [own] = entry["Checks"]
    assert (own["Node"], own["ServiceName"], own["ServiceTags"], own["Status"]) == (nodes[0], name, ["t"], "passing")
    [row] = normal(registry.get(f"catalog/service/{name}").json())
    assert (row["Node"], row["Address"], row["NodeMeta"], row["TaggedAddresses"]) == (nodes[0], "10.0.0.9", None, None)


def test_two_nodes_may_use_the_same_id(registry: RegistryClient, name: str, nodes: list[str]) -> None:
    """Each instance has the checks of its own node."""
    for node, status in zip(nodes, ("passing", "critical"), strict=True):
        enter(registry, node, Service={"ID": "same", "Service": name}, Check=check("same", status))
    found = {entry["Node"]["Node"]: [one["Status"] for one in entry["Checks"]] for entry in registry.health(name)}
    assert found == {nodes[0]: ["passing"], nodes[1]: ["critical"]}
    assert [entry["Node"]["Node"] for entry in registry.health(name, "passing")] == nodes[:1]


def test_a_check_of_the_node_decides_over_its_instances_only(registry: RegistryClient, name: str, nodes: list[str]) -> None:
    """And wakes their watchers."""
    for node in nodes:
        enter(registry, node, Service={"ID": "w", "Service": name})
    blocked = Blocked(registry, f"health/service/{name}", registry.index(f"health/service/{name}"))
    enter(registry, nodes[0], Checks=[{"CheckID": "serfHealth", "Name": "Serf Health Status", "Status": "critical"}])
    woken = {entry["Node"]["Node"]: len(entry["Checks"]) for entry in blocked.woken().json()}
    assert woken == {nodes[0]: 1, nodes[1]: 0}
    assert [one["CheckID"] for one in registry.get(f"health/node/{nodes[0]}").json()] == ["serfHealth"]


def test_a_new_address_of_the_node_wakes_the_watchers_of_its_services(registry: RegistryClient, name: str, nodes: list[str]) -> None:
    """Because it may be the one that they connect to; the same again wakes nobody."""
    service = {"ID": "w", "Service": name}
    enter(registry, nodes[0], Service=service)
    blocked = Blocked(registry, f"health/service/{name}", registry.index(f"health/service/{name}"))
    enter(registry, nodes[0], Service=service)
    assert blocked.still_blocked()
    enter(registry, nodes[0], Address="10.0.0.10")
    assert blocked.woken().json()[0]["Node"]["Address"] == "10.0.0.10"


def test_a_service_a_check_or_a_whole_node_may_be_taken_out(registry: RegistryClient, name: str, nodes: list[str]) -> None:
    """Unknown ones are gone already."""
    enter(registry, nodes[0], Service={"ID": "w", "Service": name}, Check=check("w", "passing"))
    enter(registry, nodes[1], Service={"ID": "w", "Service": name}, Checks=[check("w", "passing"), {"Name": "own"}])

    def strike(**what: str) -> int:
        return registry.put("catalog/deregister", what).status_code

    assert strike(Node=nodes[1], CheckID="own") == strike(Node=nodes[1], ServiceID="nobody") == strike(Node="nobody") == 200
    assert [one["CheckID"] for one in registry.get(f"health/node/{nodes[1]}").json()] == ["service:w"]
    assert strike(Node=nodes[1], ServiceID="w") == 200
    assert registry.get(f"health/node/{nodes[1]}").json() == []
    assert strike(Node=nodes[0]) == 200
    assert registry.health(name) == []
    assert nodes[0] not in {row["Node"] for row in registry.get("catalog/nodes").json()}
    assert registry.get(f"catalog/node/{nodes[0]}").json() is None


def test_an_update_may_leave_the_node_as_it_is(registry: RegistryClient, name: str, nodes: list[str]) -> None:
    """Then it needs no address."""
    enter(registry, nodes[0], NodeMeta={"zone": "a"}, TaggedAddresses={"lan": "10.0.0.9"})
    answer = registry.put("catalog/register", {"Node": nodes[0], "SkipNodeUpdate": True, "Service": {"Service": name}})
    assert answer.status_code == 200
    [entry] = registry.health(name)
    assert (entry["Node"]["Address"], entry["Node"]["Meta"], entry["Service"]["ID"]) == ("10.0.0.9", {"zone": "a"}, name)
    told = normal(registry.get(f"catalog/node/{nodes[0]}").json())
    assert (told["Node"], list(told["Services"])) == (entry["Node"], [name])


NODE = {"Node": "bad", "Address": "10.0.0.9"}


@pytest.mark.parametrize(
    ("verb", "body", "status", "text"),
    [
        ("register", {"Address": "10.0.0.9"}, 500, "Must provide node"),
        ("register", {"Node": "bad"}, 500, "Must provide address if SkipNodeUpdate is not set"),
        ("register", {**NODE, "Service": {"ID": "x"}}, 500, "Must provide service name with ID"),
        ("register", {**NODE, "Service": {"Service": "x", "Address": "0.0.0.0"}}, 500, "Invalid service address"),
        ("register", {**NODE, "Bogus": 1}, 400, 'Request decode failed: json: unknown field "Bogus"'),
        ("register", {**NODE, "Service": {"ServiceName": "x"}}, 400, 'Request decode failed: json: unknown field "ServiceName"'),
        (
            "register",
            {"Node": 5},
            400,
            "Request decode failed: json: cannot unmarshal number into Go struct field RegisterRequest.Node of type string",
        ),
        ("register", {**NODE, "Datacenter": "nowhere"}, 500, "No path to datacenter"),
        ("register", b"", 400, "Request decode failed: EOF"),
        ("deregister", {}, 500, "Must provide node"),
        ("deregister", {"Node": "bad", "Bogus": 1}, 400, 'Request decode failed: json: unknown field "Bogus"'),
    ],
)
def test_bad_entries_are_refused_in_the_same_words(registry: RegistryClient, verb: str, body: Any, status: int, text: str) -> None:
    """Status and text, and nothing of it is taken over."""
    answer = registry.put(f"catalog/{verb}", body)
    assert (answer.status_code, answer.text) == (status, text)
    assert "bad" not in {row["Node"] for row in registry.get("catalog/nodes").json()}


def test_a_check_needs_the_service_that_it_is_about(registry: RegistryClient, nodes: list[str]) -> None:
    """On the same node; the node itself may have been entered by then."""
    answer = registry.put("catalog/register", {"Node": nodes[0], "Address": "10.0.0.9", "Check": check("nobody", "passing")})
    assert answer.status_code == 500
    assert answer.text == f'failed inserting check: Missing service registration on node "{nodes[0]}"'
    other = registry.put("catalog/register", {"Node": nodes[0], "Address": "10.0.0.9", "Check": {"Node": "another", "Name": "c"}})
    assert (other.status_code, other.text) == (500, f'check node "another" does not match node "{nodes[0]}"')

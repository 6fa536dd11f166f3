"""The JSON of the answers, where the contract suite does not look."""

from __future__ import annotations

import json

import pytest

from discovery.embedded import views
from discovery.embedded.agent import LocalAgent
from discovery.embedded.catalog import Catalog
from discovery.embedded.changes import Changes
from discovery.embedded.records import Node, Registration, Service


def agent() -> LocalAgent:
    made = LocalAgent(Catalog(Node("0", "n"), Changes(1)))
    made.register(Registration(Service("web-1", "web", tags=("b", "a", "b"))), now_s=0)
    return made


def test_no_meta_is_null_in_the_catalogue_and_empty_with_the_agent() -> None:
    """An oddity of Consul that clients trip over, and so must be able to here."""
    one = agent()
    assert views.health_view(one.catalog, one.catalog.services["n", "web-1"])["Service"]["Meta"] is None
    assert views.service_view(one.services["web-1"])["Meta"] == {}


def test_tags_of_a_name_are_those_of_all_instances_without_doubles() -> None:
    """Names in order."""
    services = [Service("2", "web", tags=("b", "c")), Service("1", "api"), Service("3", "web", tags=("a", "b"))]
    assert views.names_view(services) == {"api": [], "web": ["b", "c", "a"]}
    assert list(views.names_view(services)) == ["api", "web"]


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [
        ([], "passing"),
        (["passing", "passing"], "passing"),
        (["passing", "warning"], "warning"),
        (["critical", "warning"], "critical"),
        (["critical", "maintenance"], "maintenance"),
    ],
)
def test_the_worst_status_decides(statuses: list[str], worst: str) -> None:
    """Maintenance is the worst, because someone wants it."""
    assert views.worst_status(statuses) == worst


def test_the_hash_of_a_service_follows_its_content() -> None:
    """The same for the same, another for another."""
    first, same, other = (
        views.service_with_hash(service)["ContentHash"] for service in (Service("a", "a"), Service("a", "a"), Service("a", "b"))
    )
    assert first == same != other


def test_json_is_short_for_programs_and_indented_for_people() -> None:
    """The content is the same."""
    value = {"a": [1]}
    assert views.to_json(value) == b'{"a":[1]}'
    assert json.loads(views.to_json(value, pretty=True)) == value
    assert views.to_json(value, pretty=True).endswith(b"]\n}\n")


def test_the_node_lists_its_services_by_id() -> None:
    """Consul's own among them."""
    assert sorted(views.node_services_view(agent().catalog, "N")["Services"]) == ["consul", "web-1"]


def test_self_tells_which_consul_is_copied() -> None:
    """And that it is not one."""
    config = views.self_view(agent())["Config"]
    assert (config["Version"], config["Revision"]) == (views.VERSION, "embedded")

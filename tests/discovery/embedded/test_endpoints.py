"""What a call's parts mean; the endpoints themselves are asked by the contract suite."""

from __future__ import annotations

import pytest

from discovery.embedded.agent import LocalAgent
from discovery.embedded.catalog import Catalog, Scope
from discovery.embedded.changes import Changes
from discovery.embedded.endpoints import Call, Orders, Questions, Reads
from discovery.embedded.records import Node, Refusal


@pytest.fixture
def agent() -> LocalAgent:
    return LocalAgent(Catalog(Node("0", "n"), Changes(1)))


def test_a_parameter_may_be_missing_empty_or_given_several_times() -> None:
    """The first value counts; one without a value is there nevertheless."""
    call = Call("", (("stale", ""), ("tag", "a"), ("tag", "b")))
    assert [(call.has(name), call.text(name)) for name in ("stale", "tag", "wait")] == [(True, ""), (True, "a"), (False, "")]


@pytest.mark.parametrize(
    ("path", "tail", "scope"),
    [
        ("/v1/health/service/", "Web", Scope("service", "web")),
        ("/v1/catalog/service/", "Web", Scope("service", "web")),
        ("/v1/health/checks/", "Web", Scope("service", "web")),
        ("/v1/catalog/services", "", Scope("services")),
        ("/v1/catalog/nodes", "", Scope("nodes")),
        ("/v1/catalog/node/", "n", Scope("node")),
        ("/v1/health/state/", "any", Scope("checks")),
        ("/v1/health/node/", "n", Scope("checks")),
    ],
)
def test_a_read_waits_for_what_it_shows(agent: LocalAgent, path: str, tail: str, scope: Scope) -> None:
    """A read that waits for too little misses changes, one that waits for too much wakes in vain."""
    assert Reads(agent).routes[path](Call(tail)).scope == scope


def test_a_read_is_rendered_when_it_is_answered(agent: LocalAgent) -> None:
    """Not when it was asked."""
    read = Reads(agent).routes["/v1/health/service/"](Call("web"))
    Orders(agent, lambda: 0.0).routes["/v1/agent/service/register"](Call("", body=b'{"Name":"web"}'))
    assert len(read.render()) == 1


def test_an_unknown_node_has_nothing(agent: LocalAgent) -> None:
    """``null``, as with Consul."""
    reads = Reads(agent).routes
    assert reads["/v1/catalog/node/"](Call("other")).render() is None
    assert reads["/v1/catalog/node/"](Call("N")).render()["Node"]["Node"] == "n"


def test_an_order_without_its_object_is_refused(agent: LocalAgent) -> None:
    """Or a client with an empty variable would believe that it had deregistered something."""
    with pytest.raises(Refusal, match="ServiceID missing"):
        Orders(agent, lambda: 0.0).routes["/v1/agent/service/deregister/"](Call(""))


def test_questions_about_unknown_services_are_404(agent: LocalAgent) -> None:
    """Each in its own way."""
    questions = Questions(agent).routes
    assert questions["/v1/agent/health/service/id/"](Call("x")).status == 404
    assert questions["/v1/agent/health/service/name/"](Call("x")).body == b"[]"
    with pytest.raises(Refusal, match="unknown service ID: x"):
        questions["/v1/agent/service/"](Call("x"))

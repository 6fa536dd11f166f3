"""``/admin/upstreams``: the contract's document, whole or page by page, always in small slices."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.controlplane.upstreams import (
    SLICE_INSTANCES,
    UpstreamsQuery,
    how_to_expose,
    parse_query,
    read_cursor,
    unexposed,
    upstream,
    upstreams,
    write_cursor,
)
from lbgateway.errors import BadRequest
from tests.support.fake_gateway import FakeGateway, head, instance

NOW = "2026-01-01T00:00:00Z"


def document(port: FakeGateway, **query) -> dict:
    return json.loads(b"".join(upstreams(port, UpstreamsQuery(**query), NOW)))


def one(port: FakeGateway, name: str, **query) -> dict:
    return json.loads(b"".join(upstream(port, name, UpstreamsQuery(**query), NOW, port.instances)))


def ids(body: dict) -> dict[str, list[str]]:
    return {service["name"]: [each["id"] for each in service["instances"]] for service in body["services"]}


def test_the_document_is_the_contract_s():
    """The keys of its section 6, and no cursor on the only page."""
    body = document(FakeGateway({"orders": [instance("orders-1")]}))

    assert body == {
        "generated_at": NOW,
        "gateway": {"id": "9f3a0c11", "version": "1.2.3", "workers": 1, "uptime_seconds": 12.346},
        "discovery": {"provider": "consul", "state": "fresh", "age_seconds": 1.2, "last_error": None},
        "unexposed": [],
        "services": [{**head("orders"), "instances": [instance("orders-1")]}],
        "next_cursor": None,
    }


PORT = {
    "a": [instance("a-1"), instance("a-2", state="critical")],
    "b": [],
    "c": [instance("c-1", node="n1"), instance("c-1", node="n2", state="critical"), instance("c-2")],
}


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ({}, {"a": ["a-1", "a-2"], "b": [], "c": ["c-1", "c-1", "c-2"]}),
        ({"service": "a"}, {"a": ["a-1", "a-2"]}),
        ({"service": "b"}, {"b": []}),
        ({"service": "z"}, {}),
        ({"state": "critical"}, {"a": ["a-2"], "c": ["c-1"]}),
        ({"state": "ejected"}, {}),
        ({"service": "c", "state": "ready"}, {"c": ["c-1", "c-2"]}),
        ({"limit": 2}, {"a": ["a-1", "a-2"]}),
        ({"limit": 1}, {"a": ["a-1"]}),
        ({"limit": 3}, {"a": ["a-1", "a-2"], "b": [], "c": ["c-1"]}),
        ({"after": ("a", "a-1", "n1")}, {"a": ["a-2"], "b": [], "c": ["c-1", "c-1", "c-2"]}),
        ({"after": ("a", "a-2", "n1")}, {"b": [], "c": ["c-1", "c-1", "c-2"]}),
        ({"after": ("c", "c-1", "n1")}, {"c": ["c-1", "c-2"]}),
        ({"after": ("bb", "x", "y")}, {"c": ["c-1", "c-1", "c-2"]}),
    ],
)
def test_what_is_asked_for_is_shown(query, shown):
    """Filters narrow; a page begins after its cursor, even where that instance is gone."""
    body = document(FakeGateway(PORT), **query)

    assert ids(body) == shown


@given(
    sizes=st.lists(st.integers(0, 7), max_size=5),
    limit=st.integers(1, 8),
    state=st.sampled_from([None, "ready", "critical"]),
)
def test_pages_add_up_to_the_whole(sizes, limit, state):
    """Following next_cursor shows each instance once, in the whole document's order, at most `limit` per page."""
    port = FakeGateway(
        {f"s{n}": [instance(f"i{i}", state="critical" if i % 3 else "ready") for i in range(size)] for n, size in enumerate(sizes)}
    )
    whole = [(service["name"], each["id"]) for service in document(port, state=state)["services"] for each in service["instances"]]

    paged, after = [], None
    for _ in range(100):
        body = document(port, state=state, limit=limit, after=after)
        page = [(service["name"], each["id"]) for service in body["services"] for each in service["instances"]]
        assert len(page) <= limit
        paged += page
        if body["next_cursor"] is None:
            break
        after = read_cursor(body["next_cursor"])

    assert body["next_cursor"] is None
    assert paged == whole


def test_a_page_builds_no_more_than_it_shows():
    """Of 20,000 instances a page of ten costs ten, and one to know that there are more."""
    port = FakeGateway({"orders": [instance(f"{n:05}") for n in range(20_000)]})

    body = document(port, limit=10)

    assert len(body["services"][0]["instances"]) == 10
    assert port.built == 11


def test_no_slice_holds_more_than_its_share():
    """Between two slices the loop may forward requests."""
    port = FakeGateway({"orders": [instance(f"{n:05}") for n in range(SLICE_INSTANCES * 3 + 1)]})

    built = [port.built for _ in upstreams(port, UpstreamsQuery(), NOW)]

    steps = [after - before for before, after in zip([0, *built], built, strict=False)]
    assert max(steps) <= SLICE_INSTANCES + 1
    assert sum(steps) == SLICE_INSTANCES * 3 + 1


def test_one_service_is_its_object_and_the_envelope():
    """What the list shows of it: at its place in the same document, and beside the envelope, for those who ask for nothing else."""
    body = one(FakeGateway(PORT), "a")

    assert body == {
        "generated_at": NOW,
        "gateway": {"id": "9f3a0c11", "version": "1.2.3", "workers": 1, "uptime_seconds": 12.346},
        "discovery": {"provider": "consul", "state": "fresh", "age_seconds": 1.2, "last_error": None},
        **head("a"),
        "instances": PORT["a"],
        "services": [{**head("a"), "instances": PORT["a"]}],
        "next_cursor": None,
    }


def test_one_service_can_be_paged_too():
    """The cursor of one page leads to the next, and the last has none."""
    port = FakeGateway(PORT)

    first = one(port, "c", limit=2)
    second = one(port, "c", limit=2, after=read_cursor(first["next_cursor"]))

    shown = [(each["id"], each["node"]) for each in first["instances"] + second["instances"]]
    assert shown == [("c-1", "n1"), ("c-1", "n2"), ("c-2", "n1")]
    assert second["next_cursor"] is None


def test_an_unknown_service_is_none():
    """The caller makes a 404 of it."""
    port = FakeGateway()
    assert upstream(port, "z", UpstreamsQuery(), NOW, port.explain) is None


def test_an_explanation_is_the_same_document_with_more_to_each_instance():
    """Pages and filters are the same, too; one instance can be asked for."""
    port = FakeGateway(PORT)
    document = upstream(port, "c", UpstreamsQuery(instance="n2:c-1"), NOW, port.explain)
    assert document is not None
    [only] = json.loads(b"".join(document))["instances"]
    assert (only["id"], only["node"], only["pickable"], only["why"]) == ("c-1", "n2", False, "critical")


@given(st.data())
def test_a_cursor_holds_while_instances_come_and_go(data):
    """Whoever is there all the time is on exactly one page, nobody is on two."""
    ids = st.sets(st.integers(0, 30), max_size=20)
    stays = data.draw(ids)
    seen: list[int] = []
    after = None
    while True:
        now = stays | data.draw(ids)
        port = FakeGateway({"orders": [instance(f"{each:02}") for each in now]})
        body = document(port, limit=data.draw(st.integers(1, 5)), after=after)
        seen += [int(each["id"]) for service in body["services"] for each in service["instances"]]
        if body["next_cursor"] is None:
            break
        after = read_cursor(body["next_cursor"])
    assert len(seen) == len(set(seen))
    assert stays <= set(seen)


def test_unexposed_services_come_with_what_to_do():
    """The tag and the configuration key are named; a question about one service does not ask about these."""
    port = FakeGateway(unexposed=["users"])

    assert unexposed(port) == [{"service": "users", "what_to_do": how_to_expose("users")}]
    assert "lbgateway.enable=true" in how_to_expose("users")
    assert "services: {users: {}}" in how_to_expose("users")
    assert document(port)["unexposed"] == unexposed(port)
    assert "unexposed" not in document(port, service="a")


@pytest.mark.parametrize(
    ("parameters", "query"),
    [
        ({}, UpstreamsQuery()),
        ({"service": "a", "state": "ready", "limit": "7"}, UpstreamsQuery("a", "ready", 7)),
        ({"limit": "9" * 40}, UpstreamsQuery(limit=999_999_999)),
        ({"cursor": write_cursor(("a", "b", "c"))}, UpstreamsQuery(after=("a", "b", "c"))),
        ({"instance": "n1:a-1"}, UpstreamsQuery(instance="n1:a-1")),
        ({"something": "else"}, UpstreamsQuery()),
        ({"service": "", "state": "", "limit": "", "cursor": "", "instance": "", "summary": ""}, UpstreamsQuery()),
    ],
)
def test_a_query_is_read(parameters, query):
    """All parameters are optional, unknown ones are ignored, and so is a form that was left empty."""
    assert parse_query(parameters) == query


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"limit": "٣"}, "limit"),
        ({"state": "well"}, "state"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "!"}, "cursor"),
        ({"cursor": "W10"}, "cursor"),
        ({"cursor": "ü"}, "cursor"),
    ],
)
def test_a_bad_query_is_named(parameters, named):
    """400 with the parameter and what it should be."""
    with pytest.raises(BadRequest) as error:
        parse_query(parameters)

    assert error.value.detail.startswith(f"{named}: ")


@given(st.tuples(st.text(), st.text(), st.text()))
def test_a_cursor_comes_back_as_it_went(position):
    """Whatever services, instances and nodes are called."""
    assert read_cursor(write_cursor(position)) == position


@given(st.text())
def test_no_cursor_of_a_client_is_a_bug(cursor):
    """Read or refused, nothing else."""
    try:
        service, id_, node = read_cursor(cursor)
    except BadRequest:
        return
    assert {type(service), type(id_), type(node)} == {str}


def test_a_summary_counts_instances_in_place_of_showing_them():
    """For those who look every other second: no instance is even built."""
    port = FakeGateway({"orders": [instance("o-1"), instance("o-2", state="critical", active_requests=2)], "users": []})

    body = document(port, summary=True)
    only = document(port, summary=True, service="users")

    assert [(each["name"], each["states"], each["active_requests"]) for each in body["services"]] == [
        ("orders", {"ready": 1, "critical": 1}, 2),
        ("users", {}, 0),
    ]
    assert "instances" not in body["services"][0]
    assert body.keys() == document(port).keys()
    assert [each["name"] for each in only["services"]] == ["users"]
    assert port.built == 2  # by the document that is not a summary


@pytest.mark.parametrize(("text", "summary"), [("true", True), ("false", False)])
def test_a_summary_is_asked_for_by_a_word(text, summary):
    """And by no other."""
    assert parse_query({"summary": text}).summary is summary
    with pytest.raises(BadRequest, match="summary: true or false"):
        parse_query({"summary": "yes"})

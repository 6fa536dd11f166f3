"""The admin API's JSON as tables: what is shown, and that it is safe to show."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.cli.admin_tables import MAX_CELL, Page, clean, routes, text, upstream, upstreams
from lbgateway.cli.drawing import show
from tests.support.fake_gateway import head, instance, route


def printed(page: Page) -> list[str]:
    out = io.StringIO()
    show(page, out)
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("view", "row"),
    [
        (route("/api/{service}", None), ["*", "/api/{service}", "*", "{service}", "as it is", "none", "-", "file", "ok"]),
        (route("/api/a", "a"), ["*", "/api/a", "*", "a", "as it is", "none", "-", "file", "ok"]),
        (route("/a", "a", strip_prefix=True, add_prefix="/v1"), ["*", "/a", "*", "a", "strip prefix, add /v1", "none", "-", "file", "ok"]),
        (route("/a", "a", host="h", methods=["GET", "HEAD"]), ["h", "/a", "GET,HEAD", "a", "as it is", "none", "-", "file", "ok"]),
        (route("/a", None, redirect={"to": "/b", "status": 308}), ["*", "/a", "*", "308 /b", "as it is", "none", "-", "file", "ok"]),
        (
            route("/a", "a", limit={"requests": 100, "per_seconds": 1.0, "burst": 200, "key": "client", "shared": True}),
            ["*", "/a", "*", "a", "as it is", "none", "100/1s burst 200 by client", "file", "ok"],
        ),
        (route("/a", "a", source="tags", error="claimed twice"), ["*", "/a", "*", "a", "as it is", "none", "-", "tags", "disabled"]),
    ],
)
def test_a_route_is_a_row(view, row):
    """Where it leads, and what happens to the path."""
    assert routes({"routes": [view]}).rows == [row]


def test_a_disabled_route_says_why():
    """Under the table, in full."""
    page = routes({"routes": [route("/a", "a", error="claimed\ntwice")], "unexposed": [{"service": "u", "what_to_do": "expose it"}]})

    assert page.below == ["/a of a is disabled: claimed twice", "u: expose it"]
    [line] = routes({"routes": [route("/a", None, host="h", error="why")]}).below
    assert line == "h/a is disabled: why"


def test_a_tag_that_is_not_in_force_is_no_row():
    """Its route may be fine; under the table it has its line."""
    page = routes({"routes": [route("/a", "a", source="tags", tag="lbgateway.x=1", error="no such setting")]})
    assert (page.rows, page.below) == ([], ["a: tag lbgateway.x=1: no such setting"])


def test_a_key_of_the_store_is_told_of_if_something_is_wrong():
    """Each error with its line."""
    key = {"key": "k", "state": "kept", "error": "kv:k:1: a\nkv:k:2: b"}
    assert routes({"config_key": key}).below == ["config_key k (kept): kv:k:1: a", "config_key k (kept): kv:k:2: b"]
    assert routes({"config_key": {**key, "error": None}}).below == routes({"config_key": None}).below == []


def test_no_routes_is_a_sentence():
    """An empty table would look like a fault."""
    assert printed(routes({"routes": []})) == ["There are no routes."]


def test_an_instance_is_a_row():
    """Names, state and numbers; the last error where there is no reason."""
    page = upstreams({"services": [{**head("orders"), "instances": [instance("o-1", weight=2.5, last_error="reset")]}]})

    assert page.rows == [["orders", "o-1", "10.0.0.7:9001", "ready", "2.5", "0", "10", "0", "1.9ms", "reset"]]


def test_a_service_without_instances_has_a_row():
    """It is known, and that is news."""
    page = upstreams({"services": [{**head("orders"), "instances": []}]})

    assert page.rows == [["orders", "no instances", *["-"] * 8]]


@pytest.mark.parametrize(
    ("discovery", "line"),
    [
        ({"provider": "dns", "state": "fresh", "age_seconds": 0.04, "last_error": None}, "lbgateway 1; dns: fresh, confirmed 0.0 s ago"),
        (
            {"provider": "consul", "state": "stale", "age_seconds": 9.0, "last_error": "refused"},
            "lbgateway 1; consul: stale, confirmed 9.0 s ago; last error: refused",
        ),
        ({"provider": "consul", "state": None, "age_seconds": None, "last_error": None}, "lbgateway 1; consul: nothing known yet"),
    ],
)
def test_the_first_line_tells_how_old_the_knowledge_is(discovery, line):
    """What follows is only as good as that."""
    page = upstreams({"gateway": {"version": "1"}, "discovery": discovery, "services": []})

    assert page.above == [line, "No service is known."]


def test_one_service_shows_panic_and_its_instances():
    """All of an instance's columns have a cell."""
    page = upstream({**head("orders"), "panic": True, "instances": [instance("o-1", tags=["a", "b"])]})

    assert any(line.startswith("PANIC") for line in page.above)
    assert len(page.rows[0]) == len(page.columns)
    assert page.rows[0][page.columns.index("TAGS")] == "a,b"
    assert page.rows[0][page.columns.index("P99")] == "4.0ms"
    assert upstream({**head("orders"), "instances": []}).above[-1] == "It has no instances."


@pytest.mark.parametrize(("hedge", "told"), [(None, False), ({"after_ms": None, "hedges_total": 3}, True)])
def test_a_hedged_service_says_how_often(hedge, told):
    """Others say nothing of it."""
    lines = printed(upstream({**head("orders"), "hedge": hedge, "instances": [instance("o-1")]}))
    assert any(line.startswith("orders: ") and line.endswith(", 3 hedges") for line in lines) is told


def test_services_in_trouble_are_named_below_all_rows():
    """An open breaker and panic are nobody's row."""
    services = [
        {**head("orders"), "breaker": {"state": "open", "failure_ratio": 0.75}, "instances": [instance("o-1")]},
        {**head("users"), "panic": True, "instances": [instance("u-1")]},
        {**head("well"), "instances": [instance("w-1")]},
    ]

    assert upstreams({"services": services}).below == [
        "orders: its breaker is open, 75% of recent requests failed",
        "users: PANIC: too few of its instances are usable, so all of them are used.",
    ]


@pytest.mark.parametrize("present", [routes, upstreams, upstream])
def test_an_answer_of_another_version_is_shown_as_far_as_it_goes(present):
    """Missing keys are dashes, not tracebacks."""
    assert printed(present({}))
    assert printed(present({"routes": [{}], "services": [{"instances": [{}]}], "instances": [{}]}))


@pytest.mark.parametrize(("value", "cell"), [(None, "-"), ("", "-"), ([], "-"), (0, "0"), (2.0, "2"), (["a", 1], "a,1"), ("a\nb", "a b")])
def test_a_cell_is_short_and_never_empty(value, cell):
    """An empty cell would shift the columns for awk."""
    assert text(value) == cell
    assert len(text("x" * 1000)) == MAX_CELL


@given(st.text())
def test_no_text_of_the_registry_reaches_the_terminal_raw(value):
    """Tags and check outputs may hold escape sequences and newlines."""
    assert clean(value).isprintable()

"""The admin API's JSON as tables: what is shown, and that it is safe to show."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.cli.admin_tables import MAX_CELL, Page, clean, routes, show, text, upstream, upstreams
from tests.support.fake_gateway import head, instance, route


class Terminal(io.StringIO):
    """Something that a person looks at."""

    def isatty(self) -> bool:
        return True


def printed(page: Page) -> list[str]:
    out = io.StringIO()
    show(page, out)
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("view", "row"),
    [
        (route("/api/{service}", None), ["*", "/api/{service}", "*", "{service}", "as it is", "none", "file", "ok"]),
        (route("/api/a", "a"), ["*", "/api/a", "*", "a", "as it is", "none", "file", "ok"]),
        (route("/a", "a", strip_prefix=True, add_prefix="/v1"), ["*", "/a", "*", "a", "strip prefix, add /v1", "none", "file", "ok"]),
        (route("/a", "a", host="h", methods=["GET", "HEAD"]), ["h", "/a", "GET,HEAD", "a", "as it is", "none", "file", "ok"]),
        (route("/a", None, redirect={"to": "/b", "status": 308}), ["*", "/a", "*", "308 /b", "as it is", "none", "file", "ok"]),
        (route("/a", "a", source="tag", error="claimed twice"), ["*", "/a", "*", "a", "as it is", "none", "tag", "disabled"]),
    ],
)
def test_a_route_is_a_row(view, row):
    """Where it leads, and what happens to the path."""
    assert routes({"routes": [view]}).rows == [row]


def test_a_disabled_route_says_why():
    """Under the table, in full."""
    page = routes({"routes": [route("/a", "a", error="claimed\ntwice")], "unexposed": [{"service": "u", "what_to_do": "expose it"}]})

    assert page.below == ["/a is disabled: claimed twice", "u: expose it"]


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


def test_columns_are_aligned_and_lines_end_with_text():
    """For cut, awk and eyes."""
    assert printed(Page(["top"], ["A", "LONG"], [["aaa", "b"], ["c", "d"]], ["end"])) == ["top", "A    LONG", "aaa  b", "c    d", "end"]


def test_a_terminal_gets_a_drawn_table():
    """The same cells, and markup in them is text."""
    out = Terminal()

    show(Page(["top"], ["A", "STATE"], [["[bold]x", "ready"]], ["end"]), out)

    assert "[bold]x" in out.getvalue()
    assert "ready" in out.getvalue()
    assert "─" in out.getvalue()


def test_a_narrow_terminal_folds_no_word_but_the_last_column(monkeypatch):
    """An address broken over three lines can be neither read nor copied."""
    monkeypatch.setenv("COLUMNS", "40")
    out = Terminal()

    show(upstreams({"services": [{**head("orders"), "instances": [instance("orders-instance-1", reason="a reason " * 6)]}]}), out)

    assert "orders-instance-1" in out.getvalue()
    assert "10.0.0.7:9001" in out.getvalue()
    assert "REQUESTS" in out.getvalue()

"""Pages in pipes and on terminals: what is left out where there is little room, and that nothing is broken."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.cli.admin_tables import Page, routes, upstream, upstreams
from lbgateway.cli.drawing import NAME, fitted, show
from lbgateway.cli.explanation import explanation
from tests.support.fake_gateway import head, instance, route

WORDS = st.text("abc-9", min_size=1, max_size=60)


class Terminal(io.StringIO):
    """Something that a person looks at."""

    def isatty(self) -> bool:
        return True


def on_a_terminal(page: Page, columns: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    out = Terminal()
    show(page, out)
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines()]


def body(name: str = "orders-7f9c6d5b4-x2k4p", **changes: Any) -> dict[str, Any]:
    return {"services": [{**head("orders"), "instances": [instance(name, **changes)]}]}


def test_columns_are_aligned_and_lines_end_with_text():
    """For cut, awk and eyes; a pipe gets all columns."""
    out = io.StringIO()
    show(Page(["top"], ["A", "LONG"], [["aaa", "b"], ["c", "d"]], ["end"], ["LONG"]), out)
    assert out.getvalue().splitlines() == ["top", "A    LONG", "aaa  b", "c    d", "end"]


def test_a_terminal_gets_a_drawn_table(monkeypatch):
    """The same cells, and markup in them is text."""
    shown = on_a_terminal(Page(["top"], ["A", "STATE"], [["[bold]x", "ready"]], ["end"]), 80, monkeypatch)
    assert [line for line in shown if not line.startswith("─")] == ["top", "A        STATE", "[bold]x  ready", "end"]


@pytest.mark.parametrize("columns", [60, 80, 132, 200])
@pytest.mark.parametrize(
    "page",
    [
        upstreams(body(reason="check 'alive': connection refused by 10.0.0.7 " * 3, last_error="x")),
        upstream({**head("orders"), "instances": [instance("orders-7f9c6d5b4-x2k4p", tags=["a", "b"], reason="because " * 20)]}),
        explanation({**head("orders"), "instances": [{**instance("o-1"), "pickable": False, "cost": 1.9, "why": "ejected " * 30}]}),
        routes({"routes": [route("/a/rather/long/prefix/of/a/route", "a-service", host="shop.example", methods=["GET", "HEAD", "POST"])]}),
    ],
    ids=["upstreams", "upstream", "explain", "routes"],
)
def test_no_line_is_wider_than_the_terminal(page: Page, columns: int, monkeypatch):
    """A line that the terminal breaks is no line of a table any more."""
    assert max(map(len, on_a_terminal(page, columns, monkeypatch))) <= columns


def test_what_is_left_out_is_said(monkeypatch):
    """But not of columns that hold nothing, or the same as another one."""
    told = on_a_terminal(upstreams(body(reason="a reason " * 6)), 70, monkeypatch)[-2:]
    assert " ".join(told).startswith("Without ADDRESS, WEIGHT, REQUESTS, LATENCY, for want of room")
    nothing_missing = Page((), ("INSTANCE", "ADDRESS", "X"), [["10.0.0.1:9000", "10.0.0.1:9000", "-"]], least=("ADDRESS",))
    assert on_a_terminal(nothing_missing, 16, monkeypatch)[-1] == "10.0.0.1:9000  -"


def test_names_keep_their_beginning_and_end():
    """Instances of one deployment differ at the end."""
    page = fitted(Page((), ("INSTANCE", "WHY"), [["orders-7f9c6d5b4-x2k4p", "-"], ["orders-7f9c6d5b4-abcde", "x"]]), 24)
    assert [row[0] for row in page.rows] == ["orders-7f…5b4-x2k4p", "orders-7f…5b4-abcde"]


@given(st.lists(st.tuples(WORDS, WORDS, WORDS, WORDS), min_size=1, max_size=8), st.integers(20, 200))
def test_as_much_as_fits_is_kept(rows: list[tuple[str, ...]], width: int):
    """What fits is the same; names are not cut below the least, rows stay rows, and the columns keep their order."""
    page = Page((), ("A", "B", "C", "D"), rows, least=("C", "B"))
    fits = fitted(page, width)
    widths = [max(map(len, column)) for column in zip(page.columns, *rows, strict=True)]
    if sum(widths) + 2 * 3 <= width:
        assert (list(fits.columns), list(map(tuple, fits.rows))) == (["A", "B", "C", "D"], rows)
    assert [each for each in page.columns if each in fits.columns] == list(fits.columns)
    assert len(fits.rows) == len(rows)
    for place, title in enumerate(fits.columns[:-1]):
        whole = [row[page.columns.index(title)] for row in rows]
        cut = [row[place] for row in fits.rows]
        assert all(now == then or len(now) >= NAME for now, then in zip(cut, whole, strict=True))


def test_a_table_without_rows_has_no_columns_to_fit():
    """There is nothing to be said of it."""
    assert fitted(Page(["There are no routes."]), 80).above == ["There are no routes."]

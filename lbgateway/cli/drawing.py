"""Pages on a screen: a drawn table that fits on a terminal, columns of spaces for a pipe."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from lbgateway.cli.admin_tables import Page

GAP = 2
NAME = 14
"""A name is not made shorter than this."""
LAST_COLUMN = 24
"""Nor is the last column, which holds reasons, folded narrower."""
SAYS_NOTHING = frozenset({"-", "*"})

STYLES = {
    "ready": "green",
    "warming": "yellow",
    "suspect": "yellow",
    "draining": "yellow",
    "maintenance": "yellow",
    "ejected": "red",
    "unhealthy": "red",
    "critical": "red",
    "gone": "dim",
}
"""How a terminal shows a cell that holds just this word."""


def show(page: Page, out: TextIO) -> None:
    """Print a page: all of it into a pipe, what fits on a terminal."""
    if out.isatty():
        _draw(page, out)
        return
    for line in (*page.above, *_lines(page), *page.below):
        print(line, file=out)


def _lines(page: Page) -> list[str]:
    if not page.rows:
        return []
    table = [page.columns, *page.rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def _draw(page: Page, out: TextIO) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(file=out)
    fits = fitted(page, console.width)
    for line in page.above:
        console.print(Text(line))
    if page.rows:
        console.print(table_of(fits))
    missing = [title for title in page.columns if title in page.least and title not in (*fits.columns, *_idle(_columns_of(page), page))]
    if missing:
        console.print(Text(f"Without {', '.join(missing)}, for want of room; a wider terminal, a pipe and --json have all.", style="dim"))
    for line in page.below:
        console.print(Text(line))


def fitted(page: Page, width: int) -> Page:
    """`page` in `width` columns: without columns that say nothing or can be done without, and with shorter names. Pure.

    What fits is left as it is.
    """
    columns = _columns_of(page)
    last = page.columns[-1] if page.columns else ""
    for title in (*_idle(columns, page), *page.least):
        if _width(columns, last) <= width:
            break
        columns = [column for column in columns if column[0] != title]
    _shorten(columns, last, _width(columns, last) - width)
    titles, *rows = zip(*columns, strict=True) if columns else ((),)
    return replace(page, columns=titles, rows=rows)


def _columns_of(page: Page) -> list[list[str]]:
    """Each with its title in front."""
    return [list(column) for column in zip(page.columns, *page.rows, strict=True)]


def _idle(columns: list[list[str]], page: Page) -> list[str]:
    """Titles of those that can be done without, or hold reasons, and say nothing at all, or nothing new."""
    may_go = {*page.least, page.columns[-1]} if page.columns else set()
    return [column[0] for column in columns if column[0] in may_go and (SAYS_NOTHING.issuperset(column[1:]) or _repeats(column, columns))]


def _repeats(column: list[str], columns: list[list[str]]) -> bool:
    """Whether it is the address of instances that are named by their address."""
    return column[0] == "ADDRESS" and any(column[1:] == other[1:] for other in columns if other[0] == "INSTANCE")


def _width(columns: list[list[str]], last: str) -> int:
    widths = [min(width, LAST_COLUMN) if column[0] == last else width for column in columns for width in [_widest(column)]]
    return sum(widths) + GAP * (len(columns) - 1)


def _widest(column: Sequence[str]) -> int:
    return max(map(len, column))


def _shorten(columns: list[list[str]], last: str, excess: int) -> None:
    """Take `excess` from the widest, in the middle: names that are alike differ at their ends."""
    while excess > 0:
        column = max((each for each in columns if each[0] != last), key=_widest, default=[""])
        width = _widest(column)
        if width <= NAME:
            return
        left = (width - 1) // 2
        column[1:] = [cell if len(cell) < width else f"{cell[:left]}…{cell[left - width + 2 :]}" for cell in column[1:]]
        excess -= 1


def table_of(page: Page, *, fold: bool = True) -> Table:
    """The table alone, as a terminal shows it. `fold`: the last column may take several lines; otherwise it is cut."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for title in page.columns[:-1]:
        table.add_column(title, no_wrap=True)
    table.add_column(page.columns[-1], overflow="fold" if fold else "ellipsis", no_wrap=not fold)
    for row in page.rows:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    return table

"""The admin API's JSON as tables: decided here as plain rows, drawn with rich on a terminal, with spaces elsewhere.

Keys may be missing: the gateway may be older or newer than this command.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MAX_CELL = 60
LAST_COLUMN = 30
PADDING = 3

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


@dataclass(frozen=True, slots=True)
class Page:
    """Lines, a table, and lines again."""

    above: Sequence[str] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    below: Sequence[str] = field(default_factory=list)


Body = dict[str, Any]


def routes(body: Body) -> Page:
    """``/admin/routes``: one row per route, then what is wrong with some, then what no route reaches."""
    rows = [
        [
            text(route.get("host") or "*"),
            text(route.get("prefix")),
            text(route.get("methods") or "*"),
            _target(route),
            _path(route),
            text(route.get("auth")),
            text(route.get("source")),
            "disabled" if route.get("error") else "ok",
        ]
        for route in body.get("routes", ())
    ]
    wrong = [f"{text(route.get('prefix'))} is disabled: {clean(route['error'])}" for route in body.get("routes", ()) if route.get("error")]
    columns = ("HOST", "PREFIX", "METHODS", "TO", "PATH", "AUTH", "SOURCE", "STATE")
    return Page([] if rows else ["There are no routes."], columns, rows, [*wrong, *_unexposed(body)])


def _target(route: Mapping[str, Any]) -> str:
    redirect = route.get("redirect")
    if redirect:
        return text(f"{redirect.get('status', '')} {redirect.get('to', '')}".strip())
    # A template leads to as many services as there are; the name in the path says which.
    template = "{service}" if "{service}" in str(route.get("prefix")) else None
    return text(route.get("service") or template)


def _path(route: Mapping[str, Any]) -> str:
    """What happens to the path on its way."""
    words = ["strip prefix"] if route.get("strip_prefix") else []
    if route.get("add_prefix"):
        words.append(f"add {route['add_prefix']}")
    return text(", ".join(words) or "as it is")


def _unexposed(body: Body) -> list[str]:
    return [f"{clean(each.get('service'))}: {clean(each.get('what_to_do'))}" for each in body.get("unexposed", ())]


_OVERVIEW: tuple[tuple[str, Callable[[Mapping[str, Any]], Any]], ...] = (
    ("INSTANCE", lambda each: each.get("id")),
    ("ADDRESS", lambda each: f"{each.get('address')}:{each.get('port')}"),
    ("STATE", lambda each: each.get("state")),
    ("WEIGHT", lambda each: each.get("weight")),
    ("ACTIVE", lambda each: each.get("active_requests")),
    ("REQUESTS", lambda each: each.get("requests_total")),
    ("FAILURES", lambda each: each.get("failures_total")),
    ("LATENCY", lambda each: _ms(each.get("latency_ewma_ms"))),
)
_REASON = ("REASON", lambda each: each.get("reason") or each.get("last_error"))
_DETAILS: tuple[tuple[str, Callable[[Mapping[str, Any]], Any]], ...] = (
    *_OVERVIEW,
    ("P50", lambda each: _ms((each.get("latency_ms") or {}).get("p50"))),
    ("P99", lambda each: _ms((each.get("latency_ms") or {}).get("p99"))),
    ("IDLE", lambda each: (each.get("connections") or {}).get("idle")),
    ("NODE", lambda each: each.get("node")),
    ("TAGS", lambda each: each.get("tags")),
    ("SINCE", lambda each: each.get("since")),
    _REASON,
)


def upstreams(body: Body) -> Page:
    """``/admin/upstreams``: one row per instance; a service without any has a row that says so."""
    columns = (*_OVERVIEW, _REASON)
    rows = []
    for service in body.get("services", ()):
        name = text(service.get("name"))
        instances = service.get("instances", ())
        rows += [[name, *(text(value(each)) for _, value in columns)] for each in instances]
        if not instances:
            rows.append([name, "no instances", *("-" for _ in columns[1:])])
    above = [_summary(body)] if rows else [_summary(body), "No service is known."]
    return Page(above, ("SERVICE", *(title for title, _ in columns)), rows, _unexposed(body))


def _summary(body: Body) -> str:
    gateway, discovery = body.get("gateway", {}), body.get("discovery", {})
    age = discovery.get("age_seconds")
    confirmed = f", confirmed {age:.1f} s ago" if isinstance(age, (int, float)) else ""
    state = discovery.get("state") or "nothing known yet"
    line = f"lbgateway {clean(gateway.get('version'))}; {clean(discovery.get('provider'))}: {state}{confirmed}"
    error = discovery.get("last_error")
    return f"{line}; last error: {clean(error)}" if error else line


def upstream(body: Body) -> Page:
    """``/admin/upstreams/{service}``: the service's own lines, then its instances with all there is to know."""
    above = [_summary(body), _service(body)]
    if body.get("panic"):
        above.append("PANIC: too few of its instances are usable, so all of them are used.")
    rows = [[text(value(each)) for _, value in _DETAILS] for each in body.get("instances", ())]
    return Page(above if rows else [*above, "It has no instances."], [title for title, _ in _DETAILS], rows)


def _service(body: Body) -> str:
    breaker = body.get("breaker") or {}
    facts = (
        f"balancer {clean(body.get('balancer'))}",
        f"discovery {clean(body.get('discovery_state'))} at index {text(body.get('discovery_index'))}",
        f"breaker {clean(breaker.get('state'))}",
        f"{body.get('requests_per_second', 0):.1f} requests/s",
    )
    return f"{clean(body.get('name'))}: {', '.join(facts)}"


def text(value: Any) -> str:
    """A cell: short, on one line, and never empty."""
    if value is None or value in ("", []):
        return "-"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        value = ",".join(map(str, value))
    line = clean(value)
    return line if len(line) <= MAX_CELL else line[: MAX_CELL - 1] + "…"


def clean(value: Any) -> str:
    """On one line and printable: a registry's texts (tags, check outputs) may hold anything, a terminal obeys some of it."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())


def _ms(value: Any) -> str | None:
    return f"{value:.1f}ms" if isinstance(value, (int, float)) else None


def show(page: Page, out: TextIO) -> None:
    """Print a page: a drawn table on a terminal, columns of spaces for a pipe."""
    if out.isatty():
        _draw(page, out)
        return
    for line in (*page.above, *_columns(page), *page.below):
        print(line, file=out)


def _columns(page: Page) -> list[str]:
    if not page.rows:
        return []
    table = [page.columns, *page.rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def _least_width(page: Page) -> int:
    """Columns on the screen if only the last column of the table may fold, and not below `LAST_COLUMN`."""
    if not page.rows:
        return 0
    widths = [max(map(len, column)) for column in zip(page.columns, *page.rows, strict=True)]
    return sum(widths[:-1]) + min(widths[-1], LAST_COLUMN) + PADDING * len(widths) + 2


def _draw(page: Page, out: TextIO) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=out)
    # A word folded into five lines is no table: what is too wide is wider than the terminal, as in a pipe.
    console.width = max(console.width, _least_width(page))
    for line in page.above:
        console.print(Text(line), soft_wrap=True)
    if page.rows:
        table = Table(box=box.SIMPLE_HEAD, header_style="bold")
        for title in page.columns[:-1]:
            table.add_column(title, no_wrap=True)
        table.add_column(page.columns[-1], overflow="fold")
        for row in page.rows:
            table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
        console.print(table)
    for line in page.below:
        console.print(Text(line), soft_wrap=True)

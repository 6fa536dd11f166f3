"""``lbgateway top``: the instances of a running gateway, the busiest first, live. Ctrl-C ends it.

A gateway that does not answer for a while, because it is restarted, is waited for: what was seen last stays, and it is said.
Without a terminal it is one look, like ``upstreams``: a program that wants more follows ``/admin/events`` or ``/metrics``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TextIO

from lbgateway.cli.admin_client import FINE, AdminError, access_of, fetch, paged
from lbgateway.cli.admin_tables import Page, summary, text
from lbgateway.cli.drawing import fitted, show, table_of

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator, Mapping

    import httpx
    from rich.console import Console, RenderableType

    from lbgateway.cli.admin_tables import Body

EVERY_S = 1.0

COLUMNS = ("SERVICE", "INSTANCE", "STATE", "REQ/S", "FAIL/S", "ACTIVE", "LATENCY", "P99", "REASON")
LEAST = ("LATENCY", "FAIL/S", "REASON", "P99")
HEAD_LINES, FOOT_LINES = 2, 1
"""Of the table, and below it."""

Counts = dict[tuple[str, str, str], tuple[int, int]]
"""Requests and failures of each instance (service, node, id)."""


def main(
    args: Namespace,
    *,
    transport: httpx.BaseTransport | None = None,
    out: TextIO | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Look again and again; `args`: ``admin``, ``token``, ``cacert`` (each may be None), ``json``. Returns the exit code."""
    out = out or sys.stdout

    def look() -> Body:
        return paged(lambda path: fetch(path, access_of(args), transport=transport), "/admin/upstreams", {})

    try:
        first = look()
        if args.json:
            print(json.dumps(first, ensure_ascii=False), file=out)
        elif not out.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
            show(page_of(first, {}, 0.0), out)
        else:
            _live(first, look, out, pause)
    except AdminError as error:
        print(f"lbgateway: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        pass
    return FINE


def _live(body: Body, look: Callable[[], Body], out: TextIO, pause: Callable[[float], None]) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=out)
    before: Counts = {}
    page, trouble = page_of(body, before, 0.0), ""
    seen_at_s = time.monotonic()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(_screen(page, trouble, console), refresh=True)
            pause(EVERY_S)
            try:
                before, body = counts_of(body), look()
            except AdminError as error:
                trouble = str(error)
                continue
            now_s = time.monotonic()
            page, trouble, seen_at_s = page_of(body, before, now_s - seen_at_s), "", now_s


def _screen(page: Page, trouble: str, console: Console) -> RenderableType:
    """As many rows as there is room for, and how many there are besides."""
    from rich.console import Group
    from rich.text import Text

    above = [Text(line, no_wrap=True, overflow="ellipsis") for line in page.above]
    if trouble:
        above.insert(0, Text(f"No answer, this is what was seen last: {trouble}", style="bold red"))
    lines_above = sum(len(line.wrap(console, console.width)) for line in above)
    room = max(1, console.height - lines_above - HEAD_LINES - FOOT_LINES)
    rows = page.rows[:room]
    shown = fitted(replace(page, rows=rows), console.width)
    more = len(page.rows) - len(rows)
    foot = Text(f"and {more} more; Ctrl-C ends" if more else "Ctrl-C ends", style="dim")
    return Group(*above, *([table_of(shown, fold=False)] if rows else ()), foot)


def counts_of(body: Body) -> Counts:
    """What the next look is compared with."""
    return {_key(name, each): (each.get("requests_total", 0), each.get("failures_total", 0)) for name, each in _instances(body)}


def page_of(body: Body, before: Counts, elapsed_s: float) -> Page:
    """One screen. Rates are those since `before`, `elapsed_s` seconds ago; without it there are none."""
    rows = []
    for name, each in _instances(body):
        now = (each.get("requests_total", 0), each.get("failures_total", 0))
        then = before.get(_key(name, each))
        # A gateway that was restarted counts from zero.
        rates = [max(0.0, (a - b) / elapsed_s) for a, b in zip(now, then, strict=True)] if then and elapsed_s else None
        rows.append((rates[0] if rates else 0.0, now[0], _row(name, each, rates)))
    rows.sort(key=lambda row: row[:2], reverse=True)
    above = [summary(body)] if rows else [summary(body), "No instance is known."]
    return Page(above, COLUMNS, [row for _, _, row in rows], least=LEAST)


def _row(service: str, each: Mapping[str, Any], rates: list[float] | None) -> list[str]:
    shown = [f"{rate:.1f}" for rate in rates] if rates else ["-", "-"]
    p99 = (each.get("latency_ms") or {}).get("p99")
    latencies = [f"{value:.1f}ms" if isinstance(value, (int, float)) else "-" for value in (each.get("latency_ewma_ms"), p99)]
    names = [text(service), text(each.get("id")), text(each.get("state"))]
    return [*names, *shown, text(each.get("active_requests")), *latencies, text(each.get("reason"))]


def _instances(body: Body) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for service in body.get("services", ()):
        for each in service.get("instances", ()):
            yield str(service.get("name")), each


def _key(service: str, each: Mapping[str, Any]) -> tuple[str, str, str]:
    return service, str(each.get("node")), str(each.get("id"))

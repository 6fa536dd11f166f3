"""What has been played, as the table in docs/reliability.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.chaos.scenarios import SCENARIOS, Scenario
from tests.chaos.stage import Result

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- made by make chaos -->", "<!-- end of what make chaos has made -->"
COLUMNS = ("what happens", "over", "times", "requests", "failed", "p99 ms", "at most")
COLUMNS += ("left alone after", "its part meanwhile", "its part again after")
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def row(scenario: Scenario, transport: str, results: Sequence[Result]) -> str:
    """One line: sums of all times that it was played, the worst of the rest, and the least that was allowed."""
    troubles = [result.trouble for result in results if result.trouble is not None]
    turned_away = sum(result.told.turned_away for result in results)
    cells = [
        scenario.what,
        transport,
        f"{len(results)}",
        f"{sum(result.told.asked for result in results):,}",
        f"0 ({turned_away} turned away)" if turned_away else "0",
        f"{max(result.told.p99_s for result in results) * 1000:.0f}",
        f"{min(result.most_s for result in results) * 1000:,.0f}",
        _worst([trouble.alone_after_s() for trouble in troubles]),
        f"{max(trouble.share() for trouble in troubles):.1%}" if troubles else "",
        _worst([trouble.back_after_s for trouble in troubles]),
    ]
    return f"| {' | '.join(cells)} |"


def _worst(seconds: Sequence[float | None]) -> str:
    if not seconds:
        return ""
    known = [each for each in seconds if each is not None]
    return f"{max(known):.1f} s" if len(known) == len(seconds) else "never"


def key_of(line: str) -> tuple[str, ...]:
    """What happens, and over which transport."""
    return tuple(cell.strip() for cell in line.split("|")[1:3])


def merged(page: str, rows: Iterable[str]) -> str:
    """`page` with these rows in its table; those of other scenarios stay, those of scenarios that are no more go."""
    before, _, rest = page.partition(BEGIN)
    table, _, after = rest.partition(END)
    known = {key_of(line): line for line in [*table.strip().splitlines()[2:], *rows]}
    menu = [(scenario.what, transport) for scenario in SCENARIOS for transport in scenario.transports]
    lines = [BEGIN, HEAD, *(known[key] for key in menu if key in known), END]
    return before + "\n".join(lines) + after


def missing(page: str) -> list[tuple[str, str]]:
    """Scenarios of which the page does not tell."""
    told = {key_of(line) for line in re.findall(r"^\|.*\|$", page, re.MULTILINE)}
    return [(each.what, transport) for each in SCENARIOS for transport in each.transports if (each.what, transport) not in told]

"""The failure scenarios of docs/discovery.md are tests, all of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.architecture.test_habits import all_tests

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "discovery.md"
SCENARIOS = 25
ROW = re.compile(r"^\| ([\d, ]*) \| .* \| (.*) \|$", re.MULTILINE)
WALL_CLOCKS = {"time", "time_ns", "now", "utcnow", "today", "fromtimestamp", "localtime", "gmtime"}
BETWEEN_PROCESSES = {
    "discovery/snapshot_store.py": "the age of what an earlier process wrote down",
    "discovery/embedded/registry.py": "the first index, which must lie above those of an earlier process",
}
"""Only the machine's clock means the same to two processes."""


def rows() -> list[tuple[list[int], list[str]]]:
    """Numbers and tests of each row of the table of what has been tried."""
    text = PAGE.read_text()
    table = text[text.index("## What has been tried") :].partition("\n## ")[0] + "\n"
    found = ROW.findall(table)
    return [([int(each) for each in re.findall(r"\d+", numbers)], re.findall(r"`(test_\w+)`", tests)) for numbers, tests in found]


def test_each_scenario_has_a_row_and_a_test() -> None:
    """From the first to the last, in order."""
    assert [number for numbers, _ in rows() for number in numbers] == list(range(1, SCENARIOS + 1))
    assert [numbers for numbers, tests in rows() if not tests] == []


def test_each_test_that_the_page_names_is_there() -> None:
    """A test that is renamed takes the page along."""
    there = {node.name for _, node in all_tests()}

    assert [name for _, tests in rows() for name in tests if name not in there] == []


def test_each_test_of_a_scenario_is_on_the_page() -> None:
    """Under its number."""
    named = {name: numbers for numbers, tests in rows() for name in tests}
    tests = {node.name for _, node in all_tests()}
    scenarios = {name: int(found[1]) for name in tests if (found := re.match(r"test_scenario_(\d+)_", name))}

    assert {name: number for name, number in scenarios.items() if number not in named.get(name, [])} == {}


def wall_clocks(text: str) -> list[str]:
    """Calls and mentions of clocks that can be set."""
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute) and node.attr in WALL_CLOCKS]
    return [ast.unparse(node) for node in found if ast.unparse(node.value) in ("time", "datetime", "datetime.datetime", "date")]


def test_discovery_measures_time_by_a_clock_that_never_jumps() -> None:
    """An operator who sets the clock, or a leap of it, must not expire, hold or delay anything."""
    files = {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / "discovery").rglob("*.py"))}
    found = {name: clocks for name, path in files.items() if (clocks := wall_clocks(path.read_text()))}

    assert found.keys() == BETWEEN_PROCESSES.keys()


@pytest.mark.parametrize(
    ("line", "found"),
    [("time.time()", 1), ("wall=time.time", 1), ("datetime.now(UTC)", 1), ("loop.time()", 0), ("time.monotonic()", 0)],
)
def test_a_clock_that_jumps_would_be_seen(line: str, found: int) -> None:
    """The finder is no better than its examples."""
    assert len(wall_clocks(line)) == found

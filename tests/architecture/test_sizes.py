"""Short functions, short files: what a reader can hold in the head at once."""

from __future__ import annotations

import ast
import statistics
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("balancers", "discovery", "lbgateway")
FUNCTION_LINES, FUNCTION_LINES_P90, FUNCTION_LINES_MEDIAN = 50, 30, 8
FILE_LINES, POLICY_LINES = 300, 120

LONGER: dict[str, str] = {
    "lbgateway/dataplane/exchange.py": "the way of a request is one file by design, to be read downwards",
}
"""``path`` or ``path:function`` -> why it may be longer."""


def source_files() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def functions() -> dict[str, int]:
    """``path:name`` -> number of lines, signature and docstring included."""
    found: dict[str, int] = {}
    for path in source_files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                found[f"{path.relative_to(ROOT)}:{node.name}"] = node.end_lineno - node.lineno + 1
    return found


def test_no_function_is_long() -> None:
    """Nobody reads past a screen."""
    assert {name: n for name, n in functions().items() if n > FUNCTION_LINES and name not in LONGER} == {}


def test_most_functions_are_short() -> None:
    """Half of them say one thing, nine of ten fit on half a screen."""
    lengths = sorted(functions().values())
    assert statistics.median(lengths) <= FUNCTION_LINES_MEDIAN
    assert lengths[len(lengths) * 9 // 10] <= FUNCTION_LINES_P90


def test_no_file_is_long() -> None:
    """A file has one subject; a policy fits on two screens."""
    too_long = {}
    for path in source_files():
        name, lines = path.relative_to(ROOT).as_posix(), len(path.read_text().splitlines())
        bound = POLICY_LINES if name.startswith("lbgateway/policies/") else FILE_LINES
        if lines > bound and name not in LONGER:
            too_long[name] = lines
    assert too_long == {}


def test_exceptions_are_still_needed() -> None:
    """An exception that nothing needs any more goes."""
    names = {path.relative_to(ROOT).as_posix() for path in source_files()} | set(functions())
    assert [each for each in LONGER if each not in names] == []
